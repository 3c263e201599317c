"""May this person have this object? The only place that asks.

Strangers get 404: that an object exists is nobody's business. A member whose role is too low gets 403.
Site admins (``is_superuser``) have the rights of a lead everywhere, and are blinded like anybody else where they judge.
"""

import uuid

from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404
from django.shortcuts import get_object_or_404

from accounts.models import User
from annotations.models import (
    Assignment,
    Campaign,
    Case,
    Generation,
    HarmReport,
    Invitation,
    Item,
    Membership,
    Study,
)
from annotations.models.membership import Role

RANK = {Role.ANNOTATOR: 0, Role.VIEWER: 1, Role.LEAD: 2}
# What a membership says whose person was removed. It gives no right at all, so it is no role that could be chosen; the
# row stays because the person's judgements go on under its pseudonym.
FORMER = "former"


def role_in(user: User, study: Study) -> Role | None:
    """The person's role, or None for a stranger; a site admin counts as a lead."""
    if user.is_superuser:
        return Role.LEAD
    membership = members(study).filter(user=user).first()
    return Role(membership.role) if membership else None


def members(study: Study) -> QuerySet[Membership]:
    """Who takes part in the study now, whatever their role."""
    return study.memberships.exclude(role=FORMER)


def studies_for(user: User) -> QuerySet[Study]:
    """Studies the person is a member of (all of them for a site admin)."""
    if user.is_superuser:
        return Study.objects.all()
    return Study.objects.filter(memberships__user=user, memberships__role__in=Role.values)


def studies_to_open(user: User) -> QuerySet[Study]:
    """Studies whose pages the person may open: as lead or viewer, or as site admin."""
    if user.is_superuser:
        return Study.objects.all()
    return Study.objects.filter(memberships__user=user, memberships__role__in=[Role.LEAD, Role.VIEWER])


def studies_led_by(user: User) -> QuerySet[Study]:
    """Studies whose lead the person is (all of them for a site admin)."""
    if user.is_superuser:
        return Study.objects.all()
    return Study.objects.filter(memberships__user=user, memberships__role=Role.LEAD)


def study_for(user: User, slug: str, need: Role = Role.VIEWER) -> Study:
    """The study, for a person whose role is at least ``need``. Annotators reach it only through their campaigns."""
    study = get_object_or_404(Study, slug=slug)
    role = role_in(user, study)
    if role is None:
        raise Http404
    if RANK[role] < RANK[need]:
        raise PermissionDenied(f"This page is for the study's {'leads' if need == Role.LEAD else 'leads and viewers'}.")
    return study


def require_admin(user: User) -> None:
    """Raises PermissionDenied unless the person is a site admin."""
    if not user.is_superuser:
        raise PermissionDenied("This page is for site admins.")


def open_campaigns_judged_by(user: User, study: Study) -> QuerySet[Campaign]:
    """The open campaigns of a study in which the person is an annotator."""
    return study.campaigns.filter(annotators=user, closed_at__isnull=True)


def is_blinded(user: User, study: Study) -> bool:
    """Whether ``require_unblinded`` would refuse."""
    return open_campaigns_judged_by(user, study).exists()


def require_unblinded(user: User, study: Study) -> None:
    """Raises PermissionDenied while the person judges an open campaign of the study: arms stay hidden (C6)."""
    names = ", ".join(open_campaigns_judged_by(user, study).values_list("name", flat=True))
    if names:
        raise PermissionDenied(
            f"You are an annotator in an open campaign of this study ({names}), so which model wrote what "
            "stays hidden from you until it is closed."
        )


def require_adjudicator(user: User, campaign: Campaign) -> None:
    """Raises PermissionDenied unless the person leads the study and has judged nothing in the campaign.

    Who judges in another open campaign of the study is refused too: they would read others' answers (C6).
    """
    if role_in(user, campaign.study) != Role.LEAD:
        raise PermissionDenied("What annotators leave open is decided by the study's leads.")
    took_part = Assignment.objects.filter(item__campaign=campaign, annotator=user)
    if campaign.participations.filter(user=user).exists() or took_part.exists():
        raise PermissionDenied("You are an annotator of this campaign, so another lead decides what it leaves open.")
    if campaign.unblindings.filter(user=user).exists():
        raise PermissionDenied(
            "You have looked at this campaign's arms, so another lead decides, blind, what it leaves open."
        )
    require_unblinded(user, campaign.study)


def may_adjudicate(user: User, campaign: Campaign) -> bool:
    """Whether ``require_adjudicator`` would let the person."""
    try:
        require_adjudicator(user, campaign)
    except PermissionDenied:
        return False
    return True


def require_may_unblind(user: User, campaign: Campaign) -> None:
    """Raises PermissionDenied for whoever may not look at an open campaign's arms, whatever the reason."""
    if role_in(user, campaign.study) != Role.LEAD:
        raise PermissionDenied("While a campaign is open, only the study's leads may look at its arms.")
    require_unblinded(user, campaign.study)


def campaigns_to_judge(user: User) -> QuerySet[Campaign]:
    """Every campaign the person judges in, open ones first; none of a study they were removed from."""
    judged = Campaign.objects.filter(annotators=user, study__in=studies_for(user))
    return judged.select_related("study").order_by("closed_at", "pk")


def campaign_to_judge(user: User, public_id: uuid.UUID) -> Campaign:
    """A campaign the person is an annotator of, in a study they (still) belong to, by its opaque id."""
    return get_object_or_404(campaigns_to_judge(user), public_id=public_id)


def campaign_for(user: User, study: Study, public_id: uuid.UUID) -> Campaign:
    """A campaign of a study the person already has."""
    return get_object_or_404(Campaign, study=study, public_id=public_id)


def item_for(user: User, campaign: Campaign, position: int) -> Item:
    """An item of a campaign the person already has, by its place in it."""
    rows = campaign.items.select_related("case", "completion_a", "completion_b", "campaign__study")
    return get_object_or_404(rows, position=position)


def given_item_for(user: User, campaign: Campaign, pk: str) -> Assignment:
    """What an annotator of a campaign the person already has was given, by the id a form sent."""
    try:
        key = uuid.UUID(pk)
    except ValueError:
        raise Http404 from None
    rows = Assignment.objects.select_related("item__campaign", "annotator")
    return get_object_or_404(rows, pk=key, item__campaign=campaign)


def person_for(user: User, study: Study, pk: str) -> User:
    """Somebody who is or was a member of a study the person leads, by the id a form sent."""
    if not (pk.isascii() and pk.isdigit()):
        raise Http404
    return get_object_or_404(User.objects.filter(memberships__study=study), pk=int(pk))


def assignment_to_judge(user: User, public_id: uuid.UUID, pk: str) -> Assignment:
    """The person's own assignment in a campaign they (still) judge, by the id a form sent."""
    try:
        key = uuid.UUID(pk)
    except ValueError:
        raise Http404 from None
    return get_object_or_404(
        Assignment.objects.select_related(
            "item__campaign__study", "item__case", "item__completion_a", "item__completion_b"
        ),
        pk=key,
        annotator=user,
        item__campaign__public_id=public_id,
        item__campaign__in=campaigns_to_judge(user),
    )


def membership_for(user: User, study: Study, pk: int) -> Membership:
    """A membership of a study the person leads."""
    return get_object_or_404(members(study).select_related("user"), pk=pk)


def invitation_for(user: User, study: Study, pk: int) -> Invitation:
    """An invitation to a study the person leads."""
    return get_object_or_404(Invitation, study=study, pk=pk)


def harm_report_for(user: User, study: Study, pk: uuid.UUID) -> HarmReport:
    """A harm report of a study the person leads."""
    rows = HarmReport.objects.select_related("assignment__item__campaign")
    return get_object_or_404(rows, assignment__item__campaign__study=study, pk=pk)


def case_for(user: User, study: Study, pk: int) -> Case:
    return get_object_or_404(Case, study=study, pk=pk)


def generation_for(user: User, study: Study, pk: int) -> Generation:
    return get_object_or_404(Generation.objects.select_related("model"), study=study, pk=pk)
