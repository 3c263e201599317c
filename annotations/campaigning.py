"""The two states of a campaign: open and closed. Each change is guarded, stamped and in the audit trail."""

from django.db import transaction
from django.db.models import Count, F, Q
from django.utils import timezone

from accounts.errors import InvalidTransition, UserError
from accounts.models import User, audit
from annotations import places
from annotations.models import Assignment, Campaign
from annotations.models.membership import Role


@transaction.atomic
def close(campaign: Campaign, *, actor: User | None, reason: str = "") -> Campaign:
    """No more answers; its annotators may see which model wrote what from now on.

    The leases end, and the places they held go to surplus judgements. The update locks the row, as every submit does:
    what came before it counts, what comes after it is refused.
    """
    now = timezone.now()
    if not Campaign.objects.filter(pk=campaign.pk, closed_at__isnull=True).update(closed_at=now):
        raise InvalidTransition(f"“{campaign}” is closed already.")
    campaign.closed_at = now
    # Items before assignments, the order of every lock here.
    places.lock_items(campaign.items.all())
    Assignment.objects.filter(
        item__campaign=campaign, submitted_at__isnull=True, skipped_at__isnull=True, lease_expires_at__gt=now
    ).update(lease_expires_at=now)
    places.promote_surplus(campaign)
    audit(actor, "close campaign", campaign, **({"reason": reason.strip()} if reason.strip() else {}))
    return campaign


def all_in(campaign: Campaign) -> bool:
    """Whether every judgement that the campaign wants has been made."""
    counted = Q(judgements__surplus=False, judgements__assignment__submitted_at__isnull=False)
    return (
        not campaign.items.regular().annotate(n=Count("judgements", filter=counted)).filter(n__lt=F("overlap")).exists()
    )


@transaction.atomic
def reopen(campaign: Campaign, *, reason: str, actor: User | None) -> Campaign:
    """Take answers again; refused where an annotator may have looked at models and answers in between.

    When it happened and why is kept, and every report says so.
    """
    if not reason.strip():
        raise UserError("Say why the campaign is reopened; the reason is kept in the audit trail.")
    now = timezone.now()
    if not Campaign.objects.filter(pk=campaign.pk, closed_at__isnull=False).update(closed_at=None, reopened_at=now):
        raise InvalidTransition(f"“{campaign}” is open already.")
    if people := unblinded_by_closing(campaign):
        raise UserError(
            f"“{campaign}” can't be reopened: while it was closed, some of its annotators could see which model wrote "
            "what, and the answers of the others, so they would no longer judge blind. Plan a new campaign for what is "
            "left, with other annotators.",
            [f"{person.username}: reads this study's pages as lead, viewer or site admin" for person in people],
        )
    campaign.closed_at, campaign.reopened_at = None, now
    audit(actor, "reopen campaign", campaign, reason=reason.strip())
    return campaign


def unblinded_by_closing(campaign: Campaign) -> list[User]:
    """Annotators of the campaign who may open the study's pages, and so its models and answers once it is closed."""
    readers = Q(is_superuser=True) | Q(
        memberships__study=campaign.study_id, memberships__role__in=[Role.LEAD, Role.VIEWER]
    )
    return list(campaign.annotators.filter(readers).distinct().order_by("username"))
