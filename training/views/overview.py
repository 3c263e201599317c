"""The training room of a study: its datasets, its runs, the adapters they made."""

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from accounts.http import HttpRequest
from annotations.models import Status, Worker
from training import access
from training.models import TrainingDataset
from training.runs import QUEUE


@require_GET
def training(request: HttpRequest, slug: str) -> HttpResponse:
    study = access.study_for(request.user, slug)
    runs = list(access.runs_in(study))
    context = {
        "study": study,
        "tab": "training",
        "is_lead": access.is_lead(request.user, study),
        "is_blinded": access.is_blinded(request.user, study),
        "datasets": TrainingDataset.objects.filter(study=study).prefetch_related("campaigns").order_by("-pk"),
        "runs": runs,
        "adapters": [run for run in runs if run.status == Status.SUCCEEDED],
        "waiting": any(run.status == Status.QUEUED for run in runs) and not Worker.alive(QUEUE),
    }
    return render(request, "training/training.html", context)
