"""A study's results page and its analysis plan."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from accounts.errors import UserError
from accounts.http import HttpRequest
from annotations.models.membership import Role
from reports import access, analysis
from reports.forms import PlanForm


@require_GET
def results(request: HttpRequest, slug: str) -> HttpResponse:
    study = access.results_study(request.user, slug)
    lead = access.may_lead(request.user, study)
    context = {
        "study": study,
        "tab": "results",
        "plan": analysis.plan(study),
        "lead": lead,
        "evaluations": study.evaluations.prefetch_related("arms__model", "campaigns")[:50],
        "reports": study.reports.prefetch_related("evaluations", "campaigns")[:50],
    }
    return render(request, "reports/results.html", context)


@require_http_methods(["GET", "POST"])
def plan_lock(request: HttpRequest, slug: str) -> HttpResponse:
    study = access.results_study(request.user, slug, Role.LEAD)
    form = PlanForm(study, request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        try:
            analysis.lock(study, request.user, changes=form.changes())
        except UserError as error:
            form.add_error(None, str(error))
        else:
            messages.success(request, "The analysis plan is locked.")
            return redirect("reports:results", study.slug)
    context = {"study": study, "tab": "results", "plan": analysis.plan(study), "form": form}
    return render(request, "reports/plan_lock.html", context)
