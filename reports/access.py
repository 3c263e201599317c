"""Who may see results: members from viewer up, and nobody who still judges blind in the study (C6).

Results by arm of a campaign that is open are for leads who have unblinded it, with a reason, and for nobody else.
"""

from collections.abc import Iterable, Sequence

from django.core.exceptions import PermissionDenied
from django.shortcuts import get_object_or_404

from accounts.models import User
from annotations import access, unblinding
from annotations.models import Campaign, Study
from annotations.models.membership import Role
from reports.models import Evaluation, Report


def results_study(user: User, slug: str, need: Role = Role.VIEWER) -> Study:
    """The study, for a person whose role is at least ``need`` and who is not an annotator of an open campaign."""
    study = access.study_for(user, slug, need)
    access.require_unblinded(user, study)
    return study


def shown_by_arm(evaluations: Iterable[Evaluation], campaigns: Sequence[Campaign]) -> list[Campaign]:
    """Of these campaigns, the open ones whose results a report on these evaluations shows by arm.

    A report without an evaluation is about agreement, pooled over arms.
    """
    still_open = [campaign.pk for campaign in campaigns if campaign.is_open]
    judged = Campaign.objects.filter(pk__in=still_open, items__completion_a__evaluations__in=list(evaluations))
    found = set(judged.values_list("pk", flat=True))
    return [campaign for campaign in campaigns if campaign.pk in found]


def hidden_by_arm(user: User, study: Study, campaigns: Sequence[Campaign]) -> list[Campaign]:
    """Of these campaigns, those that a lead must unblind before seeing their results by arm.

    Raises PermissionDenied where somebody else would see any: for viewers there is no early look.
    """
    hidden = unblinding.hidden_from(user, campaigns)
    if hidden and not may_lead(user, study):
        names = ", ".join(campaign.name for campaign in hidden)
        raise PermissionDenied(
            f"These are results by arm of a campaign that is still open ({names}). Wait for its end."
        )
    return hidden


def may_lead(user: User, study: Study) -> bool:
    """Whether to show what only leads can do."""
    return access.role_in(user, study) == Role.LEAD


def evaluation_for(user: User, study: Study, pk: int) -> Evaluation:
    """An evaluation of a study the person already has from ``results_study``."""
    return get_object_or_404(Evaluation, study=study, pk=pk)


def report_for(user: User, study: Study, pk: int) -> Report:
    """A report of a study the person already has from ``results_study``."""
    return get_object_or_404(Report, study=study, pk=pk)
