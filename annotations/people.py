"""Who takes part in a study: memberships and invitation links."""

import hashlib
import secrets
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from accounts.errors import UserError
from accounts.models import User, audit
from annotations.access import FORMER, RANK, members
from annotations.models import Campaign, Invitation, Membership, Study
from annotations.models.membership import Role

VALID_FOR = timedelta(days=14)


def add_member(*, study: Study, user: User, role: str, actor: User | None = None) -> Membership:
    """Give ``user`` a role in ``study``, or change the one they have. Their pseudonym never changes."""
    if role not in Role.values:
        raise UserError(f"There is no role “{role}”. Roles: {', '.join(Role.values)}.")
    with transaction.atomic():
        membership = Membership.objects.filter(study=study, user=user).first()
        if membership is None:
            membership = Membership(study=study, user=user, pseudonym=_new_pseudonym(study))
        membership.role = role
        membership.save()
        audit(actor, "gave a role", membership, study=study.slug, user=user.pk, role=role)
    return membership


def set_specialties(membership: Membership, text: str, *, actor: User | None) -> Membership:
    """Note what somebody is a specialist in, separated by commas: cases can be routed by it. Raises UserError."""
    tidy = ", ".join(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    longest = Membership._meta.get_field("specialty").max_length
    if longest and len(tidy) > longest:
        raise UserError(f"The specialties have {len(tidy)} characters, and {longest} are kept at most: shorten them.")
    membership.specialty = tidy
    with transaction.atomic():
        membership.save(update_fields=["specialty"])
        audit(actor, "noted specialties", membership, study=membership.study.slug, specialty=tidy)
    return membership


def remove_member(membership: Membership, *, actor: User | None) -> list[Campaign]:
    """Take every right in the study away, and the place in its open campaigns; returns those campaigns.

    What the person judged stays, under their pseudonym; closed campaigns still name them. Raises UserError for the
    study's last lead.
    """
    study, user = membership.study, membership.user
    with transaction.atomic():
        Study.objects.select_for_update().get(pk=study.pk)  # two leads might remove each other
        if membership.role == Role.LEAD and members(study).filter(role=Role.LEAD).count() == 1:
            raise UserError(f"{user} is the only lead of this study. Make somebody else a lead first.")
        if not members(study).filter(pk=membership.pk).update(role=FORMER):
            raise UserError(f"{user} was removed already.")
        campaigns = list(study.campaigns.filter(annotators=user, closed_at__isnull=True))
        for campaign in campaigns:
            campaign.annotators.remove(user)
        audit(
            actor,
            "removed a member",
            membership,
            study=study.slug,
            user=user.pk,
            role=membership.role,
            campaigns=[campaign.pk for campaign in campaigns],
        )
    return campaigns


def _new_pseudonym(study: Study) -> str:
    """Drawn at random, so that it says nothing about who joined when."""
    taken = set(study.memberships.values_list("pseudonym", flat=True))
    while (name := f"annotator-{secrets.token_hex(2)}") in taken:
        pass
    return name


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def invite(*, study: Study, role: str, email: str, actor: User) -> tuple[Invitation, str]:
    """Make an invitation; the token is returned once and kept only as a hash."""
    if role not in Role.values:
        raise UserError(f"There is no role “{role}”. Roles: {', '.join(Role.values)}.")
    token = secrets.token_urlsafe(24)
    invitation = Invitation.objects.create(
        study=study,
        role=role,
        email=email,
        token_sha256=_hash(token),
        created_by=actor,
        expires_at=timezone.now() + VALID_FOR,
    )
    audit(actor, "invited", invitation, study=study.slug, role=role)
    return invitation, token


def withdraw_invitation(invitation: Invitation, *, actor: User) -> None:
    """The link lets nobody in from now on. Raises UserError where it was used already."""
    with transaction.atomic():
        audit(actor, "withdrew an invitation", invitation, study=invitation.study.slug, role=invitation.role)
        deleted, _ = Invitation.objects.filter(pk=invitation.pk, accepted_at__isnull=True).delete()
        if not deleted:
            raise UserError("This invitation was used already. Remove the person instead.")


def open_invitation(token: str) -> Invitation:
    """The invitation a link leads to; UserError where it was used or is too old."""
    invitation = Invitation.objects.select_related("study").filter(token_sha256=_hash(token)).first()
    if invitation is None:
        raise UserError("This invitation link is not complete, or was withdrawn. Ask the study lead for a new one.")
    if invitation.accepted_at:
        raise UserError("This invitation was used already. Sign in with the account it was used for.")
    if invitation.expires_at < timezone.now():
        raise UserError("This invitation is older than 14 days. Ask the study lead for a new one.")
    return invitation


def accept(*, invitation: Invitation, user: User) -> Membership:
    """Use an invitation, once. A person who has a higher role already keeps it."""
    with transaction.atomic():
        taken = Invitation.objects.filter(pk=invitation.pk, accepted_at__isnull=True).update(
            accepted_at=timezone.now(), accepted_by=user
        )
        if not taken:
            raise UserError("This invitation was used or withdrawn a moment ago. Ask the study lead for a new one.")
        membership = members(invitation.study).filter(user=user).first()
        if membership and RANK[Role(membership.role)] >= RANK[Role(invitation.role)]:
            return membership
        return add_member(study=invitation.study, user=user, role=invitation.role, actor=user)
