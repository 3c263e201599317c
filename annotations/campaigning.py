"""The two states of a campaign: open and closed. Each change is guarded, stamped and in the audit trail."""

from django.db import transaction
from django.utils import timezone

from accounts.errors import InvalidTransition, UserError
from accounts.models import User, audit
from annotations.models import Campaign


@transaction.atomic
def close(campaign: Campaign, *, actor: User | None) -> Campaign:
    """No more answers; its annotators may see which model wrote what from now on."""
    now = timezone.now()
    if not Campaign.objects.filter(pk=campaign.pk, closed_at__isnull=True).update(closed_at=now):
        raise InvalidTransition(f"“{campaign}” is closed already.")
    campaign.closed_at = now
    audit(actor, "close campaign", campaign)
    return campaign


@transaction.atomic
def reopen(campaign: Campaign, *, reason: str, actor: User | None) -> Campaign:
    """Take answers again. The reason is kept: people may have been unblinded in between."""
    if not reason.strip():
        raise UserError("Say why the campaign is reopened; the reason is kept in the audit trail.")
    if not Campaign.objects.filter(pk=campaign.pk, closed_at__isnull=False).update(closed_at=None):
        raise InvalidTransition(f"“{campaign}” is open already.")
    campaign.closed_at = None
    audit(actor, "reopen campaign", campaign, reason=reason.strip())
    return campaign
