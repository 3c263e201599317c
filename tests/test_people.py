"""Who leaves a study, and what stays of them; invitations that are withdrawn or can't be mailed."""

import re
from datetime import timedelta

import pytest
from django.core.mail.backends.base import BaseEmailBackend
from django.urls import reverse
from django.utils import timezone

from accounts.errors import UserError
from accounts.models import AuditEvent
from annotations import access
from annotations.assignment import next_assignment
from annotations.campaigning import close
from annotations.exporting import judgement_rows
from annotations.forms_campaign import PlanForm
from annotations.judging import Answer, submit
from annotations.models import Assignment, Invitation, Membership
from annotations.people import accept, add_member, invite, open_invitation, remove_member, withdraw_invitation
from annotations.planning import plan_campaign
from tests.factories import join, make_campaign, make_model, make_study, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def study(lena, anna, ben):
    made = make_study()
    join(made, lena, "lead")
    for annotator in (anna, ben):
        join(made, annotator, "annotator")
    return made


@pytest.fixture
def lead(client, lena):
    client.force_login(lena)
    return client


def membership(study, user):
    return Membership.objects.get(study=study, user=user)


def people_page(study):
    return reverse("annotations:people", args=[study.slug])


def test_a_lead_removes_a_person_who_then_reaches_nothing(lead, client, study, anna, ben):
    is_open, closed = (make_campaign(study, [anna, ben], name=name) for name in ("now", "before"))
    close(closed, actor=None)
    held = next_assignment(is_open, anna)
    row = membership(study, anna)
    assert "Remove anna" in lead.get(people_page(study)).content.decode()
    response = lead.post(reverse("annotations:member_remove", args=[study.slug, row.pk]), follow=True)
    shown = response.content.decode()
    assert "anna was removed and judges no more in now" in shown
    assert "Remove anna" not in shown
    assert list(is_open.annotators.all()) == [ben]
    assert list(closed.annotators.order_by("pk")) == [anna, ben]
    event = AuditEvent.objects.get(action="removed a member")
    assert (event.object_id, event.detail["user"], event.detail["campaigns"]) == (str(row.pk), anna.pk, [is_open.pk])

    client.force_login(anna)
    assert access.role_in(anna, study) is None
    home = client.get("/").content.decode()
    assert is_open.name not in home
    assert closed.name not in home
    for campaign in (is_open, closed):
        assert client.get(reverse("annotations:judge", args=[campaign.public_id])).status_code == 404
        assert client.get(reverse("annotations:history", args=[campaign.public_id])).status_code == 404
    answer = {"assignment": held.pk, "choice": "tie"}
    assert client.post(reverse("annotations:judge", args=[is_open.public_id]), answer).status_code == 404
    assert client.get(reverse("annotations:study", args=[study.slug])).status_code == 404


def test_being_named_in_a_campaign_is_not_enough_to_judge(client, study, anna):
    campaign = make_campaign(study, [anna])
    assignment = next_assignment(campaign, anna)
    Membership.objects.filter(study=study, user=anna).delete()
    client.force_login(anna)
    assert not access.campaigns_to_judge(anna).exists()
    address = reverse("annotations:judge", args=[campaign.public_id])
    assert client.get(address).status_code == 404
    assert client.post(address, {"assignment": assignment.pk, "choice": "tie"}).status_code == 404
    assert Assignment.objects.get().submitted_at is None


def test_a_site_admin_judges_without_a_membership(client, study, adam):
    campaign = make_campaign(study, [adam])
    Membership.objects.filter(user=adam).delete()
    client.force_login(adam)
    assert client.get(reverse("annotations:judge", args=[campaign.public_id])).status_code == 200


def test_what_a_removed_person_judged_stays_under_their_pseudonym_even_if_they_return(study, anna, lena):
    campaign = make_campaign(study, [anna])
    submit(next_assignment(campaign, anna), Answer("tie"), actor=anna)
    row = membership(study, anna)
    remove_member(row, actor=lena)
    assert {line["annotator"] for line in judgement_rows(study=study)} == {row.pseudonym}
    back = add_member(study=study, user=anna, role="annotator")
    assert (back.pseudonym, access.role_in(anna, study)) == (row.pseudonym, "annotator")


def test_a_removed_person_returns_with_the_role_of_a_new_invitation(study, anna, lena):
    remove_member(membership(study, anna), actor=lena)
    invitation, _ = invite(study=study, role="viewer", email="", actor=lena)
    assert accept(invitation=invitation, user=anna).role == "viewer"


def test_the_last_lead_stays_and_one_of_two_may_go(lead, study, lena, chidi):
    with pytest.raises(UserError, match="only lead"):
        remove_member(membership(study, lena), actor=lena)
    assert access.role_in(lena, study) == "lead"
    join(study, chidi, "lead")
    address = reverse("annotations:member_remove", args=[study.slug, membership(study, lena).pk])
    assert lead.post(address).url == "/"
    assert access.role_in(lena, study) is None
    with pytest.raises(UserError, match="only lead"):
        remove_member(membership(study, chidi), actor=chidi)


def test_nobody_is_removed_twice(study, anna, lena):
    row = membership(study, anna)
    remove_member(membership(study, anna), actor=lena)
    with pytest.raises(UserError, match="removed already"):
        remove_member(row, actor=lena)


def test_only_leads_remove_and_withdraw_and_only_in_their_study(client, study, anna, lena, chidi):
    invitation, _ = invite(study=study, role="viewer", email="", actor=lena)
    addresses = [
        reverse("annotations:member_remove", args=[study.slug, membership(study, anna).pk]),
        reverse("annotations:invitation_withdraw", args=[study.slug, invitation.pk]),
    ]
    vera = make_user("vera")
    join(study, vera, "viewer")
    for person, status in [(chidi, 404), (anna, 403), (vera, 403)]:
        client.force_login(person)
        assert {client.post(address).status_code for address in addresses} == {status}
    other = make_study()
    join(other, lena, "lead")
    client.force_login(lena)
    assert {client.post(a.replace(study.slug, other.slug)).status_code for a in addresses} == {404}
    assert {client.get(address).status_code for address in addresses} == {405}
    assert access.role_in(anna, study) == "annotator"
    assert Invitation.objects.filter(pk=invitation.pk).exists()


def test_a_withdrawn_invitation_lets_nobody_in(lead, study, lena, chidi):
    invitation, token = invite(study=study, role="annotator", email="", actor=lena)
    address = reverse("annotations:invitation_withdraw", args=[study.slug, invitation.pk])
    assert address in lead.get(people_page(study)).content.decode()
    shown = lead.post(address, follow=True).content.decode()
    assert "was withdrawn" in shown
    assert address not in shown
    with pytest.raises(UserError, match="was withdrawn"):
        open_invitation(token)
    with pytest.raises(UserError, match="withdrawn a moment ago"):
        accept(invitation=invitation, user=chidi)
    assert access.role_in(chidi, study) is None
    assert AuditEvent.objects.filter(actor=lena, action="withdrew an invitation", object_id=invitation.pk).exists()


def test_an_invitation_that_was_used_is_not_withdrawn(study, lena, chidi):
    invitation, _ = invite(study=study, role="annotator", email="", actor=lena)
    accept(invitation=invitation, user=chidi)
    with pytest.raises(UserError, match="used already"):
        withdraw_invitation(invitation, actor=lena)
    assert not AuditEvent.objects.filter(action="withdrew an invitation").exists()


@pytest.mark.parametrize(
    ("has", "invited", "gets"),
    [("viewer", "annotator", "viewer"), ("lead", "viewer", "lead"), ("annotator", "viewer", "viewer")],
)
def test_an_invitation_never_takes_anybody_down(study, lena, chidi, has, invited, gets):
    join(study, chidi, has)
    invitation, _ = invite(study=study, role=invited, email="", actor=lena)
    assert accept(invitation=invitation, user=chidi).role == gets


@pytest.mark.parametrize("backend", ["smtp", "refusing"])
def test_a_mail_that_cannot_be_sent_leaves_the_link_and_says_so(lead, study, settings, backend):
    settings.EMAIL_BACKEND = {
        "smtp": "django.core.mail.backends.smtp.EmailBackend",
        "refusing": "tests.test_people.RefusingBackend",
    }[backend]
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1  # nobody listens there
    shown = lead.post(people_page(study), {"role": "viewer", "email": "v@example.org"}).content.decode()
    assert "The mail to v@example.org could not be sent" in shown
    assert "was sent to" not in shown
    link = re.search(r'id="invitation-link">http://[^/]+/invitation/([^<]+)/<', shown)
    assert link
    assert open_invitation(link[1]).expires_at > timezone.now() + timedelta(days=13)


class RefusingBackend(BaseEmailBackend):
    """A mail server that answers, and refuses."""

    def send_messages(self, email_messages):
        import smtplib

        raise smtplib.SMTPRecipientsRefused({"v@example.org": (550, b"no such user")})


@pytest.mark.parametrize(("page", "who"), [("people", "the study&#x27;s leads."), ("cases", "leads and viewers.")])
def test_a_page_that_is_closed_says_whose_it_is(client, study, anna, page, who):
    client.force_login(anna)
    response = client.get(reverse(f"annotations:{page}", args=[study.slug]))
    assert response.status_code == 403
    assert who in response.content.decode()


def test_a_person_who_was_removed_is_not_offered_for_a_campaign(lena, anna):
    study = make_study()
    join(study, lena, "lead")
    membership = join(study, anna, "annotator")
    remove_member(membership, actor=lena)
    assert anna not in PlanForm(study=study).fields["annotators"].queryset
    with pytest.raises(UserError, match="not members"):
        plan_campaign(study=study, kind="comparison", name="new", models=[make_model()], annotators=[anna], overlap=1)


def test_a_lead_notes_what_somebody_is_a_specialist_in(lead, study, anna, lena):
    membership = study.memberships.get(user=anna)
    url = reverse("annotations:member_specialty", args=[study.slug, membership.pk])
    text = lead.post(url, {"specialty": " Cardiology,, nephrology , Cardiology"}, follow=True).content.decode()
    membership.refresh_from_db()
    assert membership.specialty == "Cardiology, nephrology"
    assert membership.specialties == {"cardiology", "nephrology"}
    assert 'value="Cardiology, nephrology"' in text
    assert lead.post(url, {"specialty": "x" * 81}).status_code == 400
    assert AuditEvent.objects.get(action="noted specialties").actor == lena


def test_only_a_lead_notes_specialties(client, study, anna):
    membership = study.memberships.get(user=anna)
    client.force_login(anna)
    url = reverse("annotations:member_specialty", args=[study.slug, membership.pk])
    assert client.post(url, {"specialty": "everything"}).status_code == 403
