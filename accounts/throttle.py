"""Guessing passwords is slowed down: after a number of failures for one name or one address, sign-in pauses."""

import unicodedata
from datetime import timedelta

from django.conf import settings
from django.db.models import Q
from django.http import HttpRequest
from django.utils import timezone

from accounts.models import SignInFailure

WINDOW = timedelta(minutes=10)
PER_NAME, PER_ADDRESS = 10, 50


def plain(username: str) -> str:
    """A user name as sign-in compares it, so that no spelling of one name gets guesses of its own."""
    return unicodedata.normalize("NFKC", username.replace("\0", "")).strip().casefold()[:150]


def _key(request: HttpRequest) -> tuple[str, str]:
    address = request.META.get("REMOTE_ADDR", "")
    if settings.BEHIND_TLS_PROXY:
        # What our own proxy appended; anything before it is the client's word.
        address = request.META.get("HTTP_X_FORWARDED_FOR", "").rpartition(",")[2].strip()
    return plain(request.POST.get("username", "")), address[:45]


def too_many_failures(request: HttpRequest) -> bool:
    name, address = _key(request)
    match = Q(username=name) | Q(address=address) if address else Q(username=name)
    recent = SignInFailure.objects.filter(match, at__gte=timezone.now() - WINDOW)
    rows = list(recent.values_list("username", "address")[: PER_NAME + PER_ADDRESS])
    return (
        sum(username == name for username, _ in rows) >= PER_NAME
        or sum(bool(address) and where == address for _, where in rows) >= PER_ADDRESS
    )


def record_failure(request: HttpRequest) -> None:
    name, address = _key(request)
    SignInFailure.objects.filter(at__lt=timezone.now() - WINDOW).delete()
    SignInFailure.objects.create(username=name, address=address)


def clear_failures(username: str) -> None:
    """Whoever signs in, or chose a new password, may start anew."""
    SignInFailure.objects.filter(username=plain(username)).delete()
