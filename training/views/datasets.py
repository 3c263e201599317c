"""Freezing a dataset, and what is in one."""

import itertools
import json
from typing import Any

from django.contrib import messages
from django.http import FileResponse, Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from accounts.errors import UserError
from accounts.http import HttpRequest
from accounts.models import audit
from annotations.models import Case
from annotations.models.membership import Role
from annotations.policy import REASONS
from training import access, snapshots
from training.forms import FreezeForm
from training.models import TrainingDataset

EXAMPLES = 5
LISTED = 200
DOWNLOADS = (*snapshots.FILES.values(), snapshots.MANIFEST)


@require_http_methods(["GET", "POST"])
def dataset_new(request: HttpRequest, slug: str) -> HttpResponse:
    study = access.study_for(request.user, slug, Role.LEAD)
    access.require_unblinded(request.user, study)  # why a case is dropped says how it was judged
    form = FreezeForm(request.POST or None, study=study)
    context: dict[str, Any] = {"study": study, "tab": "training", "form": form}
    if request.method == "POST" and form.is_valid():
        try:
            if "freeze" in request.POST:
                dataset = snapshots.freeze(**form.arguments(), actor=request.user)
                messages.success(request, f"Frozen as dataset {dataset.pk}. It will not change any more.")
                return redirect("training:dataset", study.slug, dataset.pk)
            context["preview"] = preview(form)
        except UserError as error:
            context["error"] = error
    return render(request, "training/dataset_new.html", context)


def preview(form: FreezeForm) -> dict[str, Any]:
    """What a freeze would keep and drop."""
    found = snapshots.collect(**form.arguments())
    return {
        "train": sum(row.split == Case.Split.TRAIN for row in found.rows),
        "validation": sum(row.split == Case.Split.VALIDATION for row in found.rows),
        "dropped": explained(found.dropped),
    }


def explained(dropped: dict[str, list[str]]) -> list[dict[str, Any]]:
    """Reasons in words, with how often and which cases; the commonest first."""
    rows: list[dict[str, Any]] = [
        {
            "reason": reason,
            "text": REASONS.get(reason, ""),
            "count": len(ids),
            "cases": sorted(set(ids))[:LISTED],
            "more": max(0, len(set(ids)) - LISTED),
        }
        for reason, ids in dropped.items()
    ]
    return sorted(rows, key=lambda row: (-row["count"], row["reason"]))


@require_GET
def dataset(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    study = access.study_for(request.user, slug)
    row = access.dataset_for(request.user, study, pk)
    access.require_unblinded(request.user, study)
    findings = snapshots.verify(row)
    manifest = {} if findings else snapshots.manifest_of(row)
    context = {
        "study": study,
        "tab": "training",
        "dataset": row,
        "findings": findings,
        "manifest": manifest,
        "dropped": explained({reason: entry["cases"] for reason, entry in manifest.get("dropped", {}).items()}),
        "examples": [] if findings else examples(row),
        "files": DOWNLOADS,
        "runs": row.runs.select_related("base"),
    }
    return render(request, "training/dataset.html", context)


def examples(row: TrainingDataset) -> list[dict[str, Any]]:
    with (row.path / snapshots.FILES[Case.Split.TRAIN]).open(encoding="utf-8") as lines:
        return [json.loads(line) for line in itertools.islice(lines, EXAMPLES)]


@require_GET
def dataset_file(request: HttpRequest, slug: str, pk: int, name: str) -> FileResponse:
    study = access.study_for(request.user, slug)
    row = access.dataset_for(request.user, study, pk)
    access.require_unblinded(request.user, study)
    if name not in DOWNLOADS or not (row.path / name).is_file():
        raise Http404
    audit(request.user, "download dataset", row, file=name)
    return FileResponse((row.path / name).open("rb"), as_attachment=True, filename=f"{row.directory}-{name}")
