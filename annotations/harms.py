"""Harm reports: what an annotator fears could hurt a patient, told to the leads at once, apart from the judgement."""

import logging
import re
import time
import uuid
from collections.abc import Iterable
from datetime import timedelta
from smtplib import SMTPException
from typing import Any

from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.db import transaction
from django.db.models import BooleanField, Count, ExpressionWrapper, F, Q, QuerySet
from django.urls import reverse
from django.utils import timezone

from accounts.errors import InvalidTransition, UserError
from accounts.models import User, audit
from annotations import access
from annotations.answers import output_of, side_of
from annotations.models import Assignment, Campaign, Completion, HarmReport, Study
from annotations.models.membership import Role

logger = logging.getLogger(__name__)

ABOUT_CASE = "case"
MAX_QUOTE, MAX_DESCRIPTION = 5_000, 10_000  # characters
# A mail that was not taken is tried again for this long, by each worker about this often.
GIVE_UP = timedelta(days=2)
TRY_AGAIN_AFTER = timedelta(minutes=1)  # the request that made the report tries first
TRY_EVERY_SECONDS = 120.0

# What a clinician sees is rendered Markdown: a passage that was selected there lacks its signs, and perhaps the numbers
# of a list.
_UNSEEN = (re.compile(r"[\s*_`#>~|\\-]"), re.compile(r"^\s*\d+[.)]\s|[\s*_`#>~|\\-]", re.MULTILINE))


# --- reporting


def problems(assignment: Assignment, *, about: str, severity: str, quote: str, description: str) -> dict[str, str]:
    """What is missing or wrong, by field; empty where the report is whole."""
    found: dict[str, str] = {}
    if about not in texts(assignment):
        found["about"] = "Say what it is about."
    if severity not in HarmReport.Severity.values:
        found["severity"] = "Say how bad it could be."
    if not description.strip():
        found["description"] = "Say what could happen to the patient."
    for name, text, most in (("quote", quote, MAX_QUOTE), ("description", description, MAX_DESCRIPTION)):
        if len(text) > most:
            found[name] = f"This has {len(text):,} characters, and {most:,} are kept at most: shorten it."
    if quote.strip() and not found.keys() & {"about", "quote"} and passage(texts(assignment)[about], quote) is None:
        found["quote"] = "This passage doesn't stand there. Copy it as it is, or leave it out."
    return found


def texts(assignment: Assignment) -> dict[str, str]:
    """{what a report can be about: its text}: the sides that were shown, and the case."""
    item = assignment.item
    said = [*item.case.inputs.values(), *item.case.reference.values()]
    shown = {side_of(name, assignment.a_is_left): output_of(item, name) for name in ("a", "b")}
    found = {side: output.text for side, output in sorted(shown.items()) if output is not None}
    return found | {ABOUT_CASE: "\n".join(map(str, said))}


def passage(text: str, quote: str) -> tuple[str, str, str] | None:
    """``text`` before, in and after the quote, whose white space and Markdown signs may differ; None: not there.

    >>> passage("Give **5 mg**\\ntwice.", "5 mg twice")
    ('Give **', '5 mg**\\ntwice', '.')
    >>> passage("Give 5 mg.", "50 mg") is None
    True
    """
    for unseen in _UNSEEN:
        wanted = "".join(quote[place] for place in _seen(quote, unseen))
        places = _seen(text, unseen)
        at = "".join(text[place] for place in places).find(wanted)
        if wanted and at >= 0:
            start, end = places[at], places[at + len(wanted) - 1] + 1
            return text[:start], text[start:end], text[end:]
    return None


def _seen(text: str, unseen: re.Pattern[str]) -> list[int]:
    """The places of the characters that are left when ``unseen`` is taken out."""
    gone = {place for match in unseen.finditer(text) for place in range(*match.span())}
    return [place for place in range(len(text)) if place not in gone]


def report_harm(
    *, id: uuid.UUID, assignment: Assignment, about: str, severity: str, quote: str, description: str, actor: User
) -> tuple[HarmReport, bool]:
    """Keep a report and mail the leads once it is committed: (the report, whether it is new).

    ``id`` is made by the page, so that a report sent twice is one; ``about`` is the side shown, or "case". A report
    may be made before and after the item is judged, and in a campaign that is closed.
    """
    given = {"about": about, "severity": severity, "quote": quote.strip(), "description": description.strip()}
    if found := problems(assignment, **given):
        raise UserError("The harm report is not complete.", [f"{name}: {what}" for name, what in found.items()])
    fields = {
        "assignment": assignment,
        "completion": _completion(assignment, about),
        "severity": severity,
        "quote": given["quote"],
        "description": given["description"],
        "reported_by": actor,
    }
    with transaction.atomic():
        report, created = HarmReport.objects.get_or_create(id=id, defaults=fields)
        if not created and any(getattr(report, name) != value for name, value in fields.items()):
            raise UserError(
                "A report was sent from this form already, with other words, and was kept. To add to it, load the page "
                "again and make another one."
            )
        if created:
            campaign = assignment.item.campaign
            audit(actor, "report harm", report, campaign=campaign.pk, severity=severity)
            # Outside the transaction: a mail server that is slow must hold no lock. robust: the report is kept and the
            # leads' page shows it, whatever the mail does.
            transaction.on_commit(lambda: mail([report]), robust=True)
    return report, created


def _completion(assignment: Assignment, about: str) -> Completion | None:
    for name in ("a", "b"):
        output = output_of(assignment.item, name)
        if output is not None and side_of(name, assignment.a_is_left) == about:
            return output
    return None


def of(annotator: User, campaign: Campaign) -> QuerySet[HarmReport]:
    """Somebody's own reports in a campaign, the newest first: the only ones an annotator sees."""
    return HarmReport.objects.filter(assignment__item__campaign=campaign, reported_by=annotator)


# --- telling the leads


def recipients(study: Study) -> list[str]:
    """Addresses of the study's leads, each once."""
    leads = access.members(study).filter(role=Role.LEAD, user__is_active=True).exclude(user__email="")
    return sorted(set(leads.values_list("user__email", flat=True)))


def mail(reports: Iterable[HarmReport]) -> int:
    """Mail the leads; returns how many mails were accepted. The rest stays unmailed, which the leads' page shows.

    Two workers may both send one mail: better twice than not at all.
    """
    messages = {report.pk: message for report in reports if (message := _message(report)).to}
    if not messages or not settings.EMAIL_CONFIGURED:
        return 0
    sent = 0
    try:
        with get_connection() as connection:
            for pk, message in messages.items():
                message.connection = connection
                if _taken(pk, message):
                    HarmReport.objects.filter(pk=pk, notified_at__isnull=True).update(notified_at=timezone.now())
                    sent += 1
    except OSError as error:
        logger.warning("harm reports could not be mailed, they are tried again: %s", type(error).__name__)
    return sent


def _taken(pk: uuid.UUID, message: EmailMessage) -> bool:
    """Whether the server took one mail. One that it refuses (an address, say) must not keep the others back."""
    try:
        return bool(message.send())
    except SMTPException as error:
        logger.warning("harm report %s could not be mailed, it is tried again: %s", pk, type(error).__name__)
        return False


def _message(report: HarmReport) -> EmailMessage:
    """Severity, study, campaign and a link, and nothing more.

    Mail is no safe place: it is stored on servers that nobody here knows, and read on telephones. So neither clinical
    text (the passage, the description) nor what would unblind a lead (the model) is in it.
    """
    campaign = report.assignment.item.campaign
    study = campaign.study
    severity = report.get_severity_display()
    link = f"{settings.SITE_URL}{reverse('annotations:harm', args=[study.slug])}#report-{report.pk}"
    return EmailMessage(
        f"Harm report ({report.severity.replace('_', '-')}): {' '.join(study.title.split())}",
        f"An annotator reports harm.\n\nSeverity: {severity}\nStudy: {study.title}\nCampaign: {campaign.name}\n\n"
        f"Read it and say what was done about it:\n{link}\n",
        to=recipients(study),
    )


def waiting() -> QuerySet[HarmReport]:
    """Reports whose mail is to be tried again."""
    now = timezone.now()
    rows = HarmReport.objects.filter(
        notified_at__isnull=True, created_at__gt=now - GIVE_UP, created_at__lt=now - TRY_AGAIN_AFTER
    )
    return rows.select_related("assignment__item__campaign__study").order_by("created_at")


_next_try = 0.0


def mail_waiting() -> int:
    """Called by every worker's sweep; tries at most once in ``TRY_EVERY_SECONDS``, so that no heartbeat waits long."""
    global _next_try  # each worker keeps its own time
    if time.monotonic() < _next_try:
        return 0
    rows = list(waiting())
    if rows:
        _next_try = time.monotonic() + TRY_EVERY_SECONDS
    return mail(rows) if rows else 0


def why_not_mailed(report: HarmReport) -> str:
    """For the leads' page; empty where a mail was accepted."""
    if report.notified_at is not None:
        return ""
    if not settings.EMAIL_CONFIGURED:
        return "this server sends no mail (EMAIL_URL is not set)"
    if not recipients(report.assignment.item.campaign.study):
        return "no lead of the study has an e-mail address"
    if timezone.now() - report.created_at > GIVE_UP:
        return "the mail server took none for two days, and it is tried no more"
    return "the mail server has not taken it yet, and it is tried again"


# --- the leads' side


def in_study(study: Study) -> QuerySet[HarmReport]:
    """Every report of a study: unacknowledged ones first, then the newest first."""
    rows = HarmReport.objects.filter(assignment__item__campaign__study=study)
    return rows.select_related(
        "assignment__item__campaign__study",
        "assignment__item__case",
        "completion__model",
        "reported_by",
        "acknowledged_by",
    ).order_by(ExpressionWrapper(Q(acknowledged_at__isnull=True), BooleanField()).desc(), "-created_at")


def open_count(study: Study) -> int:
    return HarmReport.objects.filter(assignment__item__campaign__study=study, acknowledged_at__isnull=True).count()


def open_for(user: User) -> list[dict[str, Any]]:
    """The studies that somebody leads and that have unacknowledged reports: slug, title and n."""
    rows = HarmReport.objects.filter(
        acknowledged_at__isnull=True, assignment__item__campaign__study__in=access.studies_led_by(user)
    )
    study = "assignment__item__campaign__study__"
    counted = rows.order_by().values(slug=F(f"{study}slug"), title=F(f"{study}title")).annotate(n=Count("pk"))
    return list(counted.order_by("slug"))


def acknowledge(report: HarmReport, *, resolution: str, actor: User) -> HarmReport:
    """A lead says what was done about a report. Once: what is on record stays."""
    if not resolution.strip():
        raise UserError("Say what was done about the report; it is kept with it.")
    with transaction.atomic():
        done = HarmReport.objects.filter(pk=report.pk, acknowledged_at__isnull=True).update(
            acknowledged_at=timezone.now(), acknowledged_by=actor, resolution=resolution.strip()[:MAX_DESCRIPTION]
        )
        if not done:
            raise InvalidTransition("This report has been acknowledged already.")
        audit(actor, "acknowledge harm report", report, campaign=report.assignment.item.campaign_id)
    report.refresh_from_db()
    return report
