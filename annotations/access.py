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
from annotations.models import Assignment, Campaign, Case, Generation, Membership, Study
from annotations.models.membership import Role

RANK = {Role.ANNOTATOR: 0, Role.VIEWER: 1, Role.LEAD: 2}


def role_in(user: User, study: Study) -> Role | None:
    """The person's role, or None for a stranger; a site admin counts as a lead."""
    if user.is_superuser:
        return Role.LEAD
    membership = Membership.objects.filter(study=study, user=user).first()
    return Role(membership.role) if membership else None


def studies_for(user: User) -> QuerySet[Study]:
    """Studies the person is a member of (all of them for a site admin)."""
    return Study.objects.all() if user.is_superuser else Study.objects.filter(memberships__user=user)


def studies_to_open(user: User) -> QuerySet[Study]:
    """Studies whose pages the person may open: as lead or viewer, or as site admin."""
    if user.is_superuser:
        return Study.objects.all()
    return Study.objects.filter(memberships__user=user, memberships__role__in=[Role.LEAD, Role.VIEWER])


def study_for(user: User, slug: str, need: Role = Role.VIEWER) -> Study:
    """The study, for a person whose role is at least ``need``. Annotators reach it only through their campaigns."""
    study = get_object_or_404(Study, slug=slug)
    role = role_in(user, study)
    if role is None:
        raise Http404
    if RANK[role] < RANK[need]:
        raise PermissionDenied(f"This page is for people with the role {need.label.lower()} in this study.")
    return study


def require_admin(user: User) -> None:
    """Raises PermissionDenied unless the person is a site admin."""
    if not user.is_superuser:
        raise PermissionDenied("This page is for site admins.")


def open_campaigns_judged_by(user: User, study: Study) -> QuerySet[Campaign]:
    """The open campaigns of a study in which the person is an annotator."""
    return study.campaigns.filter(annotators=user, closed_at__isnull=True)


def require_unblinded(user: User, study: Study) -> None:
    """Raises PermissionDenied while the person judges an open campaign of the study: arms stay hidden (C6)."""
    names = ", ".join(open_campaigns_judged_by(user, study).values_list("name", flat=True))
    if names:
        raise PermissionDenied(
            f"You are an annotator in an open campaign of this study ({names}), so which model wrote what "
            "stays hidden from you until it is closed."
        )


def campaigns_to_judge(user: User) -> QuerySet[Campaign]:
    """Every campaign the person judges in, open ones first."""
    return Campaign.objects.filter(annotators=user).select_related("study").order_by("closed_at", "pk")


def campaign_to_judge(user: User, public_id: uuid.UUID) -> Campaign:
    """A campaign the person is an annotator of, by its opaque id."""
    return get_object_or_404(Campaign.objects.select_related("study"), public_id=public_id, annotators=user)


def campaign_for(user: User, study: Study, public_id: uuid.UUID) -> Campaign:
    """A campaign of a study the person already has."""
    return get_object_or_404(Campaign, study=study, public_id=public_id)


def assignment_for(user: User, pk: uuid.UUID) -> Assignment:
    """The person's own assignment; anybody else's does not exist."""
    return get_object_or_404(
        Assignment.objects.select_related(
            "item__campaign__study", "item__case", "item__completion_a", "item__completion_b"
        ),
        pk=pk,
        annotator=user,
    )


def assignment_to_judge(user: User, public_id: uuid.UUID, pk: str) -> Assignment:
    """The person's own assignment in a campaign they are (still) an annotator of, by the id a form sent."""
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
        item__campaign__annotators=user,
    )


def case_for(user: User, study: Study, pk: int) -> Case:
    return get_object_or_404(Case, study=study, pk=pk)


def generation_for(user: User, study: Study, pk: int) -> Generation:
    return get_object_or_404(Generation.objects.select_related("model"), study=study, pk=pk)
