"""What could hurt a patient reaches the leads at once, once, and tells nobody which model wrote what."""

import uuid
from datetime import timedelta
from smtplib import SMTPRecipientsRefused

import pytest
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.errors import InvalidTransition, UserError
from accounts.models import AuditEvent
from annotations import campaigning, harms, judging, tasks
from annotations.assignment import next_assignment
from annotations.judging import Answer
from annotations.models import Assignment, Completion, HarmReport, Unblinding
from tests.factories import join, make_campaign, make_cases, make_completion, make_study

pytestmark = pytest.mark.django_db
HIDDEN = "zebra-dpo-7b"
SAID = {"severity": "severe", "quote": "5 mg twice", "description": "A tenfold dose."}


@pytest.fixture(autouse=True)
def fresh_worker(settings, monkeypatch):
    """Mail is set up, and no worker of this process has tried any yet."""
    settings.EMAIL_CONFIGURED = True
    monkeypatch.setattr(harms, "_next_try", 0.0)


@pytest.fixture
def study(lena):
    study = make_study(slug="notes", title="Notes")
    join(study, lena, "lead")
    return study


@pytest.fixture
def campaign(study, anna, ben):
    campaign = make_campaign(study, [anna, ben], cases=[], name="Round one", models=("alpha", HIDDEN))
    alpha, zebra = campaign.models.order_by("name")
    for position, case in enumerate(make_cases(study, 2)):
        a = make_completion(case, alpha, "Give **5 mg**\ntwice a day.")
        b = make_completion(case, zebra, "Give 50 mg once.")
        campaign.items.create(case=case, completion_a=a, completion_b=b, position=position, overlap=2)
    return campaign


@pytest.fixture
def assignment(campaign, anna):
    given = next_assignment(campaign, anna)
    Assignment.objects.filter(pk=given.pk).update(a_is_left=False)
    given.refresh_from_db()
    return given


@pytest.fixture
def committed(django_capture_on_commit_callbacks):
    """Runs what is to run once the transaction is committed."""
    return lambda: django_capture_on_commit_callbacks(execute=True)


def report(assignment, about="right", actor=None, **changed):
    fields = {"id": uuid.uuid4(), "about": about, **SAID} | changed
    return harms.report_harm(assignment=assignment, actor=actor or assignment.annotator, **fields)


def client_of(user):
    client = Client()
    client.force_login(user)
    return client


class TestReporting:
    def test_a_report_names_the_output_and_not_the_side(self, assignment, anna):
        kept, created = report(assignment)
        assert created
        assert kept.completion == assignment.item.completion_a  # shown on the right
        assert (kept.reported_by, kept.severity, kept.quote) == (anna, "severe", "5 mg twice")
        assert AuditEvent.objects.get(action="report harm").detail == {
            "campaign": assignment.item.campaign_id,
            "severity": "severe",
        }

    def test_a_report_can_be_about_the_case(self, assignment):
        kept, _ = report(assignment, "case", quote="had a cough")
        assert kept.completion is None

    def test_a_report_sent_twice_is_one(self, assignment, committed):
        key = uuid.uuid4()
        with committed():
            first = report(assignment, id=key)
            again = report(assignment, id=key, quote=" 5 mg twice ")
        assert (first[0], first[1], again[1]) == (again[0], True, False)
        assert len(mail.outbox) == 1

    def test_other_words_under_one_id_are_refused_and_not_lost_in_silence(self, assignment):
        kept, _ = report(assignment)
        with pytest.raises(UserError, match="with other words"):
            report(assignment, id=kept.pk, description="Worse.")
        assert HarmReport.objects.get().description == "A tenfold dose."

    def test_a_report_can_be_made_after_the_judgement_and_in_a_closed_campaign(self, assignment, campaign, anna, lena):
        judging.submit(assignment, Answer("tie"), actor=anna)
        report(assignment)
        campaigning.close(campaign, actor=lena)
        report(assignment)
        assert harms.of(anna, campaign).count() == 2

    @pytest.mark.parametrize(
        ("changed", "field"),
        [
            ({"about": "middle"}, "about"),
            ({"severity": "awful"}, "severity"),
            ({"description": " "}, "description"),
            ({"description": "x" * 10_001}, "description"),
            ({"quote": "50 mg twice"}, "quote"),
            ({"about": "left", "quote": "5 mg twice"}, "quote"),
            ({"quote": "x" * 5_001}, "quote"),
        ],
    )
    def test_what_is_missing_is_named_and_nothing_is_kept(self, assignment, changed, field):
        fields = {"about": "right", **SAID} | changed
        assert set(harms.problems(assignment, **fields)) == {field}
        with pytest.raises(UserError, match="not complete"):
            report(assignment, **changed)
        assert not HarmReport.objects.exists()

    @pytest.mark.parametrize(
        ("text", "quote", "found"),
        [
            ("Give 5 mg.\nTwice.", "5\u00a0mg.  Twice", "5 mg.\nTwice"),
            ("- **Stop** warfarin\n- rest", "Stop warfarin rest", "Stop** warfarin\n- rest"),
            ("1. Stop\n2. Rest", "Stop\nRest", "Stop\n2. Rest"),
            ("1. Stop\n2. Rest", "1. Stop\n2. Rest", "1. Stop\n2. Rest"),
            ("Give 5 mg.", "15 mg", None),
            ("Give 5 mg.", "**", None),
        ],
    )
    def test_a_passage_is_found_as_it_was_selected_on_the_page(self, text, quote, found):
        parts = harms.passage(text, quote)
        assert (parts and parts[1]) == found
        assert parts is None or "".join(parts) == text


class TestMail:
    def test_all_leads_are_told_at_once_without_clinical_text_or_model(self, assignment, study, chidi, committed):
        join(study, chidi, "lead")
        with committed():
            kept, _ = report(assignment)
        [sent] = mail.outbox
        assert sent.to == ["chidi@example.org", "lena@example.org"]
        said = sent.subject + sent.body
        for word in ("severe", "Notes", "Round one", f"/s/notes/harm/#report-{kept.pk}"):
            assert word in said
        names = [completion.model.name for completion in Completion.objects.all()]
        texts = [kept.quote, kept.description, "5 mg", kept.assignment.item.case.external_id, "anna", *names]
        assert not [word for word in texts if word in said]
        kept.refresh_from_db()
        assert kept.notified_at is not None

    def test_only_leads_with_an_address_are_told(self, study, lena, chidi, ben):
        join(study, chidi, "lead")
        join(study, ben, "viewer")
        chidi.email = ""
        chidi.save()
        assert harms.recipients(study) == ["lena@example.org"]

    def test_a_mail_that_fails_is_shown_and_tried_again_by_the_workers(self, assignment, settings, lena, committed):
        settings.EMAIL_BACKEND = "tests.test_harms.Away"
        with committed():
            kept, _ = report(assignment)
        kept.refresh_from_db()
        assert kept.notified_at is None
        page = client_of(lena).get(reverse("annotations:harm", args=["notes"])).content.decode()
        assert "not mailed" in page
        HarmReport.objects.update(created_at=timezone.now() - timedelta(minutes=2))
        settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
        tasks.sweep()
        kept.refresh_from_db()
        assert kept.notified_at is not None
        assert len(mail.outbox) == 1
        tasks.sweep()
        assert len(mail.outbox) == 1

    def test_a_worker_does_not_ask_an_absent_server_all_the_time(self, assignment, settings):
        settings.EMAIL_BACKEND = "tests.test_harms.Away"
        report(assignment)
        HarmReport.objects.update(created_at=timezone.now() - timedelta(minutes=2))
        Away.asked = 0
        for _ in range(3):
            harms.mail_waiting()
        assert Away.asked == 1

    def test_one_refused_address_keeps_no_other_mail_back(self, assignment, settings, study, lena):
        settings.EMAIL_BACKEND = "tests.test_harms.Picky"
        for n in range(2):
            report(assignment, description=f"Report {n}")
        HarmReport.objects.update(created_at=timezone.now() - timedelta(minutes=2))
        Picky.refuse = 1
        assert harms.mail_waiting() == 1
        assert HarmReport.objects.filter(notified_at__isnull=True).count() == 1

    def test_a_mail_is_given_up_after_two_days(self, assignment):
        report(assignment)
        HarmReport.objects.update(created_at=timezone.now() - timedelta(days=2, minutes=1))
        assert harms.mail_waiting() == 0
        assert "tried no more" in harms.why_not_mailed(HarmReport.objects.get())

    def test_without_mail_the_page_says_so(self, assignment, settings, committed):
        settings.EMAIL_CONFIGURED = False
        with committed():
            kept, _ = report(assignment)
        assert not mail.outbox
        assert "EMAIL_URL" in harms.why_not_mailed(kept)


class Away(EmailBackend):
    """A mail server that can't be reached."""

    asked = 0

    def open(self):
        Away.asked += 1
        raise TimeoutError


class Picky(EmailBackend):
    """A mail server that refuses the recipients of the first mails."""

    refuse = 0

    def send_messages(self, messages):
        if Picky.refuse:
            Picky.refuse -= 1
            raise SMTPRecipientsRefused({})
        return super().send_messages(messages)


class TestTheForm:
    def post(self, client, assignment, public_id=None, **changed):
        fields = {"id": uuid.uuid4(), "assignment": assignment.pk, "about": "right", **SAID} | changed
        accept = fields.pop("accept", "application/json")
        address = reverse("annotations:harm_report", args=[public_id or assignment.item.campaign.public_id])
        return client.post(address, fields, headers={"Accept": accept})

    def test_a_script_is_answered_by_status(self, assignment, anna):
        key = uuid.uuid4()
        client = client_of(anna)
        assert self.post(client, assignment, id=key).status_code == 201
        assert self.post(client, assignment, id=key).status_code == 200
        refused = self.post(client, assignment, description="", severity="")
        assert refused.status_code == 422
        assert set(refused.json()["errors"]) == {"description", "severity"}
        assert set(self.post(client, assignment, id="x").json()["errors"]) == {""}
        assert HarmReport.objects.count() == 1

    def test_a_browser_without_scripts_gets_pages_and_keeps_what_was_typed(self, assignment, anna):
        client = client_of(anna)
        page = client.get(
            reverse("annotations:harm_report", args=[assignment.item.campaign.public_id]), {"assignment": assignment.pk}
        )
        assert page.status_code == 200
        refused = self.post(client, assignment, accept="text/html,*/*", severity="")
        assert refused.status_code == 422
        assert "A tenfold dose." in refused.content.decode()
        kept = self.post(client, assignment, accept="text/html,*/*")
        assert kept.url == reverse("annotations:judge", args=[assignment.item.campaign.public_id])

    def test_nobody_reports_on_anothers_item(self, assignment, ben, chidi):
        for person in (ben, chidi):
            assert self.post(client_of(person), assignment).status_code == 404
        assert not HarmReport.objects.exists()

    def test_an_annotator_sees_their_own_reports_only(self, assignment, campaign, anna, ben):
        report(assignment)
        assert [list(harms.of(person, campaign)) for person in (anna, ben)] == [[HarmReport.objects.get()], []]


class TestTheLeadsPage:
    @pytest.fixture
    def page(self):
        return reverse("annotations:harm", args=["notes"])

    def test_it_shows_what_was_reported_by_pseudonym_with_the_passage_marked(self, assignment, anna, lena, page):
        report(assignment)
        text = client_of(lena).get(page).content.decode()
        assert "<mark>5 mg**\ntwice</mark> a day." in text
        assert anna.memberships.get().pseudonym in text
        assert "anna" not in text
        assert "A tenfold dose." in text

    def test_unacknowledged_reports_come_first_and_the_newest_of_them(self, assignment, study, lena, page):
        old, done, new = (report(assignment, description=name)[0] for name in ("old", "done", "new"))
        harms.acknowledge(done, resolution="Seen.", actor=lena)
        assert list(harms.in_study(study)) == [new, old, done]

    @pytest.mark.parametrize("person", ["anna", "ben", "chidi"])
    def test_it_is_for_leads(self, assignment, study, page, person, request):
        user = request.getfixturevalue(person)
        if person == "ben":
            join(study, user, "viewer")
        assert client_of(user).get(page).status_code == (404 if person == "chidi" else 403)
        kept, _ = report(assignment)
        address = reverse("annotations:harm_acknowledge", args=["notes", kept.pk])
        assert client_of(user).post(address, {"resolution": "x"}).status_code == (404 if person == "chidi" else 403)

    def test_the_model_is_hidden_until_the_campaign_closes_or_is_unblinded(
        self, campaign, assignment, lena, adam, page
    ):
        report(assignment, "left", quote="")  # an output of the model whose name is recognised
        seen = [HIDDEN in client_of(lena).get(page).content.decode()]
        Unblinding.objects.create(campaign=campaign, user=lena, reason="An early look.")
        seen.append(HIDDEN in client_of(lena).get(page).content.decode())
        seen.append(HIDDEN in client_of(adam).get(page).content.decode())
        campaigning.close(campaign, actor=lena)
        seen.append(HIDDEN in client_of(adam).get(page).content.decode())
        assert seen == [False, True, False, True]

    def test_a_lead_who_judges_an_open_campaign_stays_blinded(self, study, campaign, assignment, lena, adam, page):
        report(assignment, "left", quote="")
        campaigning.close(campaign, actor=adam)
        make_campaign(study, [lena], name="Round two")
        assert HIDDEN not in client_of(lena).get(page).content.decode()

    def test_acknowledging_needs_a_resolution_and_is_done_once(self, assignment, lena, page):
        kept, _ = report(assignment)
        address = reverse("annotations:harm_acknowledge", args=["notes", kept.pk])
        client = client_of(lena)
        assert client.post(address, {"resolution": " "}).status_code == 422
        assert client.post(address, {"resolution": "Model withdrawn."}).status_code == 302
        kept.refresh_from_db()
        assert (kept.acknowledged_by, kept.resolution) == (lena, "Model withdrawn.")
        assert "Model withdrawn" not in str(AuditEvent.objects.get(action="acknowledge harm report").detail)
        with pytest.raises(InvalidTransition):
            harms.acknowledge(kept, resolution="Again.", actor=lena)

    def test_leads_are_shown_how_many_wait(self, assignment, study, lena, chidi):
        join(study, chidi, "viewer")
        kept, _ = report(assignment)
        overview = reverse("annotations:study", args=["notes"])
        assert "Harm 1 unacknowledged" in client_of(lena).get(overview).content.decode()
        assert "1 harm report in Notes" in client_of(lena).get(reverse("home")).content.decode()
        for address in (overview, reverse("home")):
            assert "harm" not in client_of(chidi).get(address).content.decode().lower()
        harms.acknowledge(kept, resolution="Seen.", actor=lena)
        assert "harm report" not in client_of(lena).get(reverse("home")).content.decode()
