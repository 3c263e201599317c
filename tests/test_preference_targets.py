"""References and agreed labels against wrong outputs, and answers that clinicians called correct or not (C4, C11)."""

import re
from pathlib import Path

import pytest

from annotations import preferences as preferences_module
from annotations.models import Campaign, Item, Study
from annotations.policy import REASONS, Policy
from annotations.preferences import Rows, rows
from tests.factories import make_campaign, make_cases, make_completion, make_model, make_study
from tests.training_room import judge

pytestmark = pytest.mark.django_db


def preferences(study: Study, *campaigns: Campaign, **policy: object) -> Rows:
    return rows(study=study, kind="preference", campaigns=campaigns, policy=Policy.from_mapping(policy))


def sft(study: Study, *campaigns: Campaign, **policy: object) -> Rows:
    return rows(study=study, kind="sft", campaigns=campaigns, policy=Policy.from_mapping(policy))


# --- references and labels against wrong outputs


def test_a_reference_is_chosen_over_each_wrong_output(anna):
    study = make_study("classification")
    case = make_cases(study, 1, reference={"label": "yes"})[0]
    unlabelled = make_cases(study, 1, reference={})[0]
    silent = make_cases(study, 1, reference={"label": "no"})[0]
    wrong = make_completion(case, make_model("alpha"), "No.")
    make_completion(case, make_model("beta"), "Label: yes")
    unparsed = make_completion(case, make_model("gamma"), "I am not a doctor")
    make_completion(unlabelled, make_model("delta"), "no")
    found = preferences(study)
    assert [(row.chosen, row.rejected_id, row.chosen_id, row.source) for row in found.rows] == [
        ("yes", wrong.pk, None, "references"),
        ("yes", unparsed.pk, None, "references"),
    ]
    assert found.dropped == {
        "output_correct": [case.external_id],
        "no_reference": [unlabelled.external_id],
        "no_output": [silent.external_id],
    }
    assert preferences(study, unparsed_as_wrong=False).counts["unparsed"] == 1


def test_one_wrong_field_makes_a_triage_output_wrong():
    study = make_study("triage")
    case = make_cases(study, 1, reference={"personnel": "nurse", "urgency": "soon"})[0]
    make_completion(case, make_model("alpha"), "personnel: nurse\nurgency: routine")
    make_completion(case, make_model("beta"), "personnel: nurse\nurgency: soon")
    found = preferences(study)
    assert [row.chosen for row in found.rows] == ["personnel: nurse\nurgency: soon"]
    assert found.counts == {"output_correct": 1}


def test_the_label_that_clinicians_agree_on_overrules_the_reference(anna, ben, chidi):
    study = make_study("classification")
    cases = make_cases(study, 2, reference={"label": "yes"})
    campaign = make_campaign(study, [anna, ben, chidi], kind="label", cases=cases)
    first, second = campaign.items.all()
    ids = [judge(first, who, "judged", label=label).pk for who, label in [(anna, "no"), (ben, "no"), (chidi, "yes")]]
    for who, label in [(anna, "no"), (ben, "yes")]:
        judge(second, who, "judged", label=label)
    make_completion(cases[0], make_model(), "yes")
    make_completion(cases[1], make_model(), "no")
    found = preferences(study, campaign)
    assert [(row.case, row.chosen, row.rejected, row.source) for row in found.rows] == [
        (cases[0], "no", "yes", "labels"),
        (cases[1], "yes", "no", "references"),
    ]
    assert found.rows[0].judgement_ids == tuple(ids)
    assert found.dropped == {
        "reference_overruled": [cases[0].external_id],
        "reference_despite_no_consensus": [cases[1].external_id],
    }
    # Without references there is nothing to fall back on: then the case is dropped.
    assert preferences(study, campaign, sources=["labels"]).counts == {"no_consensus": 1}


@pytest.mark.parametrize("consensus", ["majority", "unanimous"])
def test_a_case_that_clinicians_call_defective_is_not_trained_on_by_its_reference(anna, ben, chidi, consensus):
    study = make_study("classification")
    case = make_cases(study, 1, reference={"label": "yes"})[0]
    campaign = make_campaign(study, [anna, ben, chidi], kind="label", cases=[case])
    for who in (anna, ben):
        judge(campaign.items.get(), who, "defective")
    judge(campaign.items.get(), chidi, "judged", label="yes")
    make_completion(case, make_model(), "no")
    for found in (sft(study, campaign, consensus=consensus), preferences(study, campaign, consensus=consensus)):
        assert found.rows == []
        assert found.dropped == {"defective": [case.external_id]}


def test_a_reference_taken_for_want_of_labels_is_counted_as_taken(anna):
    study = make_study("classification")
    case = make_cases(study, 1, reference={"label": "yes"})[0]
    campaign = make_campaign(study, [anna], kind="label", cases=[case])
    judge(campaign.items.get(), anna, "judged", label="no")
    found = sft(study, campaign, min_annotators=2)
    assert [row.completion for row in found.rows] == ["yes"]
    assert found.counts == {"reference_despite_too_few_annotators": 1}


def test_sft_rows_come_from_agreed_labels_then_references(anna):
    study = make_study("triage")
    reference = {"personnel": "nurse", "urgency": "soon"}
    labelled, referenced = make_cases(study, 2, reference=reference)
    make_cases(study, 1, split="test", reference=reference)
    campaign = make_campaign(study, [anna], kind="label", cases=[labelled])
    judge(campaign.items.get(), anna, "judged", personnel="physician", urgency="urgent")
    found = sft(study, campaign)
    assert [(row.case, row.completion, row.source) for row in found.rows] == [
        (labelled, "personnel: physician\nurgency: urgent", "labels"),
        (referenced, "personnel: nurse\nurgency: soon", "references"),
    ]
    assert found.counts == {"reference_overruled": 1, "test_split": 1}


def test_summaries_are_set_against_references_only_when_asked():
    study = make_study()
    case = make_cases(study, 1)[0]
    make_completion(case, make_model(), "Something else.")
    assert preferences(study).rows == []
    [row] = preferences(study, sources=["references"]).rows
    assert (row.chosen, row.rejected) == (case.reference["text"], "Something else.")


# --- correctness


def test_correct_answers_are_chosen_over_wrong_ones_and_the_reference_over_wrong_ones(anna):
    study = make_study("reasoning")
    case = make_cases(study, 1, reference={"text": "B"})[0]
    campaign = make_campaign(study, [anna], kind="correctness", cases=[case])
    correct_item = campaign.items.get()
    wrong = make_completion(case, make_model("wrong"), "Answer: C")
    partly = make_completion(case, make_model("partly"), "Answer: B or C")
    unjudged = make_completion(case, make_model("unjudged"), "Answer: D")
    verdicts = {correct_item: "correct"}
    for position, (completion, verdict) in enumerate([(wrong, "incorrect"), (partly, "partly")], start=1):
        item = Item.objects.create(campaign=campaign, case=case, completion_a=completion, position=position)
        verdicts[item] = verdict
    ids = [judge(item, anna, "judged", correctness=verdict).pk for item, verdict in verdicts.items()]
    found = preferences(study, campaign)
    good = correct_item.completion_a
    assert {(row.source, row.chosen_id, row.rejected_id) for row in found.rows} == {
        ("correctness", good.pk, wrong.pk),
        ("correctness", good.pk, partly.pk),
        ("references", None, wrong.pk),
        ("references", None, partly.pk),
    }
    assert unjudged.pk not in {row.rejected_id for row in found.rows}
    assert found.counts == {"output_correct": 1, "output_not_judged": 1}
    pair = next(row for row in found.rows if (row.chosen_id, row.rejected_id) == (good.pk, wrong.pk))
    assert pair.judgement_ids == (ids[0], ids[1])
    assert preferences(study, campaign, partly_as_wrong=False).counts["partly"] == 1


def test_an_output_that_no_clinician_was_asked_about_is_counted_and_no_output_means_none(anna):
    study = make_study("reasoning")
    judged, unjudged, silent = make_cases(study, 3, reference={"text": "B"})
    campaign = make_campaign(study, [anna], kind="correctness", cases=[judged])
    judge(campaign.items.get(), anna, "judged", correctness="incorrect")
    for name in ("one", "two"):
        make_completion(unjudged, make_model(name), "Answer: C")
    found = preferences(study, campaign, sources=["references"])
    assert [row.case for row in found.rows] == [judged]
    assert found.dropped == {
        "output_not_judged": [unjudged.external_id] * 2,
        "no_output": [silent.external_id],
    }


@pytest.mark.parametrize(
    ("answer", "reason"),
    [("HIV+", ""), ("HIV -", "output_correct"), ("HIV", "answer_unclear"), ("HIV- patient", "answer_unclear")],
)
def test_an_answer_with_the_opposite_sign_is_wrong(answer, reason):
    study = make_study("reasoning")
    case = make_cases(study, 1, reference={"text": "HIV-"})[0]
    make_completion(case, make_model(), f"Answer: {answer}")
    found = preferences(study)
    assert found.counts == ({reason: 1} if reason else {})
    assert len(found.rows) == (not reason)


def test_every_reason_has_words():
    source = Path(preferences_module.__file__).read_text()
    named = set(re.findall(r'drop\("(\w+)"', source)) | set(re.findall(r'return None, "(\w+)"', source))
    despite = {f"reference_despite_{reason}" for reason in ("no_consensus", "cannot_judge", "too_few_annotators")}
    assert named | despite | {"repeat", "gold"} <= set(REASONS)


def test_without_clinicians_only_a_clear_mismatch_of_the_answer_is_wrong():
    study = make_study("reasoning")
    case = make_cases(study, 1, reference={"text": "B", "rationale": "Because."})[0]
    wrong = make_completion(case, make_model(), "Reasons.\nAnswer: C")
    make_completion(case, make_model(), "Answer: b.")
    make_completion(case, make_model(), "Answer: B, aspirin")
    found = preferences(study)
    assert [(row.chosen, row.rejected_id) for row in found.rows] == [("Because.\nAnswer: B", wrong.pk)]
    assert found.counts == {"answer_unclear": 1, "output_correct": 1}
