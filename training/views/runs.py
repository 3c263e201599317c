"""Launching a run, watching it, ending it, and what it made."""

import math
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import FileResponse, Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.errors import UserError
from accounts.http import HttpRequest
from accounts.models import audit
from annotations.models import Model, Status, Study, Worker
from annotations.models.membership import Role
from training import access, charts, events, launch
from training.forms import HyperparameterForm, RunForm
from training.models import Run, TrainingDataset
from training.runs import QUEUE, request_stop

LOG_LINES = 60
ADAPTER_FILES = ("adapter_model.safetensors", "adapter_config.json")


@require_http_methods(["GET", "POST"])
def run_new(request: HttpRequest, slug: str) -> HttpResponse:
    study = access.study_for(request.user, slug, Role.LEAD)
    method = method_asked(request, study)
    form = RunForm(request.POST or None, study=study, method=method)
    hyperparameters = HyperparameterForm(request.POST or None, method=method)
    context: dict[str, Any] = {
        "study": study,
        "tab": "training",
        "method": method,
        "form": form,
        "settings": hyperparameters,
        "kind": launch.DATASET_KIND[Run.Method(method)],
        "has_dataset": launch.newest_dataset(study, method) is not None,
        "has_base": Model.objects.filter(kind=Model.Kind.BASE).exists(),
        "has_parent": launch.possible_parents(study).exists(),
        "worker_alive": Worker.alive(QUEUE),
    }
    if request.method == "POST" and form.is_valid() and hyperparameters.is_valid():
        try:
            arguments = form.cleaned_data | {"hyperparameters": hyperparameters.given(), "actor": request.user}
            run = launch.queue_run(study=study, method=method, **arguments)
            messages.success(request, f"The run {run} is queued.")
            return redirect("training:run", study.slug, run.pk)
        except UserError as error:
            context["error"] = error
    return render(request, "training/run_new.html", context)


def method_asked(request: HttpRequest, study: Study) -> str:
    """?method=sft|dpo; without, what comes next in the study: SFT, and DPO once an SFT run has succeeded."""
    asked = request.GET.get("method", "")
    if asked in Run.Method.values:
        return asked
    has_pairs = TrainingDataset.objects.filter(study=study, kind=TrainingDataset.Kind.PREFERENCE).exists()
    return Run.Method.DPO if has_pairs and launch.possible_parents(study).exists() else Run.Method.SFT


@require_GET
def run(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    study = access.study_for(request.user, slug)
    row = access.run_for(request.user, study, pk)
    context = live(row) | rights(request, study) | {"study": study, "tab": "training"}
    return render(request, "training/run.html", context)


@require_GET
def run_live(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """The part of the run page that changes; asked for every two seconds until the run has finished."""
    study = access.study_for(request.user, slug)
    row = access.run_for(request.user, study, pk)
    context = live(row) | rights(request, study) | {"study": study}
    return render(request, "training/_run_live.html", context)


def rights(request: HttpRequest, study: Study) -> dict[str, bool]:
    return {"is_lead": access.is_lead(request.user, study), "is_blinded": access.is_blinded(request.user, study)}


def live(row: Run) -> dict[str, Any]:
    """What the page shows of a run now."""
    story = events.read(row.path / "events.jsonl")
    place = Run.objects.filter(status=Status.QUEUED, pk__lt=row.pk).count() + 1 if row.status == Status.QUEUED else None
    return {
        "run": row,
        "story": story,
        "place": place,
        "no_worker": unattended(row) and not Worker.alive(QUEUE),
        "time_left": in_words(story.seconds_left) if row.status == Status.RUNNING else "",
        "charts": [(name, charts.CHARTS[name][0]) for name in charts.BY_METHOD[row.method]] if story.series else [],
        "log": "\n".join(reversed(story.log[-LOG_LINES:])),
        # A chart is fetched again when there is something new to see.
        "version": f"{len(story.log)}-{story.step}",
        "from_base": launch.FROM_BASE if row.method == Run.Method.DPO and row.parent_id is None else "",
        "result_rows": [(split, rows) for split, rows in (row.result or {}).get("rows", {}).items()],
        "files": ADAPTER_FILES if row.status == Status.SUCCEEDED else (),
    }


def unattended(row: Run) -> bool:
    """Whether a worker is needed: the run waits, or nobody has followed it for a while."""
    since = timezone.now() - timedelta(seconds=settings.WORKER_ALIVE_SECONDS)
    return row.status == Status.QUEUED or (row.is_active and row.heartbeat_at is not None and row.heartbeat_at < since)


def in_words(seconds: float | None) -> str:
    """A duration as one says it; empty where it isn't known."""
    if seconds is None:
        return ""
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    minutes = math.ceil(seconds / 60)
    return f"about {minutes} min" if minutes < 120 else f"about {round(minutes / 60)} h"


@require_GET
def run_chart(request: HttpRequest, slug: str, pk: int, chart: str) -> HttpResponse:
    study = access.study_for(request.user, slug)
    row = access.run_for(request.user, study, pk)
    if chart not in charts.BY_METHOD[row.method]:
        raise Http404
    story = events.read(row.path / "events.jsonl")
    return HttpResponse(charts.draw(chart, story.series), content_type="image/svg+xml")


@require_POST
def run_stop(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    study = access.study_for(request.user, slug, Role.LEAD)
    row = access.run_for(request.user, study, pk)
    request_stop(run=row, keep="keep" in request.POST, actor=request.user)
    messages.info(request, f"{row} is {row.status}.")
    return redirect("training:run", study.slug, row.pk)


@require_POST
def run_resume(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    study = access.study_for(request.user, slug, Role.LEAD)
    row = launch.resume(run=access.run_for(request.user, study, pk), actor=request.user)
    messages.success(request, f"{row} is queued again. It goes on from its newest complete checkpoint.")
    return redirect("training:run", study.slug, row.pk)


@require_GET
def run_file(request: HttpRequest, slug: str, pk: int, name: str) -> FileResponse:
    study = access.study_for(request.user, slug, Role.LEAD)
    row = access.run_for(request.user, study, pk)
    path = row.path / "adapter" / name
    if name not in ADAPTER_FILES or row.status != Status.SUCCEEDED or not path.is_file():
        raise Http404
    audit(request.user, "download adapter", row, file=name)
    return FileResponse(path.open("rb"), as_attachment=True, filename=name)
