"""The wording of a campaign may change while it runs; what would make answers incomparable may not."""

import copy
import re
import threading
from functools import partial

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.errors import UserError
from accounts.models import AuditEvent
from annotations import judging
from annotations.assignment import next_assignment
from annotations.judging import Answer
from annotations.models import Campaign, RubricVersion
from annotations.planning import plan_campaign
from annotations.rubrics import change_rubric, changes, difference, editions
from tests.factories import join, make_cases, make_completion, make_model, make_study

pytestmark = pytest.mark.django_db
POINTS = {"faithful": 4, "complete": 3}


@pytest.fixture
def study(anna, lena):
    study = make_study(instructions="Judge what is true.", reason_chips=["too long"])
    join(study, anna, "annotator")
    join(study, lena, "lead")
    return study


@pytest.fixture
def campaign(study, anna):
    model = make_model("alpha")
    for case in make_cases(study, 4):
        make_completion(case, model)
    return plan_campaign(study=study, kind="likert", name="Round", annotators=[anna], overlap=1, models=[model])


def reworded(campaign, **fields):
    return copy.deepcopy(campaign.rubric) | fields


def test_a_change_makes_the_next_version_and_says_who_when_and_why(campaign, lena):
    version = change_rubric(campaign, reworded(campaign, instructions="New."), reason="Unclear.", actor=lena)
    campaign.refresh_from_db()
    assert (version.number, campaign.rubric_version, campaign.rubric["instructions"]) == (2, 2, "New.")
    assert (version.reason, version.created_by, version.content) == ("Unclear.", lena, campaign.rubric)
    assert RubricVersion.objects.get(campaign=campaign, number=1).content["instructions"] == "Judge what is true."
    event = AuditEvent.objects.get(action="change rubric")
    assert (event.actor, event.detail) == (lena, {"version": 2, "reason": "Unclear."})


def test_judgements_belong_to_the_version_they_were_given_under(campaign, anna, lena):
    judging.submit(next_assignment(campaign, anna), Answer("judged", values=POINTS), actor=anna)
    change_rubric(campaign, reworded(campaign, instructions="New."), reason="Unclear.", actor=lena)
    campaign.refresh_from_db()
    for _ in range(2):
        judging.submit(next_assignment(campaign, anna), Answer("judged", values=POINTS), actor=anna)
    assert [(e.version.number, e.judgements) for e in editions(campaign)] == [(2, 2), (1, 1)]


def test_a_draft_stays_and_can_be_submitted_under_the_new_wording(campaign, anna, lena):
    assignment = next_assignment(campaign, anna)
    judging.save_draft(assignment, {"values": {"faithful": 2}, "reason": "half"})
    change_rubric(campaign, reworded(campaign, instructions="New."), reason="Unclear.", actor=lena)
    assignment.refresh_from_db()
    assert assignment.draft == {"values": {"faithful": 2}, "reason": "half"}
    judgement = judging.submit(assignment, Answer("judged", values=POINTS), actor=anna)
    assert judging.current(judgement).rubric_version == 2


@pytest.mark.parametrize("name", ["title", "question"])
def test_the_words_of_a_criterion_can_change(campaign, lena, name):
    content = reworded(campaign)
    content["criteria"][0][name] = "In other words"
    content["criteria"][1]["anchors"][2] = "so-so"
    change_rubric(campaign, content, reason="Unclear.", actor=lena)
    campaign.refresh_from_db()
    assert campaign.rubric["criteria"][0][name] == "In other words"
    assert campaign.rubric["criteria"][1]["anchors"] == ["unusable", "poor", "so-so", "good", "excellent"]


def test_reasons_marks_and_editing_can_be_switched(campaign, lena):
    content = reworded(campaign, reason="required", chips=["vague", "unsafe"], marks=True, ideal=True)
    change_rubric(campaign, content, reason="We want to know why.", actor=lena)
    campaign.refresh_from_db()
    assert {name: campaign.rubric[name] for name in ("reason", "chips", "marks", "ideal")} == {
        "reason": "required",
        "chips": ["vague", "unsafe"],
        "marks": True,
        "ideal": True,
    }


def without_a_criterion(rubric):
    del rubric["criteria"][0]


def another_name(rubric):
    rubric["criteria"][0]["name"] = "true"


def another_order(rubric):
    rubric["criteria"].reverse()


def one_point_fewer(rubric):
    del rubric["criteria"][0]["anchors"][0]


def the_reference_shown(rubric):
    rubric["show_reference"] = True


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_a_criterion, "The criteria and their order"),
        (another_name, "The criteria and their order"),
        (another_order, "The criteria and their order"),
        (one_point_fewer, "“Faithful” has 5 points"),
        (the_reference_shown, "Whether the reference is shown"),
    ],
)
def test_what_would_make_answers_incomparable_needs_a_new_campaign(campaign, lena, change, message):
    content = reworded(campaign)
    change(content)
    with pytest.raises(UserError, match=f"{message}.*[Pp]lan a new campaign|{message}.*plan a new campaign"):
        change_rubric(campaign, content, reason="Better.", actor=lena)
    assert campaign.rubric_versions.count() == 1


@pytest.mark.parametrize(
    ("content", "reason", "message"),
    [
        ({"instructions": "New."}, " ", "Say why"),
        ({}, "Better.", "Nothing is changed"),
        ({"reason": "perhaps"}, "Better.", "one of optional, required, none"),
        ({"chips": ["x" * 61]}, "Better.", "at most 60"),
        ({"colour": "red"}, "Better.", "has no colour"),
    ],
)
def test_a_change_that_says_nothing_or_can_not_be_is_refused(campaign, lena, content, reason, message):
    with pytest.raises(UserError, match=message):
        change_rubric(campaign, reworded(campaign, **content), reason=reason, actor=lena)
    assert campaign.rubric_versions.count() == 1


def test_an_empty_anchor_is_refused(campaign, lena):
    content = reworded(campaign)
    content["criteria"][0]["anchors"][1] = " "
    with pytest.raises(UserError, match="is empty"):
        change_rubric(campaign, content, reason="Better.", actor=lena)


def test_a_closed_campaign_keeps_its_wording(campaign, lena):
    Campaign.objects.filter(pk=campaign.pk).update(closed_at=timezone.now())
    with pytest.raises(UserError, match="is closed"):
        change_rubric(campaign, reworded(campaign, instructions="New."), reason="Unclear.", actor=lena)


def test_labels_can_be_called_something_else_but_not_become_something_else(anna, lena):
    study = make_study("triage")
    for person, role in ((anna, "annotator"), (lena, "lead")):
        join(study, person, role)
    make_cases(study, 2)
    campaign = plan_campaign(study=study, kind="label", name="Round", annotators=[anna], overlap=1)
    content = reworded(campaign)
    content["label_fields"][1]["labels"][1] |= {"title": "Within two days", "help": "Not today."}
    change_rubric(campaign, content, reason="Unclear.", actor=lena)
    assert {c.what for c in editions(campaign)[0].changes} == {
        "Label urgency = soon, title",
        "Label urgency = soon, help",
    }
    for path, value in ((("labels", 1, "value"), "later"), (("level",), "nominal")):
        content = reworded(campaign)
        where = content["label_fields"][1]
        for step in path[:-1]:
            where = where[step]
        where[path[-1]] = value
        with pytest.raises(UserError, match="The labels and their order"):
            change_rubric(campaign, content, reason="Better.", actor=lena)
    content = reworded(campaign)
    content["label_fields"][1]["labels"][0]["title"] = "Within two days"
    with pytest.raises(UserError, match="the same title"):
        change_rubric(campaign, content, reason="Better.", actor=lena)
    with pytest.raises(UserError, match="no output that could be marked"):
        change_rubric(campaign, reworded(campaign, marks=True), reason="Better.", actor=lena)


def test_two_changes_at_once_make_two_versions(campaign, lena):
    """Each starts from the rubric it saw; the second says what it changes against what is in force."""
    stale = Campaign.objects.get(pk=campaign.pk)
    change_rubric(campaign, reworded(campaign, instructions="One."), reason="First.", actor=lena)
    change_rubric(stale, reworded(stale, instructions="Two."), reason="Second.", actor=lena)
    assert list(campaign.rubric_versions.values_list("number", flat=True)) == [1, 2, 3]
    assert Campaign.objects.get(pk=campaign.pk).rubric["instructions"] == "Two."


def test_a_difference_is_read_word_by_word():
    parts = difference("Weigh what is true.\nBe brief.", "Weigh what is safe.\nBe brief.")
    assert [(part.kind, part.text) for part in parts] == [
        ("", "Weigh what is "),
        ("del", "true."),
        ("ins", "safe."),
        ("", "\nBe brief."),
    ]


def test_an_old_rubric_without_later_keys_has_no_changes_from_the_same_with_them(campaign):
    old = {name: campaign.rubric[name] for name in ("instructions", "criteria", "label_fields", "reason")}
    new = campaign.rubric | {"chips": [], "marks": False, "ideal": False, "instructions": "Judge what is true.\r\n"}
    assert changes(old, new) == []


@pytest.mark.django_db(transaction=True)
def test_changes_and_answers_at_the_same_time_make_whole_versions(campaign, anna, lena):
    """Whatever the order: versions are numbered without a gap, and the last one is in force."""
    errors = []

    def run(work):
        try:
            work()
        except Exception as error:
            errors.append(error)
        finally:
            connection.close()

    def change(n):
        own = Campaign.objects.get(pk=campaign.pk)
        change_rubric(own, reworded(campaign, instructions=f"Wording {n}."), reason=f"{n}.", actor=lena)

    def answer():
        for _ in range(4):
            judging.submit(next_assignment(campaign, anna), Answer("judged", values=POINTS), actor=anna)

    works = [answer, *(partial(change, n) for n in range(5))]
    threads = [threading.Thread(target=run, args=[work]) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert errors == []
    campaign.refresh_from_db()
    versions = list(campaign.rubric_versions.order_by("number"))
    assert [version.number for version in versions] == [1, 2, 3, 4, 5, 6]
    assert (campaign.rubric_version, campaign.rubric) == (6, versions[-1].content)
    assert sum(edition.judgements for edition in editions(campaign)) == 4


# --- the pages


@pytest.fixture
def client(lena):
    client = Client()
    client.force_login(lena)
    return client


def url(campaign, name="campaign_rubric"):
    return reverse(f"annotations:{name}", args=[campaign.study.slug, campaign.public_id])


def as_shown(client, campaign):
    """What the browser would send of the page as it is."""
    form = client.get(url(campaign, "campaign_rubric_change")).context["form"]
    return {name: form[name].value() or "" for name in form.fields if form[name].value() is not False}


def test_a_lead_changes_the_wording_on_the_page_and_reads_what_changed(client, campaign, anna):
    judging.submit(next_assignment(campaign, anna), Answer("judged", values=POINTS), actor=anna)
    fields = as_shown(client, campaign) | {
        "instructions": "Judge what is safe.",
        "criteria-0-anchors-0": "dangerous",
        "chips": "too long\r\nvague",
        "why": "Two of us read it differently.",
    }
    response = client.post(url(campaign, "campaign_rubric_change"), fields)
    assert response["Location"] == url(campaign)
    text = re.sub(r"\s+", " ", client.get(url(campaign)).content.decode())
    assert "Version 2 <span" in text
    assert "0 judgements were given under it" in text
    assert "1 judgement was given under it" in text
    assert "Two of us read it differently." in text
    assert "taken out: </span>true.</del>" in text
    assert "added: </span>safe.</ins>" in text
    assert "Criterion faithful, point 1" in text
    assert text.index("Version 2 <span") < text.index("Version 1<")


def test_the_page_says_what_is_missing(client, campaign):
    fields = as_shown(client, campaign)
    text = client.post(url(campaign, "campaign_rubric_change"), fields | {"why": "Because."}).content.decode()
    assert "Nothing is changed" in text
    text = client.post(url(campaign, "campaign_rubric_change"), fields | {"criteria-0-title": ""}).content.decode()
    assert re.search(r'id="id_criteria-0-title_error">\s*<p>This field is required', text)
    assert campaign.rubric_versions.count() == 1


def test_only_a_lead_sees_and_changes_the_versions(campaign, anna, ben, chidi):
    join(campaign.study, ben, "viewer")
    for person, status in ((anna, 403), (ben, 403), (chidi, 404)):
        client = Client()
        client.force_login(person)
        for name in ("campaign_rubric", "campaign_rubric_change"):
            assert client.get(url(campaign, name)).status_code == status
    assert Client().get(url(campaign)).status_code == 302


def test_a_closed_campaign_offers_no_change(client, campaign):
    assert url(campaign, "campaign_rubric_change") in client.get(url(campaign)).content.decode()
    Campaign.objects.filter(pk=campaign.pk).update(closed_at=timezone.now())
    assert url(campaign, "campaign_rubric_change") not in client.get(url(campaign)).content.decode()


def test_the_versions_name_no_model_and_cost_the_same_however_many(
    client, campaign, lena, django_assert_max_num_queries
):
    for n in range(5):
        change_rubric(campaign, reworded(campaign, instructions=f"Version {n}."), reason="Again.", actor=lena)
    with django_assert_max_num_queries(12):
        text = client.get(url(campaign)).content.decode()
    assert "alpha" not in text
