"""Guessing passwords is slowed down: after a number of failures for one name or one address, sign-in pauses."""

from datetime import timedelta

from django.db.models import Q
from django.http import HttpRequest
from django.utils import timezone

from accounts.models import SignInFailure

WINDOW = timedelta(minutes=10)
PER_NAME, PER_ADDRESS = 10, 50


def _key(request: HttpRequest) -> tuple[str, str]:
    return request.POST.get("username", "").strip().lower()[:150], request.META.get("REMOTE_ADDR", "")[:45]


def too_many_failures(request: HttpRequest) -> bool:
    name, address = _key(request)
    recent = SignInFailure.objects.filter(Q(username=name) | Q(address=address), at__gte=timezone.now() - WINDOW)
    rows = list(recent.values_list("username", "address")[: PER_NAME + PER_ADDRESS])
    return (
        sum(username == name for username, _ in rows) >= PER_NAME
        or sum(where == address for _, where in rows) >= PER_ADDRESS
    )


def record_failure(request: HttpRequest) -> None:
    name, address = _key(request)
    SignInFailure.objects.filter(at__lt=timezone.now() - WINDOW).delete()
    SignInFailure.objects.create(username=name, address=address)


def clear_failures(request: HttpRequest) -> None:
    SignInFailure.objects.filter(username=_key(request)[0]).delete()
