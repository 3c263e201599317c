"""The planner: how many cases and annotators a campaign needs. It knows nothing of a campaign's arms."""

from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from accounts.errors import UserError
from accounts.http import HttpRequest
from annotations import access, forms_sizing, sizing
from annotations.forms_sizing import PlannerForm


@require_GET
def planner(request: HttpRequest, slug: str) -> HttpResponse:
    """The form with its result beside it; everything is in the address, so that a design can be sent to somebody."""
    study = access.study_for(request.user, slug)
    goal = request.GET.get("goal", "")
    if goal not in sizing.GOALS:
        goal = sizing.goal_of(study)
    start = forms_sizing.start(study, goal)
    form = PlannerForm(request.GET if "cases" in request.GET else start, goal=goal)
    context: dict[str, Any] = {
        "study": study,
        "tab": "campaigns",
        "form": form,
        "goal": goal,
        "goals": sizing.GOALS,
        "noun": sizing.GOALS[goal].noun,
        "found": None,
        "problem": None,
    }
    if form.is_valid():
        setup = form.setup()
        try:
            context["found"] = sizing.size(setup, sizing.pace_of(study, setup.judged_as))
        except UserError as error:
            context["problem"] = error
    return render(request, "annotations/planner.html", context)
