"""A person's own keys and layout of the rating page."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from accounts.http import HttpRequest
from annotations import keys, layout


@require_http_methods(["GET", "POST"])
def keys_page(request: HttpRequest) -> HttpResponse:
    """Every action with its key. POST: keep them all, or say which collide and keep none."""
    wanted = keys.keys_of(request.user.shortcuts)
    found: dict[str, str] = {}
    if request.method == "POST":
        wanted = {name: keys.read_key(request.POST.get(name, "")) for name in keys.DEFAULTS}
        if "reset" in request.POST:
            wanted = keys.DEFAULTS
        if not (found := keys.problems(wanted)):
            on = "on" in request.POST or "reset" in request.POST
            kept = layout.with_setting(request.user.shortcuts, "off", "" if on else "on")
            _keep(request, kept | {"keys": keys.changes(wanted)})
            messages.success(request, "Your keys are back to the defaults." if "reset" in request.POST else "Saved.")
            return redirect("annotations:keys")
    context = {
        "lines": [(action, keys.label(wanted[action.name]), found.get(action.name, "")) for action in keys.ACTIONS],
        "found": found,
        "on": "on" in request.POST if found else keys.is_on(request.user.shortcuts),
    }
    return render(request, "annotations/keys.html", context, status=422 if found else 200)


def _keep(request: HttpRequest, shortcuts: dict[str, object]) -> None:
    request.user.shortcuts = shortcuts
    request.user.save(update_fields=["shortcuts"])


@require_POST
def set_layout(request: HttpRequest) -> HttpResponse:
    """One setting of the page, sent by its switch. 204: kept; 422: no such setting."""
    try:
        kept = layout.with_setting(request.user.shortcuts, request.POST.get("name", ""), request.POST.get("value", ""))
    except ValueError:
        return HttpResponse(status=422)
    _keep(request, kept)
    return HttpResponse(status=204)
