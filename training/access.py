"""May this person have this dataset or run? Above annotations.access; the only place in this room that asks."""

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404

from accounts.models import User
from annotations.access import is_blinded, require_unblinded, role_in, study_for
from annotations.models import Study
from annotations.models.membership import Role
from training.models import Run, TrainingDataset

__all__ = ["dataset_for", "is_blinded", "is_lead", "require_unblinded", "run_for", "runs_in", "study_for"]


def is_lead(user: User, study: Study) -> bool:
    """Whether the person may freeze, launch, stop and download adapters (leads and site admins)."""
    return role_in(user, study) == Role.LEAD


def dataset_for(user: User, study: Study, pk: int) -> TrainingDataset:
    """A dataset of a study the person already has."""
    return get_object_or_404(TrainingDataset, study=study, pk=pk)


def runs_in(study: Study) -> QuerySet[Run]:
    return Run.objects.filter(study=study).select_related("base", "dataset", "parent", "model")


def run_for(user: User, study: Study, pk: int) -> Run:
    """A run of a study the person already has."""
    return get_object_or_404(runs_in(study), pk=pk)
