"""Judgements, references and outputs become rows; what doesn't is counted with its reason (C4, C5, C7, C11)."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts.errors import UserError
from accounts.models import User
from annotations import judging
from annotations.judging import Answer, Ideal
from annotations.models import Assignment, Campaign, Item, Judgement, Study
from annotations.preferences import Policy, Rows, default_campaigns, rows
from tests.factories import make_campaign, make_cases, make_completion, make_study
from tests.training_room import compare, judge

pytestmark = pytest.mark.django_db


def preferences(study: Study, *campaigns: Campaign, **policy: object) -> Rows:
    return rows(study=study, kind="preference", campaigns=campaigns, policy=Policy.from_mapping(policy))


def sft(study: Study, *campaigns: Campaign, **policy: object) -> Rows:
    return rows(study=study, kind="sft", campaigns=campaigns, policy=Policy.from_mapping(policy))


# --- comparisons


def test_the_majority_of_a_comparison_becomes_a_pair_with_its_lineage(anna, ben, chidi):
    study = make_study()
    campaign = make_campaign(study, [anna, ben, chidi], cases=make_cases(study, 1))
    judgements = compare(campaign, {anna: "prefer_b", ben: "prefer_b", chidi: "prefer_a"})
    found = preferences(study, campaign)
    item = campaign.items.get()
    [row] = found.rows
    assert (row.chosen_id, row.rejected_id) == (item.completion_b_id, item.completion_a_id)
    assert (row.chosen, row.rejected) == (item.completion_b.text, item.completion_a.text)
    assert row.judgement_ids == tuple(judgement.pk for judgement in judgements)
    assert row.case == item.case
    assert row.source == "comparisons"
    assert [message["role"] for message in row.prompt] == ["system", "user"]
    assert found.dropped == {}


@pytest.mark.parametrize(
    ("votes", "reason"),
    [
        (["tie", "tie"], "tie"),
        (["both_unacceptable", "both_unacceptable"], "both_unacceptable"),
        (["cannot_judge", "cannot_judge"], "cannot_judge"),
        (["defective", "defective"], "defective"),
        (["prefer_a", "prefer_b"], "no_consensus"),
        (["prefer_a", "defective"], "no_consensus"),
    ],
)
def test_a_comparison_that_prefers_nothing_is_dropped_with_its_reason(anna, ben, votes, reason):
    study = make_study()
    campaign = make_campaign(study, [anna, ben], cases=make_cases(study, 1))
    compare(campaign, dict(zip([anna, ben], votes, strict=True)))
    found = preferences(study, campaign)
    assert found.rows == []
    assert found.dropped == {reason: [campaign.items.get().case.external_id]}


def test_who_cannot_judge_has_no_vote(anna, ben):
    study = make_study()
    campaign = make_campaign(study, [anna, ben], cases=make_cases(study, 1))
    compare(campaign, {anna: "prefer_a", ben: "cannot_judge"})
    assert len(preferences(study, campaign).rows) == 1
    assert preferences(study, campaign, min_annotators=2).counts == {"too_few_annotators": 1}


def test_the_policy_can_ask_for_unanimity(anna, ben, chidi):
    study = make_study()
    campaign = make_campaign(study, [anna, ben, chidi], cases=make_cases(study, 1))
    compare(campaign, {anna: "prefer_b", ben: "prefer_b", chidi: "prefer_a"})
    assert preferences(study, campaign, consensus="unanimous").counts == {"no_consensus": 1}


def test_a_slight_preference_is_too_weak_when_the_policy_asks_for_clear_ones(anna):
    study = make_study()
    campaign = make_campaign(study, [anna], cases=make_cases(study, 2))
    compare(campaign, {anna: "prefer_a"}, item=0, strength="slightly")
    compare(campaign, {anna: "prefer_a"}, item=1, strength="clearly")
    found = preferences(study, campaign, min_strength="clearly")
    assert [row.case for row in found.rows] == [campaign.items.all()[1].case]
    assert found.counts == {"weak_strength": 1}


def test_judgements_of_test_cases_are_counted_as_dropped(anna):
    study = make_study()
    cases = make_cases(study, 1, split="test") + make_cases(study, 1, split="validation")
    campaign = make_campaign(study, [anna], cases=cases)
    for number in range(2):
        compare(campaign, {anna: "prefer_a"}, item=number)
    found = preferences(study, campaign)
    assert [row.split for row in found.rows] == ["validation"]
    assert found.dropped == {"test_split": [cases[0].external_id]}


def test_items_that_nobody_judged_are_counted(anna):
    study = make_study()
    campaign = make_campaign(study, [anna], cases=make_cases(study, 3))
    compare(campaign, {anna: "prefer_a"})
    assert preferences(study, campaign).counts == {"not_judged": 2}


def test_surplus_withdrawn_and_repeated_judgements_make_no_rows(anna, ben):
    study = make_study()
    campaign = make_campaign(study, [anna, ben], cases=make_cases(study, 2), overlap=1)
    first, second = campaign.items.all()
    judge(first, anna, "prefer_a")
    assert judge(first, ben, "prefer_b").surplus
    judging.undo(judge(second, anna, "prefer_a"), actor=anna)
    repeat = Item.objects.create(
        campaign=campaign,
        case=first.case,
        completion_a=first.completion_a,
        completion_b=first.completion_b,
        position=9,
        repeat_of=first,
    )
    judge(repeat, anna, "prefer_b")
    found = preferences(study, campaign)
    assert [row.chosen_id for row in found.rows] == [first.completion_a_id]
    assert found.counts == {"not_judged": 1, "repeat": 1, "surplus": 1}


def test_judgements_of_gold_items_and_earlier_votes_are_counted(anna):
    study = make_study()
    campaign = make_campaign(study, [anna], cases=make_cases(study, 1), name="first")
    item = campaign.items.get()
    again = make_campaign(study, [anna], cases=[], name="second")
    pair = {"case": item.case, "completion_a": item.completion_a, "completion_b": item.completion_b}
    repeated = Item.objects.create(campaign=again, position=0, **pair)
    gold = Item.objects.create(campaign=again, position=1, gold={"outcome": "prefer_a"}, **pair)
    judge(item, anna, "prefer_a")
    judge(gold, anna, "prefer_a")
    judge(repeated, anna, "prefer_b")
    found = preferences(study, campaign, again)
    assert [row.chosen_id for row in found.rows] == [item.completion_b_id]
    assert found.counts == {"earlier_vote": 1, "gold": 1}


def test_a_revised_judgement_counts_as_revised(anna):
    study = make_study()
    campaign = make_campaign(study, [anna], cases=make_cases(study, 1))
    [judgement] = compare(campaign, {anna: "prefer_a"})
    judging.revise(judgement, Answer("prefer_b", strength="clearly"), change_reason="misread", actor=anna)
    assert [row.chosen_id for row in preferences(study, campaign).rows] == [campaign.items.get().completion_b_id]


def test_texts_that_teach_nothing_are_dropped(anna):
    study = make_study()
    case = make_cases(study, 1)[0]
    campaign = make_campaign(study, [anna], cases=[case])
    item = campaign.items.get()
    a, b = item.completion_a, item.completion_b
    pairs = {
        "identical_texts": ("Cough.", "Cough. "),
        "empty_text": ("Cough.", " "),
        "duplicate": (b.text, a.text),
        "too_long": ("Cough.", "x" * 5000),
    }
    judge(item, anna, "prefer_b")
    for position, (chosen, rejected) in enumerate(pairs.values(), start=1):
        first = make_completion(case, a.model, chosen, key=f"{position:064}")
        second = make_completion(case, b.model, rejected, key=f"{position:064}")
        new = Item.objects.create(
            campaign=campaign, case=case, completion_a=first, completion_b=second, position=position
        )
        judge(new, anna, "prefer_a")
    found = preferences(study, campaign, max_chars=4000)
    assert len(found.rows) == 1
    assert found.counts == dict.fromkeys(sorted(pairs), 1)


def test_the_same_texts_preferred_in_opposite_ways_are_both_dropped(anna):
    study = make_study()
    case = make_cases(study, 1)[0]
    campaign = make_campaign(study, [anna], cases=[case])
    item = campaign.items.get()
    a, b = item.completion_a, item.completion_b
    again = Item.objects.create(
        campaign=campaign,
        case=case,
        completion_a=make_completion(case, a.model, a.text, key="1" * 64),
        completion_b=make_completion(case, b.model, b.text, key="1" * 64),
        position=1,
    )
    judge(item, anna, "prefer_a")
    judge(again, anna, "prefer_b")
    found = preferences(study, campaign)
    assert (found.rows, found.counts) == ([], {"contradiction": 2})


def test_judgements_that_no_source_reads_are_counted(anna):
    study = make_study()
    campaign = make_campaign(study, [anna], cases=make_cases(study, 1))
    compare(campaign, {anna: "prefer_a"})
    found = sft(study, campaign)
    assert found.counts == {"source_not_used": 1}
    assert [row.completion for row in found.rows] == [campaign.items.get().case.reference["text"]]


# --- ideals


def correcting(study: Study, people: list[User], **fields: object) -> Campaign:
    """A campaign that lets its annotators edit an output to their ideal."""
    campaign = make_campaign(study, people, **fields)
    campaign.rubric |= {"ideal": True}
    campaign.save()
    return campaign


def correct(
    item: Item, annotator: User, text: str, output: str = "a", outcome: str = "tie", **fields: Any
) -> Judgement:
    assignment = next((a for a in item.assignments.all() if a.annotator == annotator), None)
    if assignment is None:
        lease = timezone.now() + timedelta(hours=1)
        assignment = Assignment.objects.create(item=item, annotator=annotator, lease_expires_at=lease)
    answer = Answer(outcome, ideal=Ideal(output, text), **fields)
    return judging.submit(assignment, answer, actor=annotator)


def test_a_corrected_output_is_chosen_over_the_output_as_it_was(anna):
    study = make_study()
    campaign = correcting(study, [anna], cases=make_cases(study, 1, split="validation"))
    item = campaign.items.get()
    judgement = correct(item, anna, "Cough since Monday.", "b")
    found = preferences(study, campaign)
    [row] = found.rows
    ideal = judging.current(judgement).ideal
    assert (row.chosen, row.rejected) == ("Cough since Monday.", item.completion_b.text)
    assert (row.chosen_id, row.rejected_id, row.judgement_ids) == (ideal.pk, item.completion_b_id, (judgement.pk,))
    assert (row.source, row.split) == ("ideals", "validation")
    assert found.counts == {"tie": 1}


def test_a_corrected_output_is_an_example_to_imitate_with_its_lineage(anna):
    study = make_study()
    campaign = correcting(study, [anna], kind="likert", cases=make_cases(study, 1, reference={}))
    values = {"faithful": 1, "complete": 1}
    judgement = correct(campaign.items.get(), anna, "Cough since Monday.", outcome="judged", values=values)
    assert default_campaigns(study=study, kind="sft", policy=Policy()) == [campaign]
    found = sft(study, campaign)
    [row] = found.rows
    assert (row.completion, row.source) == ("Cough since Monday.", "ideals")
    assert (row.chosen_id, row.judgement_ids) == (judging.current(judgement).ideal_id, (judgement.pk,))
    assert found.counts == {"no_reference": 1}


def test_each_annotators_correction_gives_a_row_unless_it_is_the_same(anna, ben, chidi):
    study = make_study()
    campaign = correcting(study, [anna, ben, chidi], cases=make_cases(study, 1))
    item = campaign.items.get()
    for annotator, text in ((anna, "Cough."), (ben, "Cough since Monday."), (chidi, "Cough. ")):
        correct(item, annotator, text)
    found = preferences(study, campaign)
    assert [row.chosen for row in found.rows] == ["Cough.", "Cough since Monday."]
    assert found.counts == {"duplicate": 1, "tie": 1}


def test_corrections_that_do_not_count_are_counted_with_their_reason(anna, ben):
    study = make_study()
    cases = make_cases(study, 4) + make_cases(study, 1, split="test")
    campaign = correcting(study, [anna, ben], cases=cases, overlap=1)
    first, undone, unsure, gold, test = campaign.items.all()
    correct(first, anna, "Cough.")
    assert correct(first, ben, "Fever.").surplus
    judging.undo(correct(undone, anna, "Cough."), actor=anna)
    correct(unsure, anna, "Cough.", outcome="defective")
    correct(gold, anna, "Cough.")
    Item.objects.filter(pk=gold.pk).update(gold={"outcome": "tie"}, overlap=0)
    correct(test, anna, "Cough.")
    found = sft(study, campaign, sources=["ideals"])
    assert [row.case for row in found.rows] == [first.case]
    # What nobody corrected (undone) is in a campaign that is read for its corrections only.
    assert found.counts == {"gold": 1, "ideal_unsure": 1, "surplus": 1, "test_split": 1}


def test_the_later_correction_of_one_output_counts(anna):
    study = make_study()
    campaign = correcting(study, [anna], cases=make_cases(study, 1))
    item = campaign.items.get()
    again = correcting(study, [anna], cases=[])
    twin = Item.objects.create(
        campaign=again, case=item.case, completion_a=item.completion_a, completion_b=item.completion_b, position=0
    )
    correct(item, anna, "Cough.")
    correct(twin, anna, "Cough since Monday.")
    found = preferences(study, campaign, again, sources=["ideals"])
    assert [row.chosen for row in found.rows] == ["Cough since Monday."]
    assert found.counts == {"earlier_vote": 1}


def test_corrections_are_counted_where_the_policy_does_not_take_them(anna):
    study = make_study()
    campaign = correcting(study, [anna], cases=make_cases(study, 1))
    correct(campaign.items.get(), anna, "Cough.")
    assert preferences(study, campaign, sources=["comparisons"]).counts == {"ideal_not_used": 1, "tie": 1}


def test_a_correction_is_no_output_that_a_reference_is_set_against(anna):
    study = make_study("reasoning")
    [case] = make_cases(study, 1, reference={"text": "42"})
    campaign = correcting(study, [anna], kind="correctness", cases=[case])
    values = {"correctness": "incorrect"}
    correct(campaign.items.get(), anna, "Answer: 41", outcome="judged", values=values)
    found = preferences(study, campaign, sources=["references"])
    assert [row.rejected for row in found.rows] == [campaign.items.get().completion_a.text]


# --- policy and campaigns


def test_a_policy_with_an_unknown_key_names_the_known_ones():
    with pytest.raises(UserError, match=r"no “min_anotators”. Known keys: .*min_annotators"):
        Policy.from_mapping({"min_anotators": 2})


@pytest.mark.parametrize(
    "given",
    [
        {"consensus": "most"},
        {"min_annotators": 0},
        {"min_annotators": True},
        {"max_chars": "long"},
        {"sources": "comparisons"},
        {"min_strength": 1},
        {"unparsed_as_wrong": "yes"},
    ],
)
def test_a_policy_with_a_bad_value_names_it(given):
    with pytest.raises(UserError, match=next(iter(given))):
        Policy.from_mapping(given)


def test_a_source_that_the_task_does_not_have_is_refused():
    with pytest.raises(UserError, match=r"can't come from “labels”. Possible sources: comparisons, ideals, references"):
        preferences(make_study(), sources=["labels"])


def test_a_policy_file_is_read_and_its_faults_are_said(tmp_path):
    path = tmp_path / "policy.toml"
    path.write_text('sources = ["comparisons"]\nmin_annotators = 2\n')
    assert Policy.from_toml(path) == Policy(sources=("comparisons",), min_annotators=2)
    assert Policy.from_mapping(Policy.from_toml(path).as_dict()) == Policy.from_toml(path)
    path.write_text("min_annotators = = 2\n")
    with pytest.raises(UserError, match=r"policy\.toml can't be read as TOML.*line 1"):
        Policy.from_toml(path)
    with pytest.raises(UserError, match="There is no file"):
        Policy.from_toml(tmp_path / "absent.toml")


def test_simulated_campaigns_are_taken_by_default_only_where_nobody_real_judged(anna):
    study = make_study()
    simulated = make_campaign(study, [anna], cases=make_cases(study, 1), simulated=True)
    real = make_campaign(study, [anna], models=("alpha", "gamma"), cases=make_cases(study, 1))
    compare(simulated, {anna: "prefer_a"})
    arguments = {"study": study, "kind": "preference", "policy": Policy()}
    assert default_campaigns(**arguments) == [simulated]
    compare(real, {anna: "prefer_a"})
    assert default_campaigns(**arguments) == [real]
