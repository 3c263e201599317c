"""Models: everything that can write completions, for site admins."""

from pathlib import Path

from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from accounts.errors import UserError
from accounts.http import HttpRequest
from annotations import access
from annotations.forms_data import ModelForm, show
from annotations.models import Model
from annotations.registering import add_adapter, add_base, add_endpoint, register_defaults


@require_http_methods(["GET", "POST"])
def models(request: HttpRequest) -> HttpResponse:
    access.require_admin(request.user)
    form = ModelForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            model = _add(form, request)
        except UserError as error:
            show(form, error)
        else:
            messages.success(request, f"“{model}” is registered.")
            return redirect("annotations:models")
    rows = Model.objects.exclude(kind=Model.Kind.IDEAL).select_related("base")
    return render(request, "annotations/models.html", {"rows": rows, "form": form, "vllm_url": settings.VLLM_URL})


def _add(form: ModelForm, request: HttpRequest) -> Model:
    data = form.cleaned_data
    if data["kind"] == "url":
        return add_endpoint(name=data["name"], url=data["url"], served_name=data["served_name"], actor=request.user)
    path = Path(data["path"])
    if data["kind"] == "adapter":
        return add_adapter(name=data["name"], path=path, base=data["base"].name, actor=request.user)
    return add_base(name=data["name"], path=path, actor=request.user)


@require_POST
def models_register(request: HttpRequest) -> HttpResponse:
    """Register what the server at VLLM_URL serves."""
    access.require_admin(request.user)
    names = ", ".join(model.name for model in register_defaults())
    messages.success(request, f"Registered from {settings.VLLM_URL}: {names or 'nothing, it serves no model'}.")
    return redirect("annotations:models")
