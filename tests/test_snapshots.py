"""A frozen dataset never changes, and every row knows where it came from (C4, C5, C10)."""

import hashlib
import json
import stat

import pytest
from django.conf import settings

from accounts.errors import UserError
from accounts.models import AuditEvent
from annotations import preferences, prompts
from annotations.preferences import Policy
from tests.factories import make_campaign, make_cases, make_study
from tests.training_room import compare
from training import snapshots

pytestmark = pytest.mark.django_db


@pytest.fixture
def judged(anna):
    """A study of three training cases and one validation case; one training pair is a tie."""
    study = make_study()
    cases = make_cases(study, 3) + make_cases(study, 1, split="validation")
    campaign = make_campaign(study, [anna], cases=cases)
    for number, vote in enumerate(["prefer_a", "tie", "prefer_b", "prefer_a"]):
        compare(campaign, {anna: vote}, item=number)
    return study, campaign


def freeze(study, *campaigns, kind="preference", actor=None, **policy):
    return snapshots.freeze(
        study=study, kind=kind, campaigns=campaigns, policy=Policy.from_mapping(policy), actor=actor
    )


def lines(dataset, name="train.jsonl"):
    return [json.loads(line) for line in (dataset.path / name).read_text().splitlines()]


def test_preference_rows_are_in_trls_conversational_format_with_lineage(judged):
    study, campaign = judged
    dataset = freeze(study, campaign)
    item = campaign.items.all()[0]
    row = next(row for row in lines(dataset) if row["case"] == item.case.external_id)
    assert row == {
        "prompt": prompts.messages(study, item.case),
        "chosen": [{"role": "assistant", "content": item.completion_a.text}],
        "rejected": [{"role": "assistant", "content": item.completion_b.text}],
        "case": item.case.external_id,
        "source": "comparisons",
        "judgements": [item.judgements.get().pk],
        "chosen_completion": item.completion_a_id,
        "rejected_completion": item.completion_b_id,
    }
    stored = dataset.rows.get(case=item.case)
    assert (stored.chosen_id, stored.rejected_id) == (item.completion_a_id, item.completion_b_id)
    assert stored.judgement_ids == row["judgements"]
    assert lines(dataset)[stored.position] == row
    assert (dataset.n_train, dataset.n_validation) == (2, 1)
    assert len(lines(dataset, "validation.jsonl")) == 1


def test_sft_rows_hold_prompt_and_completion(judged):
    study, _ = judged
    dataset = freeze(study, kind="sft")
    row = lines(dataset)[0]
    assert set(row) == {"prompt", "completion", "case", "judgements", "source"}
    case = study.cases.get(external_id=row["case"])
    assert row["completion"] == [{"role": "assistant", "content": case.reference["text"]}]
    assert row["source"] == "references"


def test_the_manifest_says_what_was_kept_dropped_and_by_which_policy(judged, lena):
    study, campaign = judged
    dataset = freeze(study, campaign, min_annotators=1, actor=lena)
    manifest = snapshots.manifest_of(dataset)
    tie = campaign.items.all()[1].case.external_id
    assert manifest["dropped"] == {"tie": {"count": 1, "cases": [tie]}}
    assert dataset.dropped == {"tie": 1}
    assert manifest["counts"] == {"train": 2, "validation": 1, "by_source": {"comparisons": 3}}
    assert manifest["policy"]["sources"] == ["comparisons", "ideals"]
    assert manifest["policy"] == dataset.policy
    assert manifest["template"] == {"version": 1, "sha256": prompts.template_sha256(study)}
    assert [entry["name"] for entry in manifest["campaigns"]] == [campaign.name]
    assert list(dataset.campaigns.all()) == [campaign]
    assert dataset.sha256 == hashlib.sha256((dataset.path / "manifest.json").read_bytes()).hexdigest()
    assert AuditEvent.objects.get(action="freeze dataset").actor == lena


def test_the_same_inputs_give_the_same_bytes(judged):
    study, campaign = judged
    first, second = freeze(study, campaign), freeze(study, campaign)
    assert first.directory != second.directory
    for name in ("train.jsonl", "validation.jsonl"):
        assert (first.path / name).read_bytes() == (second.path / name).read_bytes()


def test_the_files_are_read_only_and_nothing_else_is_left_beside_them(judged):
    study, campaign = judged
    dataset = freeze(study, campaign)
    assert stat.S_IMODE(dataset.path.stat().st_mode) == 0o550
    assert {path.name for path in dataset.path.iterdir()} == {"train.jsonl", "validation.jsonl", "manifest.json"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in dataset.path.iterdir()} == {0o440}
    assert not list(settings.DATASETS_DIR.glob(".*"))


@pytest.mark.parametrize("name", ["train.jsonl", "validation.jsonl", "manifest.json"])
def test_a_changed_byte_is_found(judged, name):
    study, campaign = judged
    dataset = freeze(study, campaign)
    assert snapshots.verify(dataset) == []
    path = dataset.path / name
    path.chmod(0o640)
    path.write_bytes(path.read_bytes().replace(b"a", b"b", 1))
    [finding] = snapshots.verify(dataset)
    assert finding.startswith(name)


def test_where_no_row_is_left_the_reasons_are_given_and_nothing_is_written(anna):
    study = make_study()
    campaign = make_campaign(study, [anna], cases=make_cases(study, 2))
    compare(campaign, {anna: "tie"})
    before = set(settings.DATASETS_DIR.glob("*"))
    with pytest.raises(UserError) as caught:
        freeze(study, campaign)
    assert "nothing to freeze" in caught.value.message
    assert caught.value.details == ["not_judged: 1", "tie: 1"]
    assert set(settings.DATASETS_DIR.glob("*")) == before


def test_a_dataset_that_is_not_recorded_leaves_no_files(judged, monkeypatch):
    study, campaign = judged
    before = set(settings.DATASETS_DIR.glob("*"))
    monkeypatch.setattr(snapshots, "_record", lambda **kwargs: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        freeze(study, campaign)
    assert set(settings.DATASETS_DIR.glob("*")) == before


def test_without_validation_rows_the_manifest_says_so(anna):
    study = make_study()
    campaign = make_campaign(study, [anna], cases=make_cases(study, 1))
    compare(campaign, {anna: "prefer_a"})
    dataset = freeze(study, campaign)
    assert (dataset.path / "validation.jsonl").read_bytes() == b""
    assert snapshots.manifest_of(dataset)["notes"] == [snapshots.NO_VALIDATION]


def test_kto_is_refused_with_what_can_be_frozen(judged):
    with pytest.raises(UserError, match=r"“kto” can.t be made yet\. Choose one of: preference, sft"):
        freeze(judged[0], kind="kto")


def test_freezing_makes_few_queries_whatever_the_size(anna, django_assert_max_num_queries):
    study = make_study()
    campaign = make_campaign(study, [anna], cases=make_cases(study, 20))
    for number in range(20):
        compare(campaign, {anna: "prefer_a"}, item=number)
    with django_assert_max_num_queries(6):  # corrections and a lead's decisions among them
        found = preferences.rows(study=study, kind="preference", campaigns=[campaign], policy=Policy())
    assert len(found.rows) == 20
