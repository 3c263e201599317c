"""A study: making one, and its overview with what is to be done next."""

from dataclasses import dataclass

from django.contrib import messages
from django.db.models import Count
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods

from accounts.errors import UserError
from accounts.http import HttpRequest
from annotations import access
from annotations.forms_data import StudyForm, show
from annotations.models import Case, Completion, Judgement, Model, Study
from annotations.models.membership import Role
from annotations.rendering import markdown
from annotations.studies import create_study


@require_http_methods(["GET", "POST"])
def study_new(request: HttpRequest) -> HttpResponse:
    access.require_admin(request.user)
    form = StudyForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        slug, task = form.cleaned_data["slug"], form.cleaned_data["task"]
        try:
            study = create_study(slug=slug, task=task, config=form.study_config(), actor=request.user)
        except UserError as error:
            show(form, error)
        else:
            messages.success(request, f"“{study}” is there. Import its cases next.")
            return redirect("annotations:study", slug=study.slug)
    return render(request, "annotations/study_form.html", {"form": form})


@require_GET
def study(request: HttpRequest, slug: str) -> HttpResponse:
    study = access.study_for(request.user, slug)
    counts = dict(study.cases.order_by().values_list("split").annotate(n=Count("pk")))
    context = {
        "study": study,
        "tab": "overview",
        "instructions": markdown(study.instructions),
        "splits": [(Case.Split(split).label, counts.get(split, 0)) for split in Case.Split.values],
        "cases": sum(counts.values()),
        "groups": study.cases.order_by().values("group").distinct().count(),
        "steps": _steps(study, sum(counts.values())),
        "is_lead": access.role_in(request.user, study) == Role.LEAD,
    }
    return render(request, "annotations/study.html", context)


@dataclass(frozen=True)
class Step:
    """One step of the loop; ``count`` is None where this room doesn't know."""

    title: str
    text: str
    url: str
    count: int | None = None
    is_next: bool = False


def _steps(study: Study, cases: int) -> list[Step]:
    """The loop from cases to report. The first step with nothing done is next."""
    completions = Completion.objects.filter(case__study=study).exclude(model__kind=Model.Kind.IDEAL).count()
    campaigns = study.campaigns.count()
    judgements = Judgement.objects.filter(item__campaign__study=study).count()
    plan = [
        ("Import cases", "What the models are asked, with a reference where there is one.", "annotations:cases", cases),
        ("Generate completions", "Or import what was written elsewhere.", "annotations:generations", completions),
        ("Plan a campaign", "Who judges what, blind.", "annotations:campaigns", campaigns),
        ("Judge", "Annotators find it on their home page.", "annotations:campaigns", judgements),
        ("Freeze training data", "Judgements and references become a dataset.", "training:training", None),
        ("Train", "SFT first, then DPO on top of it.", "training:training", None),
        ("Lock the plan and evaluate", "Every model on the test cases.", "reports:results", None),
        ("Report", "Agreement, metrics, significance.", "reports:results", None),
    ]
    following = next((i for i, step in enumerate(plan) if not step[3]), None)
    return [
        Step(title, text, reverse(name, args=[study.slug]), count, is_next=i == following)
        for i, (title, text, name, count) in enumerate(plan)
    ]
