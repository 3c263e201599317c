"""People get in, stay in their place, and leave a trace."""

import os
import re
import sqlite3
import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
from django.core import mail
from django.db import IntegrityError, transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.forms import SignUpForm
from accounts.models import AuditEvent, User
from annotations.models import Invitation, Membership
from annotations.people import accept, add_member, invite, open_invitation
from tests.factories import PASSWORD, join, make_study, make_user

pytestmark = pytest.mark.django_db
SIGN_IN = "/accounts/sign-in/"


def sign_in(client: Client, username: str, password: str = PASSWORD):
    return client.post(SIGN_IN, {"username": username, "password": password})


def test_every_page_asks_for_sign_in(client):
    response = client.get("/")
    assert response.status_code == 302
    assert response.url.startswith(SIGN_IN)


def test_sign_in_and_out(client, anna):
    assert sign_in(client, "anna").url == "/"
    assert client.get("/").status_code == 200
    client.post("/accounts/sign-out/")
    assert client.get("/").status_code == 302


def test_sign_in_returns_to_where_one_was_but_to_no_other_host(client, anna):
    values = {"username": "anna", "password": PASSWORD}
    assert client.post(SIGN_IN, values | {"next": "/accounts/profile/"}).url == "/accounts/profile/"
    client.logout()
    assert client.post(SIGN_IN, values | {"next": "https://evil.example/"}).url == "/"


def test_guessing_a_password_is_slowed_down(client, anna):
    for _ in range(10):
        assert sign_in(client, "anna", "wrong").status_code == 200
    response = sign_in(client, "anna")
    assert response.status_code == 429
    assert "Wait ten minutes" in response.content.decode()
    assert "_auth_user_id" not in client.session


def test_failures_older_than_ten_minutes_are_forgotten(client, anna):
    from accounts.models import SignInFailure

    for _ in range(10):
        sign_in(client, "anna", "wrong")
    SignInFailure.objects.update(at=timezone.now() - timedelta(minutes=11))
    assert sign_in(client, "anna").status_code == 302


@pytest.mark.parametrize("spelling", ["ＡNNA", "Anna", " anna ", "ａnna"])
def test_no_spelling_of_a_name_gets_guesses_of_its_own(client, anna, spelling):
    for _ in range(10):
        sign_in(client, "anna", "wrong")
    assert sign_in(client, spelling).status_code == 429


def test_behind_a_proxy_one_person_does_not_lock_everybody_out(client, anna, settings):
    settings.BEHIND_TLS_PROXY = True
    for number in range(50):
        values = {"username": f"nobody-{number}", "password": "wrong"}
        client.post(SIGN_IN, values, headers={"x-forwarded-for": "10.0.0.1, 203.0.113.9"})
    values = {"username": "anna", "password": PASSWORD}
    refused = client.post(SIGN_IN, values, headers={"x-forwarded-for": "203.0.113.9"})
    assert refused.status_code == 429
    # The last entry is our proxy's; the first is whatever the client wrote.
    assert client.post(SIGN_IN, values, headers={"x-forwarded-for": "203.0.113.9, 198.51.100.7"}).status_code == 302


def test_a_name_with_a_nul_is_refused_not_a_crash(client, db):
    assert sign_in(client, "a\0").status_code == 200


def test_a_new_password_ends_the_pause(client, anna):
    for _ in range(10):
        sign_in(client, "anna", "wrong")
    client.post("/accounts/password/reset/", {"email": anna.email})
    link = re.search(r"https?://[^/]+(/accounts/password/reset/\S+)", mail.outbox[0].body)
    new = "a wholly new secret"
    page = client.get(link[1], follow=True)
    client.post(page.redirect_chain[-1][0], {"new_password1": new, "new_password2": new})
    assert sign_in(client, "anna", new).status_code == 302


def test_a_name_that_differs_in_case_only_is_refused(anna):
    form = SignUpForm(
        {"username": "Anna", "email": "x@example.org", "password1": "long secret 1", "password2": "long secret 1"}
    )
    assert "username" in form.errors
    with pytest.raises(IntegrityError), transaction.atomic():
        make_user("ANNA")


def test_a_session_that_is_used_is_renewed_and_reading_costs_no_write(client, anna, django_assert_num_queries):
    client.force_login(anna)
    client.get("/accounts/profile/")
    with django_assert_num_queries(2):  # session, user
        client.get("/accounts/profile/")
    session = client.session
    session["seen"] -= 301
    session.save()
    client.get("/accounts/profile/")
    assert client.session["seen"] >= session["seen"] + 301


def settings_with(**env: str) -> subprocess.CompletedProcess[str]:
    base = {"PATH": os.environ["PATH"], "DATA_DIR": tempfile.mkdtemp(), "SECRET_KEY": "x" * 50}
    code = "import medprefs.settings as s; print(s.EMAIL_BACKEND, s.SESSION_COOKIE_SECURE)"
    root = Path(__file__).resolve().parent.parent
    return subprocess.run([sys.executable, "-c", code], cwd=root, env=base | env, capture_output=True, text=True)


def test_without_a_mail_server_no_link_goes_to_the_log():
    assert "dummy.EmailBackend True" in settings_with(ALLOWED_HOSTS="clinic.example").stdout


def test_plain_http_is_refused_where_others_can_reach_the_server():
    assert "INSECURE_HTTP is set" in settings_with(ALLOWED_HOSTS="clinic.example", INSECURE_HTTP="1").stderr
    assert "False" in settings_with(ALLOWED_HOSTS="localhost", INSECURE_HTTP="1").stdout


def test_the_data_directory_is_closed_to_others():
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        assert settings_with(ALLOWED_HOSTS="localhost", DATA_DIR=folder).returncode == 0
        assert Path(folder).stat().st_mode & 0o077 == 0


def test_a_database_error_in_the_log_holds_no_words_of_the_database():
    from django.db import DataError

    from medprefs.logs import Formatter

    try:
        try:
            raise sqlite3.DataError("Failing row contains (Mrs Smith)")
        except sqlite3.DataError as error:
            raise DataError(*error.args) from error
    except DataError:
        text = Formatter().formatException(sys.exc_info())
    assert "Mrs Smith" not in text
    assert "DataError" in text


def test_password_reset_by_mail(client, anna):
    client.post("/accounts/password/reset/", {"email": anna.email})
    link = re.search(r"https?://[^/]+(/accounts/password/reset/\S+)", mail.outbox[0].body)
    assert link
    page = client.get(link[1], follow=True)
    new = "a wholly new secret"
    client.post(page.redirect_chain[-1][0], {"new_password1": new, "new_password2": new})
    assert sign_in(client, "anna", new).status_code == 302


def test_password_reset_does_not_tell_who_has_an_account(client):
    assert client.post("/accounts/password/reset/", {"email": "nobody@example.org"}).status_code == 302
    assert mail.outbox == []


def test_password_change_is_audited(client, anna):
    client.force_login(anna)
    new = "a wholly new secret"
    values = {"old_password": PASSWORD, "new_password1": new, "new_password2": new}
    assert client.post("/accounts/password/", values).status_code == 302
    assert AuditEvent.objects.filter(actor=anna, action="changed their password").count() == 1


def test_an_invitation_makes_an_account_and_a_membership_once(client, lena):
    study = make_study()
    join(study, lena, "lead")
    client.force_login(lena)
    page = client.post(reverse("annotations:people", args=[study.slug]), {"role": "annotator", "email": ""})
    link = re.search(r'id="invitation-link">http://[^/]+(/invitation/[^<]+)<', page.content.decode())
    assert link
    client.logout()
    values = {"username": "nora", "first_name": "", "last_name": "", "email": "n@example.org"}
    response = client.post(link[1], values | {"password1": "quite a long secret", "password2": "quite a long secret"})
    assert response.status_code == 302, response.content.decode()
    nora = User.objects.get(username="nora")
    assert Membership.objects.get(study=study, user=nora).role == "annotator"
    assert "_auth_user_id" in client.session
    again = client.get(link[1])
    assert again.status_code == 400
    assert "used already" in again.content.decode()


def test_an_invitation_is_mailed_where_an_address_is_given(client, lena):
    study = make_study()
    join(study, lena, "lead")
    client.force_login(lena)
    client.post(reverse("annotations:people", args=[study.slug]), {"role": "viewer", "email": "v@example.org"})
    assert "/invitation/" in mail.outbox[0].body


def test_the_token_itself_is_not_kept(lena):
    invitation, token = invite(study=make_study(), role="viewer", email="", actor=lena)
    assert token not in str(Invitation.objects.filter(pk=invitation.pk).values().get())


def test_an_old_invitation_is_refused_with_what_to_do(lena):
    invitation, token = invite(study=make_study(), role="viewer", email="", actor=lena)
    Invitation.objects.filter(pk=invitation.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    with pytest.raises(Exception, match="Ask the study lead for a new one"):
        open_invitation(token)


def test_an_invitation_never_takes_a_lead_down(lena):
    study = make_study()
    join(study, lena, "lead")
    invitation, _ = invite(study=study, role="annotator", email="", actor=lena)
    assert accept(invitation=invitation, user=lena).role == "lead"


def test_a_new_role_keeps_the_pseudonym(anna):
    study = make_study()
    first = add_member(study=study, user=anna, role="annotator")
    second = add_member(study=study, user=anna, role="viewer")
    assert (second.pk, second.pseudonym) == (first.pk, first.pseudonym)


@pytest.mark.parametrize(("role", "status"), [(None, 404), ("annotator", 403), ("viewer", 403), ("lead", 200)], ids=str)
def test_people_of_a_study_are_for_its_leads(client, role, status):
    study, user = make_study(), make_user("someone")
    if role:
        join(study, user, role)
    client.force_login(user)
    assert client.get(reverse("annotations:people", args=[study.slug])).status_code == status


def test_strict_headers_on_every_page(client, anna):
    client.force_login(anna)
    headers = client.get("/accounts/profile/").headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_no_template_holds_inline_script_or_style():
    from pathlib import Path

    inline = re.compile(
        r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\bsrc=)|(src|href)=[\"']https?:|hx-on", re.IGNORECASE
    )
    wrong = [
        f"{path}:{number}: {line.strip()}"
        for path in sorted(Path(__file__).resolve().parent.parent.glob("templates/**/*.html"))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if inline.search(line)
    ]
    assert not wrong, "\n".join(wrong)
