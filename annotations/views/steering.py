"""What a lead changes in a running campaign: one page with a form for each act, each with its reason."""

import uuid
from datetime import timedelta

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from accounts.errors import UserError
from accounts.http import HttpRequest
from annotations import access, board, forms_judging, steering
from annotations.models import Campaign, Study
from annotations.models.membership import Role

HISTORY = 25  # acts a page
HELD = 50  # items in hand that are shown


@require_GET
def steer(request: HttpRequest, slug: str, public_id: uuid.UUID) -> HttpResponse:
    study, row = _led(request, slug, public_id)
    before = request.GET.get("before", "")
    acts = list(steering.history(row, before=int(before) if before.isdigit() else None)[: HISTORY + 1])
    context = {
        "study": study,
        "tab": "campaigns",
        "campaign": row,
        "now": timezone.now(),
        "blinded": access.is_blinded(request.user, study),
        "held": list(board.waiting(row)[:HELD]),
        "most_held": HELD,
        "page": board.lagging(row, after=request.GET.get("after", "")),
        "counts": board.counts(row),
        "people": [part.user for part in row.participations.select_related("user").order_by("user__username")],
        "candidates": steering.candidates(row),
        "acts": acts[:HISTORY],
        "older": acts[HISTORY - 1].pk if len(acts) > HISTORY else None,
        "handed_days": steering.HANDED // timedelta(days=1),
    }
    return render(request, "annotations/steer.html", context)


def _led(request: HttpRequest, slug: str, public_id: uuid.UUID) -> tuple[Study, Campaign]:
    study = access.study_for(request.user, slug, Role.LEAD)
    return study, access.campaign_for(request.user, study, public_id)


def _reason(request: HttpRequest) -> str:
    return forms_judging.read_text(request.POST, "reason")


def _number(request: HttpRequest, name: str) -> int:
    """A whole number that a form sent. UserError says what was found."""
    given = request.POST.get(name, "").strip()
    if not (given.isascii() and given.isdigit() and len(given) < 10):
        raise UserError(f"“{given}” is no whole number from 0 up.")
    return int(given)


def _done(request: HttpRequest, row: Campaign, text: str) -> HttpResponse:
    messages.success(request, text)
    return redirect("annotations:campaign_steer", slug=row.study.slug, public_id=row.public_id)


@require_POST
def take_back(request: HttpRequest, slug: str, public_id: uuid.UUID) -> HttpResponse:
    _, row = _led(request, slug, public_id)
    given = access.given_item_for(request.user, row, request.POST.get("assignment", ""))
    steering.take_back(given, reason=_reason(request), actor=request.user)
    return _done(request, row, f"Item {given.item.position + 1} was taken back from {given.annotator}.")


@require_POST
def extend(request: HttpRequest, slug: str, public_id: uuid.UUID) -> HttpResponse:
    _, row = _led(request, slug, public_id)
    given = access.given_item_for(request.user, row, request.POST.get("assignment", ""))
    hours = _number(request, "hours")
    steering.extend_lease(given, hours=hours, reason=_reason(request), actor=request.user)
    return _done(request, row, f"{given.annotator} has {hours} hours for item {given.item.position + 1}.")


@require_POST
def hand(request: HttpRequest, slug: str, public_id: uuid.UUID) -> HttpResponse:
    study, row = _led(request, slug, public_id)
    number = _number(request, "item")
    item = access.item_for(request.user, row, number - 1)
    person = access.person_for(request.user, study, request.POST.get("annotator", ""))
    steering.hand_to(item, person, reason=_reason(request), actor=request.user)
    return _done(request, row, f"Item {number} waits for {person}, for {steering.HANDED // timedelta(days=1)} days.")


@require_POST
def add(request: HttpRequest, slug: str, public_id: uuid.UUID) -> HttpResponse:
    study, row = _led(request, slug, public_id)
    person = access.person_for(request.user, study, request.POST.get("annotator", ""))
    steering.add_annotator(row, person, reason=_reason(request), actor=request.user)
    return _done(request, row, f"{person} judges in this campaign now, and finds it on their home page.")


@require_POST
def take_off(request: HttpRequest, slug: str, public_id: uuid.UUID) -> HttpResponse:
    study, row = _led(request, slug, public_id)
    person = access.person_for(request.user, study, request.POST.get("annotator", ""))
    freed = steering.take_off(row, person, reason=_reason(request), actor=request.user)
    people = row.participations.count()
    short = (
        f" Some items want {row.overlap} judgements, and {people} are left to judge." if people < row.overlap else ""
    )
    return _done(request, row, f"{person} judges no more here; what they judged stays. Items freed: {freed}.{short}")


@require_POST
def overlap(request: HttpRequest, slug: str, public_id: uuid.UUID) -> HttpResponse:
    _, row = _led(request, slug, public_id)
    listed = request.POST.get("items", "").replace(",", " ").split()
    if wrong := [entry for entry in listed if not (entry.isascii() and entry.isdigit() and int(entry[:9]) > 0)]:
        raise UserError(f"{', '.join(wrong)}: no number of an item. Write numbers such as 3, 17, 20, or none for all.")
    changed = steering.raise_overlap(
        row,
        overlap=_number(request, "overlap"),
        positions=[int(entry[:9]) - 1 for entry in listed] or None,
        reason=_reason(request),
        actor=request.user,
    )
    return _done(request, row, f"Overlap raised for {changed} item{'' if changed == 1 else 's'}.")


@require_POST
def cap(request: HttpRequest, slug: str, public_id: uuid.UUID) -> HttpResponse:
    study, row = _led(request, slug, public_id)
    chosen = request.POST.get("annotator", "")
    person = access.person_for(request.user, study, chosen) if chosen else None
    most = _number(request, "cap") if request.POST.get("cap", "").strip() else None
    steering.raise_cap(row, cap=most, annotator=person, reason=_reason(request), actor=request.user)
    who, what = person or "Everybody", f"{most} items" if most is not None else "as many items as there are"
    return _done(request, row, f"{who} can be given {what} now.")
