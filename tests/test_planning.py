"""Campaigns are laid out whole, reproducibly, and with every case that was left out named."""

from collections import Counter

import pytest

from accounts.errors import UserError
from accounts.models import AuditEvent
from annotations.models import Campaign, Completion
from annotations.planning import Design, PlanError, lay_out, plan_campaign, shuffled, work_out
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


# --- the design


def names(item):
    return f"{item.completion_a.model}:{item.completion_b.model}"


@pytest.mark.parametrize(
    ("pairs", "compared"),
    [
        ([], {"alpha:bravo", "alpha:charlie", "bravo:charlie"}),
        (["charlie"], {"alpha:charlie", "bravo:charlie"}),
        (["bravo:alpha", "bravo:charlie"], {"alpha:bravo", "bravo:charlie"}),
    ],
)
def test_all_pairs_each_against_one_or_a_list_of_them_is_compared(study, anna, pairs, compared):
    _, models = with_outputs(study, "alpha", "bravo", "charlie")
    campaign = plan(study, [anna], models=models, design=Design(pairs=pairs))
    assert {names(item) for item in campaign.items.all()} == compared
    assert campaign.items.count() == 4 * len(compared)
    assert campaign.design["pairs"] == pairs


def test_a_model_whose_name_has_a_colon_can_be_named_in_a_pair(study, anna):
    _, models = with_outputs(study, "llama3:8b", "alpha", "bravo")
    campaign = plan(study, [anna], models=models, design=Design(pairs=["llama3:8b:alpha", "bravo"]))
    assert campaign.items.count() == 12


def test_the_overlap_is_for_a_share_of_the_items_in_every_split_and_pair(study, anna, ben):
    _, models = with_outputs(study, "alpha", "bravo", "charlie", n=20)
    for case in make_cases(study, 10, split="test"):
        for model in models:
            make_completion(case, model)
    campaign = plan(study, [anna, ben], models=models, overlap=2, design=Design(overlap_share=0.3))
    shared = Counter((item.case.split, names(item)) for item in campaign.items.filter(overlap=2))
    assert shared == {
        (split, pair): count
        for split, count in (("train", 6), ("test", 3))
        for pair in ("alpha:bravo", "alpha:charlie", "bravo:charlie")
    }
    assert campaign.items.filter(overlap=1).count() == 90 - 27
    assert (campaign.overlap, campaign.design["items_with_overlap"], campaign.design["judgements"]) == (2, 27, 117)


def test_which_items_are_shared_is_drawn_from_seed_and_secret(study, anna, ben):
    _, models = with_outputs(study, "alpha", "bravo", n=20)
    options = {"models": models, "overlap": 2, "design": Design(overlap_share=0.5)}
    one, two = (plan(study, [anna, ben], name=name, **options) for name in ("one", "two"))
    drawn = [set(row.items.filter(overlap=2).values_list("case_id", flat=True)) for row in (one, two)]
    assert drawn[0] != drawn[1]
    lots = sorted(
        one.items.all(), key=lambda item: one.draw("overlap", item.case_id, item.completion_a_id, item.completion_b_id)
    )
    assert {item.case_id for item in lots[:10]} == drawn[0]


def test_consensus_is_the_mean_of_points_and_the_majority_of_anything_else(study, anna):
    _, models = with_outputs(study, "alpha", "bravo")
    assert plan(study, [anna], models=models, name="pairs").consensus == "majority"
    assert plan(study, [anna], models=models, name="points", kind="likert").consensus == "mean"
    chosen = plan(study, [anna], models=models, name="all", kind="likert", design=Design(consensus="unanimous"))
    assert (chosen.consensus, chosen.design["consensus"]) == ("unanimous", "unanimous")


def test_the_rubric_holds_what_is_asked_and_the_study_s_reasons(study, anna):
    study.reason_chips = ["invents a finding", "too long"]
    study.save()
    _, models = with_outputs(study, "alpha", "bravo")
    asked = Design(criteria=True, marks=True, ideal=True)
    rubric = plan(study, [anna], models=models, reason="none", design=Design(), name="plain").rubric
    assert (rubric["criteria"], rubric["chips"], rubric["marks"], rubric["ideal"]) == ([], [], False, False)
    rubric = plan(study, [anna], models=models, reason="required", design=asked).rubric
    assert [c["name"] for c in rubric["criteria"]] == ["faithful", "complete"]
    assert (rubric["chips"], rubric["marks"], rubric["ideal"]) == (["invents a finding", "too long"], True, True)
    own = plan(study, [anna], models=models, name="own", design=Design(chips=["vague"])).rubric
    assert own["chips"] == ["vague"]


def test_repeats_are_a_share_of_the_items_after_them_and_outside_overlap(study, anna, ben):
    _, models = with_outputs(study, "alpha", "bravo", n=20)
    campaign = plan(study, [anna, ben], models=models, overlap=2, design=Design(repeat_rate=0.1))
    repeats = campaign.items.filter(repeat_of__isnull=False)
    assert [item.position for item in repeats] == [20, 21]
    for item in repeats:
        original = item.repeat_of
        assert (original.campaign, original.overlap, item.overlap) == (campaign, 2, 0)
        for field in ("case_id", "completion_a_id", "completion_b_id", "tag"):
            assert getattr(item, field) == getattr(original, field)
    assert campaign.items.regular().count() == 20
    assert campaign.design["repeat_items"] == 2


def tagged(study, *tags):
    cases, models = with_outputs(study, "alpha", "bravo", n=len(tags))
    for case, tag in zip(cases, tags, strict=True):
        case.metadata = {"field": tag} if tag else {}
        case.save()
    return cases, models


def test_items_carry_their_case_s_specialty_in_lower_case(study, anna, ben):
    cases, models = tagged(study, "Cardiology", "", "cardiology ")
    study.memberships.filter(user=anna).update(specialty="Cardiology, nephrology")
    campaign = plan(study, [anna, ben], models=models, design=Design(route_by="field"))
    assert {item.case_id: item.tag for item in campaign.items.all()} == {
        cases[0].pk: "cardiology",
        cases[1].pk: "",
        cases[2].pk: "cardiology",
    }


def test_a_specialty_that_too_few_annotators_have_is_refused_and_listed(study, anna, ben):
    _, models = tagged(study, "Cardiology", "Dermatology", "Dermatology")
    study.memberships.filter(user=anna).update(specialty="cardiology")
    with pytest.raises(PlanError, match="too few annotators") as caught:
        plan(study, [anna, ben], models=models, overlap=2, design=Design(route_by="field"))
    assert caught.value.field == "route_by"
    assert [line.split(",")[0] for line in caught.value.details] == ["cardiology: 1 item", "dermatology: 2 items"]


def test_the_blinding_check_calls_models_neutral_and_different_names(study, anna):
    cases, models = with_outputs(study, "alpha", "bravo", n=2)
    kinds = {"charlie": "base", "delta": "adapter", "echo": "adapter"}
    for name, kind in kinds.items():
        more = {"base": models[0]} if kind == "adapter" else {}
        models.append(make_model(name, kind, path=f"/{name}", **more))
        for case in cases:
            make_completion(case, models[-1])
    design = Design(blinding_items=6, blinding_arms={"alpha": "a clinician's summary"})
    campaign = plan(study, [anna], models=models, kind="likert", design=design)
    wording = {model.name: campaign.blinding_check["arms"][str(model.pk)] for model in models}
    assert campaign.blinding_check["items"] == 6
    assert wording == {
        "alpha": "a clinician's summary",
        "bravo": "another model",
        "charlie": "the original model",
        "delta": "a fine-tuned model 1",
        "echo": "a fine-tuned model 2",
    }
    assert campaign.design["blinding_arms"] == wording


def test_a_preview_is_the_campaign_that_would_be_and_writes_nothing(study, anna, ben, django_assert_max_num_queries):
    _, models = with_outputs(study, "alpha", "bravo", n=30)
    options = {"study": study, "kind": "comparison", "annotators": [anna, ben], "overlap": 2, "models": models}
    options["design"] = Design(overlap_share=0.5, repeat_rate=0.1)
    with django_assert_max_num_queries(8):
        blueprint = work_out(name="Preview", **options)
    assert not Campaign.objects.exists()
    assert (len(blueprint.regular), blueprint.judgements, len(blueprint.repeats)) == (30, 45, 3)
    campaign = plan_campaign(name="Made", **options)
    assert campaign.items.regular().count() == 30
    loads = blueprint.loads
    assert {load.annotator for load in loads} == {anna, ben}
    assert sum(load.regular for load in loads) == 45
    assert abs(loads[0].regular - loads[1].regular) <= 1
    assert all(load.items == load.regular + load.repeats for load in loads)


def test_loads_follow_who_may_judge_what(study, anna, ben):
    _, models = tagged(study, *["cardiology"] * 6, *[""] * 4)
    study.memberships.filter(user=anna).update(specialty="cardiology")
    blueprint = work_out(
        study=study,
        kind="comparison",
        name="x",
        annotators=[anna, ben],
        overlap=1,
        models=models,
        design=Design(route_by="field"),
    )
    assert {load.annotator: load.regular for load in blueprint.loads} == {anna: 6, ben: 4}


def test_limits_that_leave_judgements_over_are_refused_with_the_numbers(study, anna, ben):
    _, models = with_outputs(study, "alpha", "bravo", n=20)
    design = Design(repeat_rate=0.1, max_per_annotator=21)
    with pytest.raises(PlanError, match="42 judgements, and 44 are wanted: 40 of items, 4 of hidden repeats") as caught:
        plan(study, [anna, ben], models=models, overlap=2, design=design)
    assert caught.value.field == "max_per_annotator"
    assert "Allow 22 each" in caught.value.message
    assert plan(study, [anna, ben], models=models, overlap=2, design=Design(repeat_rate=0.1, max_per_annotator=22))


def test_limits_must_be_enough_for_each_specialty_too(study, anna, ben):
    _, models = tagged(study, *["cardiology"] * 6, *[""] * 2)
    study.memberships.filter(user=anna).update(specialty="cardiology")
    with pytest.raises(PlanError, match="6 judgements need somebody of “cardiology”"):
        plan(study, [anna, ben], models=models, design=Design(route_by="field", max_per_annotator=5))


@pytest.mark.parametrize(
    ("field", "design", "message"),
    [
        ("pairs", {"pairs": ["alpha:zulu"]}, "no pair of the chosen models"),
        ("pairs", {"pairs": ["alpha:bravo"]}, "charlie is in no pair"),
        ("pairs", {"kind": "likert", "pairs": ["alpha"]}, "in a comparison"),
        ("overlap_share", {"overlap_share": 0}, "a share above 0"),
        ("overlap_share", {"overlap_share": 0.5}, "the overlap is 1"),
        ("consensus", {"consensus": "mean"}, "Only points have a mean"),
        ("consensus", {"consensus": "dice"}, "no rule “dice”"),
        ("criteria", {"kind": "likert", "criteria": True}, "for comparisons"),
        ("chips", {"chips": ["x" * 61]}, "at most 60"),
        ("chips", {"chips": ["same", "Same"]}, "can't be told apart"),
        ("max_per_annotator", {"max_per_annotator": 0}, "at least 1"),
        ("max_per_annotator", {"max_per_annotator": 3}, "are wanted"),
        ("route_by", {"route_by": "ward"}, "nothing to route by. Columns: none"),
        ("apart", {"apart": -1}, "less than 0"),
        ("gold_rate", {"gold_rate": 0.1}, "need known answers"),
        ("gold_rate", {"gold_rate": 0.6}, "from 0 to 0.5"),
        ("repeat_rate", {"repeat_rate": -0.1}, "from 0 to 0.5"),
        ("training_items", {"training_items": 3}, "need known answers"),
        ("training_pass_mark", {"training_pass_mark": 80.0}, "from 0 to 1"),
        ("training_pass_mark", {"training_items": 3, "training_pass_mark": None}, "needs a pass mark"),
        ("blinding_items", {"blinding_items": 5, "models": 1}, "two models or more"),
        ("blinding_arms", {"blinding_items": 5, "blinding_arms": {"zulu": "x"}}, "not a model of this campaign"),
        ("blinding_arms", {"blinding_items": 5, "blinding_arms": {"alpha": "not Bravo"}}, "contains the name bravo"),
        ("reason", {"reason": "perhaps"}, "one of optional, required, none"),
    ],
)
def test_a_design_that_can_not_work_is_refused_at_its_choice(study, anna, field, design, message):
    _, models = with_outputs(study, "alpha", "bravo", "charlie", n=2)
    options = {name: design.pop(name) for name in ("kind", "reason") if name in design}
    models = models[: design.pop("models", 3)]
    with pytest.raises(PlanError, match=message) as caught:
        plan(study, [anna], models=models, design=Design(**design), **options)
    assert caught.value.field == field
    assert not Campaign.objects.exists()


@pytest.mark.parametrize(
    ("task", "kind", "design", "field"),
    [
        ("triage", "label", {"marks": True}, "marks"),
        ("triage", "label", {"ideal": True}, "ideal"),
        ("triage", "comparison", {"ideal": True}, "ideal"),
        ("triage", "comparison", {"criteria": True}, "criteria"),
        ("triage", "label", {"blinding_items": 3}, "blinding_items"),
    ],
)
def test_what_makes_no_sense_for_the_outputs_is_refused(anna, task, kind, design, field):
    study = make_study(task)
    join(study, anna, "annotator")
    _, models = with_outputs(study, "alpha", "bravo")
    with pytest.raises(PlanError) as caught:
        plan(study, [anna], kind=kind, models=[] if kind == "label" else models, design=Design(**design))
    assert caught.value.field == field


def test_a_design_comes_from_a_table_and_says_which_key_is_wrong():
    table = {"overlap_share": 1, "pairs": ["a:b"], "blinding_arms": {"a": "the first"}, "marks": True}
    assert Design.from_mapping(table) == Design(**table)
    for wrong, message in (
        ({"overlap": 2}, "unknown keys: overlap"),
        ({"marks": 1}, "marks is 1; it must be true or false"),
        ({"apart": True}, "a whole number"),
        ({"pairs": "a:b"}, "a list of texts"),
        ({"blinding_arms": {"a": 1}}, "a table of names and wordings"),
    ):
        with pytest.raises(UserError, match=message):
            Design.from_mapping(wrong)


def test_the_record_of_a_plan_has_names_and_numbers_and_no_ids(study, anna, ben):
    _, models = with_outputs(study, "alpha", "bravo")
    campaign = plan(study, [anna, ben], models=models, overlap=2, seed=9, design=Design(apart=3))
    record = campaign.design
    assert (record["models"], record["annotators"], record["seed"]) == (["alpha", "bravo"], ["anna", "ben"], 9)
    assert (record["overlap"], record["overlap_share"], record["items"], record["apart"]) == (2, 1.0, 4, 3)
    assert (record["gold_items"], record["repeat_items"], record["known_answers"]) == (0, 0, None)
