"""An early look at the arms of an open campaign: explicit, with a reason, on record, and printed by every report."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from accounts.errors import UserError
from accounts.models import AuditEvent, User, audit
from annotations import access
from annotations.campaigning import all_in
from annotations.models import Campaign, Judgement, Membership, Study, Unblinding
from annotations.models.membership import Role

BY_COMMAND = "unblind by command"
ALL_IN = "every judgement is in"  # the reason of a command that needs none
MAX_REASON = 300


@dataclass(frozen=True)
class Look:
    """One look at an open campaign's arms, as reports print it: no user name."""

    who: str
    at: datetime
    reason: str

    def __str__(self) -> str:
        return f"by {self.who} on {self.at:%-d %B %Y}: {self.reason}"


@transaction.atomic
def unblind(campaign: Campaign, *, reason: str, actor: User) -> Unblinding:
    """Let a lead see an open campaign's results by arm from now on.

    Raises UserError without a reason, or where nothing is hidden; PermissionDenied for who leads nothing here, or still
    judges blind in the study. Whoever did it judges no more in the study's open campaigns (``require_blind``).
    """
    # Locked in this order, nobody is made an annotator of the study meanwhile, and the campaign doesn't close.
    Study.objects.select_for_update(no_key=True).get(pk=campaign.study_id)
    row = Campaign.objects.select_for_update(no_key=True).get(pk=campaign.pk)
    access.require_may_unblind(actor, row)
    if not hides_arms(row):
        raise UserError(f"“{row}” hides no arms{'' if row.is_open else ' any more: it is closed'}.")
    if not reason.strip():
        raise UserError("Say why the arms are looked at while the campaign is open; every report prints the reason.")
    made = Unblinding.objects.create(campaign=row, user=actor, reason=reason.strip()[:MAX_REASON])
    audit(actor, "unblind", row, reason=made.reason)
    return made


def by_command(campaigns: Iterable[Campaign], *, reason: str, what: str) -> None:
    """Put on record that a command shows the arms of open campaigns, to whoever may run commands on the server.

    Raises UserError where judgements are still to come and no reason is given; nothing is on record then. Where all of
    them are in, nobody is influenced any more, and that is the reason.
    """
    looked_at = [campaign for campaign in campaigns if hides_arms(campaign) and _is_judged(campaign)]
    early = [campaign for campaign in looked_at if not all_in(campaign)]
    if early and not reason.strip():
        raise UserError(
            f"{what} would show results by arm of {_count(len(early))} still being judged. Close it first, or give "
            "--unblind with the reason; the audit trail keeps it, and every report prints it.",
            [f"“{campaign}” is open, and judgements are still to come" for campaign in early],
        )
    with transaction.atomic():
        for campaign in looked_at:
            audit(None, BY_COMMAND, campaign, reason=reason.strip()[:MAX_REASON] or ALL_IN, what=what)


def _count(n: int) -> str:
    return "a campaign that is" if n == 1 else f"{n} campaigns that are"


def _is_judged(campaign: Campaign) -> bool:
    return Judgement.objects.filter(item__campaign=campaign).exists()


def hides_arms(campaign: Campaign) -> bool:
    """Whether there is anything to unblind: the campaign is open and shows outputs."""
    return campaign.is_open and campaign.kind != Campaign.Kind.LABEL


def hidden_from(user: User, campaigns: Iterable[Campaign]) -> list[Campaign]:
    """Of these campaigns, the open ones whose arms the person has not unblinded."""
    still_open = [campaign for campaign in campaigns if hides_arms(campaign)]
    seen = set(Unblinding.objects.filter(user=user, campaign__in=still_open).values_list("campaign_id", flat=True))
    return [campaign for campaign in still_open if campaign.pk not in seen]


def unblinded_people(study: Study, people: Sequence[User]) -> list[User]:
    """Who of them has looked at the arms of a campaign of the study that is still open."""
    seen = Unblinding.objects.filter(campaign__study=study, campaign__closed_at__isnull=True, user__in=people)
    found = set(seen.values_list("user_id", flat=True))
    return [person for person in people if person.pk in found]


def require_blind(study: Study, people: Sequence[User]) -> None:
    """Raise UserError where one of them can't judge blind in the study any more."""
    if found := unblinded_people(study, people):
        raise UserError(
            "These people have looked at the arms of a campaign that is still open, so they don't judge in this study "
            "until it is closed.",
            [person.username for person in found],
        )


def looks(campaigns: Sequence[Campaign]) -> dict[int, list[Look]]:
    """{campaign id: every look at its arms while it was open, the earliest first}, by role and pseudonym."""
    found: dict[int, list[Look]] = {campaign.pk: [] for campaign in campaigns}
    members = Membership.objects.filter(study__campaigns__in=campaigns)
    names = {(row.study_id, row.user_id): f"{row.role} {row.pseudonym}" for row in members}
    study_of = {campaign.pk: campaign.study_id for campaign in campaigns}
    for row in Unblinding.objects.filter(campaign__in=campaigns):
        who = names.get((study_of[row.campaign_id], row.user_id), "a site admin")
        found[row.campaign_id].append(Look(who, row.created_at, row.reason))
    commands = AuditEvent.objects.filter(
        action=BY_COMMAND, object_type=Campaign._meta.label_lower, object_id__in=[str(pk) for pk in found]
    )
    for event in commands.order_by("pk"):
        look = Look("a command on the server", event.at, event.detail["reason"])
        found[int(event.object_id)].append(look)
    return {pk: sorted(rows, key=lambda look: look.at) for pk, rows in found.items()}


def arms_shown(user: User, campaign: Campaign) -> bool:
    """Whether pages may tell this person the campaign's models: once it is closed, or the person has unblinded it."""
    if access.is_blinded(user, campaign.study):
        return False
    if not hides_arms(campaign):
        return True
    return access.role_in(user, campaign.study) == Role.LEAD and not hidden_from(user, [campaign])
