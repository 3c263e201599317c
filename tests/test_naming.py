"""Outputs that say who wrote them are found at planning, listed, and left out where the lead wants it."""

import pytest

from annotations import naming
from annotations.designs import Design
from annotations.lots import apportion, drawn
from annotations.models import Model
from annotations.planning import plan_campaign, work_out
from tests.factories import join, make_cases, make_completion, make_model, make_study


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("I am Qwen2.5-7B, made by Alibaba.", ("Qwen2.5",)),
        ("As an AI language model, I can't examine patients.", ("As an AI language model",)),
        ("I'm a large language model.", ("I'm a large language model",)),
        ("Written by ChatGPT (OpenAI).", ("ChatGPT", "OpenAI")),
        ("LLAMA 3 says so; llama says so.", ("LLAMA 3", "llama")),
        ("Mistral, Claude and Gemini agree.", ("Mistral", "Claude", "Gemini")),
        ("smollm2 135M wrote this.", ("smollm2 135M",)),
        ("The llamas on the farm bit him; he is gpted.", ()),
        ("The sodium is 135m and the model is ours.", ()),
        ("Cough for 3 days, no fever.", ()),
    ],
)
def test_families_self_descriptions_and_model_names_are_found_as_whole_words_in_any_case(text, words):
    assert naming.telling_words(text, names=["smollm2-135m"]) == words


@pytest.mark.parametrize(
    ("text", "source", "words"),
    [
        ("Claude, 70, coughs.", "Monsieur Claude has a cough.", ()),
        ("GPT 34 U/l.", "GOT 20, GPT: 34.", ()),
        ("Crackles at the left base.", "Crackles, left base.", ()),
        ("I am base.", "A cough.", ("base",)),
        ("I am Llama. Claude coughs.", "Claude coughs.", ("Llama",)),
    ],
)
def test_a_name_that_the_source_holds_tells_nothing(text, source, words):
    assert naming.telling_words(text, source=source, names=["base"]) == words


def test_a_name_inside_a_longer_one_is_said_once():
    assert naming.telling_words("By llama-3-8b-dpo.", names=["llama-3-8b-dpo", "llama-3-8b"]) == ("llama-3-8b-dpo",)


@pytest.fixture
def study(anna):
    study = make_study()
    join(study, anna, "annotator")
    cases = make_cases(study, 4)
    for name in ("alpha-7b", "bravo-7b"):
        model = make_model(name)
        for number, case in enumerate(cases):
            tells = name == "alpha-7b" and number == 1
            make_completion(case, model, "This is bravo 7b speaking." if tells else f"{number}, {name[:2]}.")
    return study


def plan(study, people, **options):
    models = list(Model.objects.all())
    given = {"kind": "comparison", "name": "Round", "overlap": 1, "models": models, "annotators": people} | options
    return plan_campaign(study=study, **given)


@pytest.mark.django_db
def test_an_output_that_names_any_model_of_the_campaign_is_kept_with_the_plan(study, anna):
    campaign = plan(study, [anna])
    case = study.cases.order_by("pk")[1]
    assert campaign.design["names_itself"] == {"alpha-7b": [case.external_id]}
    assert campaign.items.count() == 4
    assert "names_itself" not in campaign.dropped


@pytest.mark.django_db
def test_the_lead_can_leave_such_cases_out_and_they_are_counted(study, anna):
    campaign = plan(study, [anna], kind="likert", design=Design(leave_out_named=True))
    case = study.cases.order_by("pk")[1]
    assert campaign.dropped == {"names_itself": [case.external_id]}
    assert campaign.items.count() == 6
    assert not campaign.items.filter(case=case).exists()


@pytest.mark.django_db
def test_looking_for_names_costs_one_query_however_many_outputs(study, anna, django_assert_max_num_queries):
    models = list(Model.objects.all())
    with django_assert_max_num_queries(8):
        plan = work_out(study=study, kind="comparison", name="x", annotators=[anna], overlap=1, models=models)
    assert [(row.model.name, row.words) for row in plan.named] == [("alpha-7b", ("bravo 7b",))]


@pytest.mark.parametrize("share", [0.1, 0.3, 1 / 3, 0.5, 0.9, 1])
def test_a_stratified_share_is_within_one_of_exact_in_every_stratum_and_exact_in_all(share):
    sizes = {"train": 17, "test": 5, "validation": 3, "other": 40}
    counts = apportion(sizes, share)
    assert sum(counts.values()) == max(1, int(share * 65 + 0.5))
    assert all(abs(counts[name] - share * size) < 1 for name, size in sizes.items())


def test_lots_decide_within_a_stratum_and_the_order_given_does_not():
    things = [(name, n) for name in "ab" for n in range(10)]
    options = {"stratum": lambda thing: thing[0], "lot": lambda thing: (thing[1] * 7 % 10, thing[0])}
    chosen = drawn(things, 0.3, **options)
    assert drawn(things[::-1], 0.3, **options) == chosen
    assert sorted(name for name, _ in chosen) == ["a"] * 3 + ["b"] * 3
