"""A corrected output is kept as a completion of whoever corrected it: once, immutable, and nobody's but theirs."""

import pytest
from django.test import Client
from django.urls import reverse

from annotations import ideals, judging
from annotations.assignment import next_assignment
from annotations.forms_campaign import PlanForm
from annotations.judging import Answer, Ideal
from annotations.models import Completion, Model
from reports.forms import models_for
from tests.factories import join, make_campaign, make_cases, make_model, make_study

pytestmark = pytest.mark.django_db


@pytest.fixture
def study():
    return make_study(slug="notes")


@pytest.fixture
def item(study, anna, ben):
    campaign = make_campaign(study, [anna, ben], cases=make_cases(study, 1))
    campaign.rubric |= {"ideal": True}
    campaign.save()
    return campaign.items.get()


def keep(item, annotator, text="Cough since Monday.", output=None):
    return ideals.keep_ideal(item=item, output=output or item.completion_a, text=text, annotator=annotator)


def test_a_correction_is_a_completion_of_the_annotators_own_model(item, anna):
    kept = keep(item, anna)
    assert (kept.text, kept.case, kept.edited_from) == ("Cough since Monday.", item.case, item.completion_a)
    assert (kept.model.kind, kept.model.annotator, kept.created_by) == ("ideal", anna, anna)
    pseudonym = anna.memberships.get().pseudonym
    assert kept.model.name == f"notes-{pseudonym}-ideal"
    assert "anna" not in kept.model.name


def test_the_same_correction_twice_is_one_completion(item, anna):
    assert keep(item, anna) == keep(item, anna, " Cough since Monday.\r\n")
    assert Model.objects.filter(kind="ideal").count() == 1


def test_people_and_outputs_have_corrections_of_their_own(item, anna, ben):
    kept = [keep(item, anna), keep(item, ben), keep(item, anna, output=item.completion_b)]
    assert len({completion.pk for completion in kept}) == 3
    assert len({completion.model for completion in kept}) == 2
    assert kept[2].edited_from == item.completion_b


def test_unchanged_text_makes_nothing(item, anna):
    Completion.objects.filter(pk=item.completion_a_id).update(text="One.\r\nTwo.\n")
    item.completion_a.refresh_from_db()
    assert keep(item, anna, "One.\nTwo.") is None
    assert not Model.objects.filter(kind="ideal").exists()


def test_a_model_that_somebody_registered_under_the_name_is_left_alone(item, anna):
    taken = make_model(f"notes-{anna.memberships.get().pseudonym}-ideal")
    kept = keep(item, anna)
    assert kept.model != taken
    assert keep(item, anna, "Another.").model == kept.model


def test_a_changed_pseudonym_makes_no_second_model(item, anna):
    first = keep(item, anna)
    anna.memberships.update(pseudonym="other")
    assert keep(item, anna, "Another.").model == first.model


def test_an_answer_is_read_as_labels_where_the_study_has_them(anna):
    study = make_study("classification")
    item = make_campaign(study, [anna], cases=make_cases(study, 1)).items.get()
    assert keep(item, anna, "yes").parsed == {"label": "yes"}


def test_corrections_are_offered_nowhere_as_a_models_outputs(study, item, anna, adam):
    model = keep(item, anna).model
    assert model not in PlanForm(study=study).fields["models"].queryset
    assert model not in models_for(study)
    client = Client()
    client.force_login(adam)
    assert model.name not in client.get(reverse("annotations:models")).content.decode()
    join(study, adam, "lead")
    for page in ("generations", "campaign_plan"):
        assert model.name not in client.get(reverse(f"annotations:{page}", args=[study.slug])).content.decode()


def test_an_annotator_meets_no_trace_of_the_model_that_stands_for_them(study, item, anna):
    assignment = next_assignment(item.campaign, anna)
    answer = Answer("tie", ideal=Ideal("a", "Cough since Monday."))
    judgement = judging.submit(assignment, answer, actor=anna)
    name = judging.current(judgement).ideal.model.name
    client = Client()
    client.force_login(anna)
    public_id = item.campaign.public_id
    for address in (
        reverse("annotations:judge", args=[public_id]),
        reverse("annotations:history", args=[public_id]),
        reverse("annotations:judge_revise", args=[public_id, assignment.pk]),
    ):
        assert name not in client.get(address).content.decode()
