"""Campaigns are laid out whole, reproducibly, and with every case that was left out named."""

import pytest

from accounts.errors import UserError
from accounts.models import AuditEvent
from annotations.models import Campaign
from annotations.planning import lay_out, plan_campaign, shuffled
from tests.factories import join, make_cases, make_completion, make_model, make_study

pytestmark = pytest.mark.django_db


@pytest.fixture
def study(anna, ben):
    study = make_study()
    join(study, anna, "annotator")
    join(study, ben, "annotator")
    return study


def with_outputs(study, *names, n=4):
    cases = make_cases(study, n)
    models = [make_model(name) for name in names]
    for case in cases:
        for model in models:
            make_completion(case, model)
    return cases, models


def plan(study, people, **options):
    return plan_campaign(
        study=study, **{"kind": "comparison", "name": "Round 1", "annotators": people, "overlap": 1} | options
    )


def test_every_unordered_pair_of_models_is_compared_once_with_a_before_b_by_name(study, anna):
    cases, models = with_outputs(study, "charlie", "alpha", "bravo")
    campaign = plan(study, [anna], models=models)
    pairs = {(i.case_id, i.completion_a.model.name, i.completion_b.model.name) for i in campaign.items.all()}
    wanted = [("alpha", "bravo"), ("alpha", "charlie"), ("bravo", "charlie")]
    assert pairs == {(case.pk, *pair) for case in cases for pair in wanted}


def test_identical_texts_and_missing_completions_are_dropped_by_name_and_empty_ones_kept(study, anna):
    cases, (alpha,) = with_outputs(study, "alpha")
    bravo = make_model("bravo")
    make_completion(cases[0], bravo, cases[0].completions.get().text + "\n")
    make_completion(cases[1], bravo, "Another text.")
    empty = make_completion(cases[2], bravo)
    type(empty).objects.filter(pk=empty.pk).update(text="")
    campaign = plan(study, [anna], models=[alpha, bravo])
    assert campaign.dropped == {
        "identical_texts": [cases[0].external_id],
        "no_completion": [cases[3].external_id],
    }
    assert {item.case_id for item in campaign.items.all()} == {cases[1].pk, cases[2].pk}


def test_one_model_is_compared_with_itself_by_its_two_samples(study, anna):
    cases, (alpha,) = with_outputs(study, "alpha")
    for case in cases[:3]:
        make_completion(case, alpha, index=1)
    campaign = plan(study, [anna], models=[alpha])
    assert {(item.completion_a.index, item.completion_b.index) for item in campaign.items.all()} == {(0, 1)}
    assert campaign.items.count() == 3
    assert campaign.dropped == {"no_completion": [cases[3].external_id]}


def test_order_is_drawn_from_seed_and_secret_and_can_be_repeated(study):
    slots = lay_out(study=study, kind="comparison", models=with_outputs(study, "alpha", "bravo", n=12)[1]).slots
    keys = [("one", 7), ("one", 7), ("one", 8), ("two", 7)]
    orders = [shuffled(slots, Campaign(secret=secret, seed=seed)) for secret, seed in keys]
    assert orders[0] == orders[1]
    assert orders[0] not in (slots, orders[2], orders[3])
    assert all(sorted(slot.case.pk for slot in order) == sorted(slot.case.pk for slot in slots) for order in orders)


def test_two_campaigns_of_the_same_seed_have_orders_that_nobody_can_work_out(study, anna):
    _, models = with_outputs(study, "alpha", "bravo", n=12)
    one, two = (plan(study, [anna], models=models, seed=0, name=name) for name in ("one", "two"))
    orders = [[item.case_id for item in campaign.items.order_by("position")] for campaign in (one, two)]
    assert orders[0] != orders[1]
    assert [item.position for item in one.items.all()] == list(range(12))
    assert len({one.secret, two.secret}) == 2
    assert min(len(one.secret), len(two.secret)) == 32


def test_likert_judges_every_completion_and_label_every_case(study, anna):
    _, models = with_outputs(study, "alpha", "bravo")
    likert = plan(study, [anna], kind="likert", models=models)
    assert likert.items.count() == 8
    assert not likert.items.filter(completion_b__isnull=False).exists()
    triage = make_study("triage")
    join(triage, anna, "annotator")
    make_cases(triage, 3)
    label = plan(triage, [anna], kind="label")
    assert label.items.count() == 3
    assert not label.items.filter(completion_a__isnull=False).exists()
    assert [field["name"] for field in label.rubric["label_fields"]] == ["personnel", "urgency"]


def test_only_the_split_the_cases_and_the_completions_that_were_asked_for_are_used(study, anna):
    cases, models = with_outputs(study, "alpha", "bravo")
    held_out = make_cases(study, 2, split="test")
    for case in held_out:
        for model in models:
            make_completion(case, model)
    assert len(lay_out(study=study, kind="comparison", models=models, split="test").slots) == 2
    assert len(lay_out(study=study, kind="comparison", models=models, case_ids=[cases[0].pk]).slots) == 1
    from annotations.models import Completion

    some = Completion.objects.filter(case__in=cases[:2])
    layout = lay_out(study=study, kind="comparison", models=models, completions=some)
    assert len(layout.slots) == 2
    assert len(layout.dropped["no_completion"]) == 4


def test_the_rubric_is_frozen_with_the_campaign(study, anna):
    _, models = with_outputs(study, "alpha")
    campaign = plan(study, [anna], kind="likert", models=models)
    study.criteria = []
    study.instructions = "New."
    study.save()
    campaign.refresh_from_db()
    assert [c["name"] for c in campaign.rubric["criteria"]] == ["faithful", "complete"]
    assert campaign.rubric["instructions"] == ""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"annotators": []}, "at least one annotator"),
        ({"overlap": 3}, "only 2 annotators"),
        ({"overlap": 0}, "at least 1"),
        ({"kind": "ranking"}, "no kind of campaign"),
        ({"kind": "label", "models": []}, "needs label fields"),
        ({"models": []}, "at least one model"),
        ({"name": " "}, "Give the campaign a name"),
        ({"name": "Taken"}, "already has a campaign"),
        ({"split": "test"}, "nothing to judge"),
    ],
)
def test_a_plan_that_can_not_work_is_refused_and_makes_nothing(study, anna, ben, change, message):
    _, models = with_outputs(study, "alpha", "bravo")
    plan(study, [anna], models=models, name="Taken")
    options = {"models": models, "overlap": 2, "annotators": [anna, ben]} | change
    people = options.pop("annotators")
    with pytest.raises(UserError, match=message):
        plan(study, people, **options)
    assert Campaign.objects.count() == 1


def test_annotators_must_be_members_and_strangers_are_named(study, anna, chidi):
    _, models = with_outputs(study, "alpha", "bravo")
    with pytest.raises(UserError) as caught:
        plan(study, [anna, chidi], models=models)
    assert caught.value.details == ["chidi"]


def test_a_likert_campaign_needs_criteria(anna):
    study = make_study("reasoning")
    join(study, anna, "lead")
    _, models = with_outputs(study, "alpha")
    with pytest.raises(UserError, match="needs criteria"):
        plan(study, [anna], kind="likert", models=models)
    assert plan(study, [anna], kind="correctness", models=models).rubric["show_reference"]


def test_planning_is_in_the_audit_trail(study, anna, lena):
    _, models = with_outputs(study, "alpha", "bravo")
    campaign = plan(study, [anna], models=models, actor=lena)
    event = AuditEvent.objects.get(action="plan campaign")
    assert (event.actor, event.object_id) == (lena, str(campaign.pk))
