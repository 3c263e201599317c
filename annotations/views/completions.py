"""Completions of a study: generating them in a worker, watching that, and importing what was written elsewhere."""

from django.contrib import messages
from django.db.models import Count
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.errors import UserError
from accounts.http import HttpRequest
from annotations import access
from annotations.forms_data import CompletionImportForm, GenerationForm, show
from annotations.generation.queue import QUEUE, cases_of, queue_generation, request_stop, retry
from annotations.generation.sampling import complete_sampling
from annotations.importing import import_completions
from annotations.models import Generation, Model, Status, Study, Worker
from annotations.models.membership import Role

SHOWN = 30


@require_http_methods(["GET", "POST"])
def generations(request: HttpRequest, slug: str) -> HttpResponse:
    """The jobs of a study, and a form for a new one. What htmx asks for again and again is the list alone."""
    study = access.study_for(request.user, slug, Role.LEAD if request.method == "POST" else Role.VIEWER)
    form = GenerationForm(request.POST or None, initial=complete_sampling(study, None).as_dict() | {"n": 1})
    if request.method == "POST" and form.is_valid():
        try:
            row = queue_generation(study=study, actor=request.user, **form.chosen())
        except UserError as error:
            show(form, error)
        else:
            return redirect("annotations:generation", slug=slug, pk=row.pk)
    rows = study.generations.select_related("model").annotate(written=Count("completions")).order_by("-pk")[:SHOWN]
    context = {
        "study": study,
        "tab": "completions",
        "form": form,
        "rows": rows,
        "is_active": any(row.is_active for row in rows),
        "imported": _imported(study),
        "worker_alive": Worker.alive(QUEUE),
        "is_lead": access.role_in(request.user, study) == Role.LEAD,
    }
    template = "annotations/_generations.html" if request.htmx else "annotations/generations.html"
    return render(request, template, context)


def _imported(study: Study) -> list[tuple[str, int]]:
    rows = Model.objects.filter(kind=Model.Kind.IMPORTED, completions__case__study=study)
    return list(rows.annotate(n=Count("completions")).order_by("name").values_list("name", "n"))


@require_GET
def generation(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    study = access.study_for(request.user, slug)
    row = access.generation_for(request.user, study, pk)
    written = row.completions.count()
    total = cases_of(row).count() * row.n
    skipped = sum(len(names) for names in row.skipped.values()) * row.n
    context = {
        "study": study,
        "tab": "completions",
        "row": row,
        "total": total,
        "written": written,
        "done": total if row.status == Status.SUCCEEDED else written + skipped,
        "already": total - written - skipped if row.status == Status.SUCCEEDED else 0,
        "can_retry": row.status in (Status.FAILED, Status.INTERRUPTED),
        "history": row.history(),
        "worker_alive": Worker.alive(QUEUE),
        "is_lead": access.role_in(request.user, study) == Role.LEAD,
    }
    template = "annotations/_generation_live.html" if request.htmx else "annotations/generation.html"
    return render(request, template, context)


@require_POST
def generation_stop(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    return _back_to(request_stop(_for_lead(request, slug, pk), request.user))


@require_POST
def generation_retry(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    return _back_to(retry(_for_lead(request, slug, pk), request.user))


def _for_lead(request: HttpRequest, slug: str, pk: int) -> Generation:
    return access.generation_for(request.user, access.study_for(request.user, slug, Role.LEAD), pk)


def _back_to(row: Generation) -> HttpResponse:
    return redirect("annotations:generation", slug=row.study.slug, pk=row.pk)


@require_http_methods(["GET", "POST"])
def completion_import(request: HttpRequest, slug: str) -> HttpResponse:
    study = access.study_for(request.user, slug, Role.LEAD)
    form = CompletionImportForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        try:
            result = import_completions(
                study=study,
                path_or_file=data["file"].file,
                filename=data["file"].name,
                model_name=data["model_name"],
                mapping=data["mapping"],
                actor=request.user,
            )
        except UserError as error:
            show(form, error)
        else:
            counts = f"{result.imported} completions of {result.cases} cases imported for {result.model}"
            left = f"{result.empty} are empty, {result.unparsed} have no label that could be read"
            messages.success(request, " ".join([f"{counts}; {left}.", *result.notes]))
            return redirect("annotations:generations", slug=slug)
    return render(request, "annotations/completion_import.html", {"study": study, "tab": "completions", "form": form})
