"""Known answers become training and gold items, never questions; what is wrong with them is said line by line."""

import csv
from dataclasses import replace

import pytest
from django.utils import timezone

from accounts.errors import UserError
from annotations import judging, known_answers
from annotations.assignment import next_assignment
from annotations.designs import Design, PlanError
from annotations.exporting import judgement_rows
from annotations.judgement_files import write
from annotations.known_answers import from_upload, source
from annotations.models import Adjudication, Campaign
from annotations.planning import plan_campaign
from tests.factories import join, make_campaign, make_cases, make_completion, make_model, make_study

pytestmark = pytest.mark.django_db
TRAINED = Design(training_items=1, gold_rate=0.1)


@pytest.fixture
def study(anna, ben):
    study = make_study()
    for person in (anna, ben):
        join(study, person, "annotator")
    return study


@pytest.fixture
def models(study):
    models = [make_model("alpha"), make_model("bravo")]
    for case in make_cases(study, 8):
        for model in models:
            make_completion(case, model)
    return models


def a_file(tmp_path, *rows):
    path = tmp_path / "known.csv"
    with path.open("w", newline="") as file:
        columns = list(dict.fromkeys(name for row in rows for name in row))
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    return source(str(path))


def plan(study, people, given, design=TRAINED, **options):
    defaults = {"kind": "comparison", "name": "Round", "annotators": people, "overlap": 1}
    return plan_campaign(study=study, design=replace(design, known_answers=given), **(defaults | options))


def test_a_file_s_answers_become_training_and_gold_items_and_no_questions(study, models, anna, tmp_path):
    cases = list(study.cases.all())
    rows = [
        {"case": case.external_id, "model_a": "alpha", "model_b": "bravo", "value": "prefer_a", "reason": f"Why {n}."}
        for n, case in enumerate(cases[:4])
    ]
    campaign = plan(study, [anna], a_file(tmp_path, *rows), models=models)
    known = campaign.items.filter(gold__isnull=False)
    assert {item.case_id for item in known} == {case.pk for case in cases[:4]}
    assert known.filter(training=True).count() == 1
    assert [item.overlap for item in known] == [0] * 4
    assert {item.case_id for item in campaign.items.regular()} == {case.pk for case in cases[4:]}
    assert sorted(campaign.dropped["known_answer"]) == sorted(case.external_id for case in cases[:4])
    first = known.get(case=cases[0])
    assert first.gold == {"outcome": "prefer_a", "strength": "", "values": {}, "feedback": "Why 0."}
    assert [item.position for item in campaign.items.order_by("position")] == list(range(8))
    assert campaign.training_pass_mark == 0.8
    record = campaign.design["known_answers"]
    assert (record["from"], record["name"], len(record["sha256"])) == ("file", "known.csv", 64)


def test_which_answers_train_is_drawn_by_lot(study, models, anna, tmp_path):
    rows = [{"case": case.external_id, "value": "tie"} for case in study.cases.all()[:7]]
    given = a_file(tmp_path, *rows)
    drawn = set()
    for n in range(8):
        campaign = plan(study, [anna], given, models=models, name=str(n))
        drawn.add(campaign.items.get(training=True).case_id)
        lots = sorted(
            campaign.items.filter(gold__isnull=False),
            key=lambda i: campaign.draw("known answer", i.case_id, i.completion_a_id, i.completion_b_id),
        )
        assert lots[0].training
    assert len(drawn) > 1


def test_a_pair_named_the_other_way_round_is_turned(study, models, anna, tmp_path):
    case = study.cases.first()
    row = {"case": case.external_id, "model_a": "bravo", "model_b": "alpha", "value": "prefer_a", "strength": "clearly"}
    other = {"case": study.cases.last().external_id, "value": "both_unacceptable"}
    campaign = plan(study, [anna], a_file(tmp_path, row, other), models=models)
    gold = campaign.items.get(case=case, gold__isnull=False).gold
    assert (gold["outcome"], gold["strength"]) == ("prefer_b", "clearly")


def test_the_rows_of_one_slot_make_one_answer(study, models, anna, tmp_path):
    case, other = study.cases.first(), study.cases.last()
    rows = [
        {"case": c.external_id, "model_a": "bravo", "criterion": name, "value": value, "reason": reason}
        for c in (case, other)
        for name, value, reason in (("faithful", 4, ""), ("complete", 2, "The dose is missing."))
    ]
    campaign = plan(study, [anna], a_file(tmp_path, *rows), models=models, kind="likert")
    item = campaign.items.get(case=case, gold__isnull=False)
    assert item.completion_a.model.name == "bravo"
    assert item.gold == {
        "outcome": "judged",
        "strength": "",
        "values": {"faithful": 4, "complete": 2},
        "feedback": "The dose is missing.",
    }
    assert campaign.items.regular().filter(case=case).get().completion_a.model.name == "alpha"


def test_an_exported_file_is_read_as_it_is(study, models, anna, tmp_path):
    campaign = plan_campaign(study=study, kind="likert", name="Own", annotators=[anna], overlap=1, models=models)
    for _ in range(2):
        answer = judging.Answer("judged", values={"faithful": 5, "complete": 4}, reason="Fine.")
        judging.submit(next_assignment(campaign, anna), answer, actor=anna)
    write(tmp_path / "own.jsonl", judgement_rows(study=study, campaigns=[campaign]))
    again = plan(study, [anna], source(str(tmp_path / "own.jsonl")), models=models, kind="likert")
    known = again.items.filter(gold__isnull=False)
    assert {item.gold["feedback"] for item in known} == {"Fine."}
    judged = campaign.items.filter(judgements__isnull=False)
    assert {item.completion_a_id for item in known} == {item.completion_a_id for item in judged}


def test_training_can_use_cases_outside_what_is_estimated(study, models, anna, tmp_path):
    held_out = make_cases(study, 3, split="test")
    for case in held_out:
        for model in models:
            make_completion(case, model)
    trained = list(study.cases.filter(split="train")[:2])
    given = a_file(tmp_path, *({"case": case.external_id, "value": "tie"} for case in trained))
    campaign = plan(study, [anna], given, models=models, split="test", design=Design(training_items=2))
    assert campaign.items.regular().count() == 3
    assert {item.case for item in campaign.items.filter(training=True)} == set(trained)
    assert campaign.dropped == {}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"case": "nowhere", "value": "tie"}, "Line 2: there is nothing to judge of case “nowhere”"),
        ({"value": "perhaps"}, "value “perhaps” can't be read here"),
        ({"value": "cannot_judge:outside_my_field"}, "no answer that can be known"),
        ({"value": "tie", "model_a": "zulu"}, "no item of zulu"),
        ({"value": "tie", "criterion": "faithful"}, "criterion “faithful” is not asked for"),
    ],
)
def test_a_row_that_can_not_be_used_is_named_by_its_line(study, models, anna, tmp_path, row, message):
    case = study.cases.first()
    with pytest.raises(PlanError, match="can't be used as known answers") as caught:
        plan(study, [anna], a_file(tmp_path, {"case": case.external_id} | row), models=models)
    assert caught.value.field == "known_answers"
    assert message in caught.value.details[0]
    assert not Campaign.objects.exists()


def test_two_answers_for_one_slot_and_half_an_answer_are_refused(study, models, anna, tmp_path):
    case = study.cases.first().external_id
    row = {"case": case, "model_a": "alpha", "criterion": "faithful", "value": "3"}
    with pytest.raises(PlanError) as caught:
        plan(study, [anna], a_file(tmp_path, row, row), models=models, kind="likert")
    assert "a second time in line 3" in caught.value.details[0]
    with pytest.raises(PlanError) as caught:
        plan(study, [anna], a_file(tmp_path, row), models=models, kind="likert")
    assert "Choose one of the answers" in caught.value.details[0]


def test_a_criterion_of_a_turned_comparison_is_turned_too(study, models, anna, tmp_path, monkeypatch):
    """Until comparisons ask for criteria of themselves, the scale is given here."""
    monkeypatch.setattr(judging, "allowed_values", lambda kind, rubric: {"faithful": [1, 2, 3, 4, 5]})
    case = study.cases.first()
    common = {"case": case.external_id, "model_a": "bravo", "model_b": "alpha"}
    rows = [common | {"criterion": "faithful", "value": "2"}, common | {"criterion": "preference", "value": "prefer_a"}]
    campaign = plan(study, [anna], a_file(tmp_path, *rows), models=models, design=Design(training_items=1))
    gold = campaign.items.get(training=True).gold
    assert (gold["outcome"], gold["values"]) == ("prefer_b", {"faithful": 4})


@pytest.fixture
def triage(anna):
    study = make_study("triage")
    join(study, anna, "annotator")
    make_cases(study, 10, reference={"personnel": "nurse", "urgency": "soon"})
    make_cases(study, 2, reference={"personnel": "nurse"})
    make_cases(study, 2, reference={})
    return study


def test_as_many_references_as_are_needed_are_drawn(triage, anna):
    campaign = plan(triage, [anna], source("references"), Design(training_items=2, gold_rate=0.2), kind="label")
    # 14 items for one annotator: 4 gold items make a good fifth of what is judged.
    assert campaign.items.filter(gold__isnull=False, training=False).count() == 4
    assert campaign.items.filter(training=True).count() == 2
    assert campaign.items.regular().count() == 14 - 6
    item = campaign.items.filter(training=True).first()
    assert item.gold["values"] == {"personnel": "nurse", "urgency": "soon"}
    assert item.gold["feedback"] == "This is the case's reference."
    assert len(campaign.dropped["known_answer"]) == 6


def test_too_few_references_are_counted(triage, anna):
    with pytest.raises(PlanError, match="10 of these cases have a whole reference, and 10 training items and gold"):
        plan(triage, [anna], source("references"), Design(training_items=10, gold_rate=0.2), kind="label")
    triage.cases.exclude(reference={"personnel": "nurse", "urgency": "soon"}).delete()
    with pytest.raises(PlanError, match="nothing would be left to judge"):
        plan(triage, [anna], source("references"), Design(training_items=10), kind="label")


def test_references_are_no_known_answer_where_outputs_are_judged(study, models, anna):
    with pytest.raises(PlanError, match="a label's known answer"):
        plan(study, [anna], source("references"), models=models)


def earlier(study, people, *outcomes, kind="comparison"):
    """A closed campaign; ``outcomes`` are what its annotators said of the first items, one tuple an item."""
    campaign = make_campaign(study, people, kind=kind, name="Pilot", cases=make_cases(study, len(outcomes)))
    for person_number, person in enumerate(people):
        for _ in outcomes:
            assignment = next_assignment(campaign, person)
            said = outcomes[assignment.item.position][person_number]
            values = said if isinstance(said, dict) else {}
            outcome = "judged" if values else said
            strength = "clearly" if "prefer" in outcome else ""
            judging.submit(assignment, judging.Answer(outcome, strength, values=values), actor=person)
    Campaign.objects.filter(pk=campaign.pk).update(closed_at=timezone.now())
    campaign.refresh_from_db()
    return campaign


def test_what_an_earlier_campaign_agreed_on_is_known(study, anna, ben, lena):
    pilot = earlier(study, [anna, ben], ("tie", "tie"), ("prefer_a", "tie"), ("prefer_b", "prefer_b"))
    item = pilot.items.get(position=1)
    Adjudication.objects.create(item=item, outcome="both_unacceptable", reason="Both invent a fever.", decided_by=lena)
    known = known_answers.agreed(study, "Pilot", kind="comparison", rubric=pilot.rubric)
    assert [row.gold["outcome"] for row in known] == ["tie", "both_unacceptable", "prefer_b"]
    assert known[1].gold["feedback"] == "Both invent a fever."
    assert "2 annotators" in known[0].gold["feedback"]
    models = list(pilot.models.all())
    campaign = plan(study, [anna], source("campaign:Pilot"), Design(training_items=2), models=models, name="Next")
    assert campaign.items.filter(training=True).count() == 2
    assert campaign.items.regular().count() == 1
    assert campaign.design["known_answers"]["name"] == "Pilot"


def test_points_are_agreed_where_most_gave_the_same_on_every_criterion(study, anna, ben):
    same, other = {"faithful": 4, "complete": 2}, {"faithful": 4, "complete": 3}
    pilot = earlier(study, [anna, ben], (same, same), (same, other), kind="likert")
    known = known_answers.agreed(study, "Pilot", kind="likert", rubric=pilot.rubric)
    assert [row.gold["values"] for row in known] == [same]


def test_one_person_s_answer_is_no_agreement(study, anna):
    pilot = earlier(study, [anna], ("tie",), ("tie",))
    assert known_answers.agreed(study, "Pilot", kind="comparison", rubric=pilot.rubric) == []


def test_only_a_closed_campaign_of_the_same_kind_has_known_answers(study, models, anna, ben):
    pilot = earlier(study, [anna, ben], ("tie", "tie"))
    for change, name in (({"closed_at": None}, "Pilot"), ({"kind": "correctness"}, "Pilot"), ({}, "Nowhere")):
        Campaign.objects.filter(pk=pilot.pk).update(**({"closed_at": timezone.now(), "kind": "comparison"} | change))
        with pytest.raises(PlanError, match=f"“{name}” is no closed comparison campaign"):
            plan(study, [anna], source(f"campaign:{name}"), models=models)


def test_feedback_that_names_a_model_is_refused(study, models, anna, tmp_path):
    case = study.cases.first().external_id
    given = a_file(tmp_path, {"case": case, "value": "prefer_a", "reason": "Alpha keeps the dose."})
    with pytest.raises(PlanError, match="names a model") as caught:
        plan(study, [anna], given, Design(training_items=1), models=models)
    assert caught.value.details == [f"{case}: alpha"]


@pytest.mark.parametrize(
    ("design", "field", "message"),
    [
        (Design(), "known_answers", "nothing uses them"),
        (Design(training_items=2), "gold_rate", "the other 1 would never be shown"),
        (Design(training_items=3, gold_rate=0.1), "training_items", "3 training items and gold items"),
        (Design(training_items=4), "training_items", "There are 3 known answers, and 4 training items are"),
    ],
)
def test_known_answers_and_what_they_are_for_must_fit(study, models, anna, tmp_path, design, field, message):
    rows = [{"case": case.external_id, "value": "tie"} for case in study.cases.all()[:3]]
    with pytest.raises(PlanError, match=message) as caught:
        plan(study, [anna], a_file(tmp_path, *rows), design, models=models)
    assert caught.value.field == field


def test_gold_items_count_towards_the_most_an_annotator_may_be_given(study, models, anna, ben, tmp_path):
    rows = [{"case": case.external_id, "value": "tie"} for case in study.cases.all()[:2]]
    design = Design(gold_rate=0.2, max_per_annotator=7)
    with pytest.raises(PlanError, match="12 of items, 0 of hidden repeats, 4 of gold items"):
        plan(study, [anna, ben], a_file(tmp_path, *rows), design, models=models, overlap=2)


def test_a_file_sent_by_a_browser_is_read_under_its_own_name():
    given = from_upload("gold answers.csv", b"case,value\nc1,tie\n")
    assert (given.name, given.rows) == ("gold answers.csv", [(2, {"case": "c1", "value": "tie"})])
    for name, data, message in (
        ("gold.xlsx", b"x", "neither .csv nor .jsonl"),
        ("gold.csv", b"case,colour\n1,2\n", "unknown column “colour”"),
        ("gold.csv", b"", "“gold.csv” has no rows"),
        ("gold.csv", b"x" * 2_000_001, "larger than 2 MB"),
    ):
        with pytest.raises(UserError, match=message):
            from_upload(name, data)
