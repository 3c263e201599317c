"""The cases of a study: the list, one of them, and importing a file."""

import hashlib
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Q
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.text import Truncator
from django.views.decorators.http import require_GET, require_http_methods

from accounts.errors import UserError
from accounts.http import HttpRequest
from annotations import access, prompts, unblinding
from annotations.case_rows import CaseReader
from annotations.forms_data import CaseImportForm, show
from annotations.importing import ImportedCases, import_cases
from annotations.models import Case, Item, Study
from annotations.models.membership import Role

PAGE = 50


@require_GET
def cases(request: HttpRequest, slug: str) -> HttpResponse:
    study = access.study_for(request.user, slug)
    split, search = request.GET.get("split", ""), request.GET.get("q", "").strip()
    found = study.cases.order_by("pk").defer("metadata")
    if split in Case.Split.values:
        found = found.filter(split=split)
    if search:
        found = found.filter(external_id__icontains=search)
    page = Paginator(found, PAGE).get_page(request.GET.get("page"))
    context = {
        "study": study,
        "tab": "cases",
        "page": page,
        "rows": [(case, _excerpt(case)) for case in page],
        "splits": Case.Split.choices,
        "split": split,
        "search": search,
        "is_lead": access.role_in(request.user, study) == Role.LEAD,
    }
    return render(request, "annotations/cases.html", context)


def _excerpt(case: Case) -> str:
    return Truncator(" ".join(" ".join(case.inputs.values()).split())).chars(120)


@require_GET
def case(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    study = access.study_for(request.user, slug)
    case = access.case_for(request.user, study, pk)
    context: dict[str, Any] = {"study": study, "tab": "cases", "case": case, "completions": [], "hidden": ""}
    try:
        access.require_unblinded(request.user, study)
    except PermissionDenied as refusal:
        context["hidden"] = str(refusal)
    else:
        rows = list(case.completions.select_related("model").order_by("model__name", "pk")[:PAGE])
        items = Item.objects.filter(Q(completion_a__in=rows) | Q(completion_b__in=rows))
        judged = study.campaigns.filter(pk__in=items.values("campaign"))
        context["judged_in"] = unblinding.hidden_from(request.user, judged)
        if context["judged_in"]:  # the texts alone, in an order that says nothing of the models (C6)
            rows.sort(key=lambda row: hashlib.sha256(row.text.encode()).digest())
        context["completions"] = rows
    try:
        context["messages_sent"] = prompts.messages(study, case)
    except UserError as error:
        context["prompt_error"] = error.message
    return render(request, "annotations/case.html", context)


@require_http_methods(["GET", "POST"])
def case_import(request: HttpRequest, slug: str) -> HttpResponse:
    study = access.study_for(request.user, slug, Role.LEAD)
    form = CaseImportForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        try:
            result = _import(study, form, request)
        except UserError as error:
            show(form, error)
        else:
            messages.success(request, _summary(result))
            return redirect("annotations:cases", slug=slug)
    columns = CaseReader(study, {}).columns
    context = {"study": study, "tab": "cases", "form": form, "required": columns.required, "optional": columns.optional}
    return render(request, "annotations/case_import.html", context)


def _import(study: Study, form: CaseImportForm, request: HttpRequest) -> ImportedCases:
    data = form.cleaned_data
    return import_cases(
        study=study,
        path_or_file=data["file"].file,
        filename=data["file"].name,
        mapping=data["mapping"],
        split=data["split"],
        split_fractions=data["fractions"],
        seed=data["seed"] or 0,
        actor=request.user,
    )


def _summary(result: ImportedCases) -> str:
    splits = ", ".join(f"{n} {split}" for split, n in result.splits.items())
    parts = [
        f"{result.imported} cases of {result.groups} groups imported: {splits}.",
        f"{result.with_reference} have a reference, {result.without_reference} have none or a part of it.",
        *result.notes,
    ]
    return " ".join(parts)
