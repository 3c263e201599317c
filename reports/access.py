"""Who may see results: members from viewer up, and nobody who still judges blind in the study (C6)."""

from django.shortcuts import get_object_or_404

from accounts.models import User
from annotations import access
from annotations.models import Study
from annotations.models.membership import Role
from reports.models import Evaluation, Report


def results_study(user: User, slug: str, need: Role = Role.VIEWER) -> Study:
    """The study, for a person whose role is at least ``need`` and who is not an annotator of an open campaign."""
    study = access.study_for(user, slug, need)
    access.require_unblinded(user, study)
    return study


def may_lead(user: User, study: Study) -> bool:
    """Whether to show what only leads can do."""
    return access.role_in(user, study) == Role.LEAD


def evaluation_for(user: User, study: Study, pk: int) -> Evaluation:
    """An evaluation of a study the person already has from ``results_study``."""
    return get_object_or_404(Evaluation, study=study, pk=pk)


def report_for(user: User, study: Study, pk: int) -> Report:
    """A report of a study the person already has from ``results_study``."""
    return get_object_or_404(Report, study=study, pk=pk)
