"""Making reports, reading them, and taking their files away."""

from pathlib import Path

from django.http import FileResponse, Http404, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from accounts.errors import UserError
from accounts.http import HttpRequest
from annotations.models import Study
from annotations.models.membership import Role
from annotations.views.board import to_unblinding
from reports import access, build, exports
from reports.forms import ReportForm
from reports.models import Report
from reports.presentation import layout

# Opened by itself, a chart may style itself and do nothing else.
SVG_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox"


@require_http_methods(["GET", "POST"])
def report_new(request: HttpRequest, slug: str) -> HttpResponse:
    study = access.results_study(request.user, slug, Role.LEAD)
    form = ReportForm(study, request.POST if request.method == "POST" else None)
    details: list[str] = []
    if request.method == "POST" and form.is_valid():
        shown = access.shown_by_arm(form.cleaned_data["evaluations"], list(form.cleaned_data["campaigns"]))
        if hidden := access.hidden_by_arm(request.user, study, shown):
            return to_unblinding(hidden[0], onward=request.path)
        try:
            report = build.build(study=study, actor=request.user, **form.cleaned_data)
            return redirect("reports:report", study.slug, report.pk)
        except UserError as error:
            form.add_error(None, error.message)
            details = error.details
    context = {"study": study, "tab": "results", "form": form, "details": details}
    return render(request, "reports/report_new.html", context)


def _hidden(request: HttpRequest, study: Study, row: Report) -> HttpResponse | None:
    """The form to unblind with, where the report shows results by arm that the person may not see yet."""
    shown = access.shown_by_arm(row.evaluations.all(), list(row.campaigns.all()))
    hidden = access.hidden_by_arm(request.user, study, shown)
    return to_unblinding(hidden[0], onward=request.path) if hidden else None


@require_GET
def show(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    study = access.results_study(request.user, slug)
    row = access.report_for(request.user, study, pk)
    if elsewhere := _hidden(request, study, row):
        return elsewhere
    context = {
        **layout(exports.document(row)),
        "study": study,
        "tab": "results",
        "row": row,
        "tables": [name for name in exports.file_names(row) if name.endswith(".csv")],
        "files": "files/",
    }
    return render(request, "reports/report.html", context)


@require_GET
def report_file(request: HttpRequest, slug: str, pk: int, name: str) -> HttpResponseBase:
    """One file of a report. Only names that the report's own directory lists are opened."""
    study = access.results_study(request.user, slug)
    row = access.report_for(request.user, study, pk)
    if elsewhere := _hidden(request, study, row):
        return elsewhere
    if name not in exports.file_names(row):
        raise Http404
    suffix = Path(name).suffix
    response = FileResponse(
        (row.path / name).open("rb"),
        as_attachment=suffix in (".csv", ".json"),
        filename=f"{study.slug}-report-{row.pk}-{Path(name).name}",
        content_type=exports.CONTENT_TYPES.get(suffix, "application/octet-stream"),
    )
    if suffix == ".svg":
        response.headers["Content-Security-Policy"] = SVG_POLICY
    return response


@require_GET
def report_archive(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    study = access.results_study(request.user, slug)
    row = access.report_for(request.user, study, pk)
    if elsewhere := _hidden(request, study, row):
        return elsewhere
    disposition = f'attachment; filename="{study.slug}-report-{row.pk}.zip"'
    headers = {"Content-Disposition": disposition}
    return HttpResponse(exports.archive(row), content_type="application/zip", headers=headers)
