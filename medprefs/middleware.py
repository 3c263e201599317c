"""What concerns every request: content security policy, idle sessions, and a person's mistakes shown as they are."""

import time
from collections.abc import Callable
from typing import Any

from django.contrib.auth.signals import user_logged_in
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from accounts.errors import UserError

# No inline script or style and no other host: what an attacker writes into a completion can't run.
POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "font-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ]
)


RENEW_SECONDS = 300


class ContentSecurityPolicyMiddleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        response.headers.setdefault("Content-Security-Policy", POLICY)
        response.headers.setdefault("Permissions-Policy", "camera=(), microphone=(), geolocation=()")
        if not request.path.startswith("/static/"):
            # Clinical text must not stay in a ward computer's cache.
            response.headers.setdefault("Cache-Control", "no-store")
        return response


class UserErrorMiddleware:
    """Shows a UserError that a view let through: status 400, with its message as written."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if isinstance(exception, UserError):
            return render(request, "user_error.html", {"error": exception}, status=400)
        return None


@receiver(user_logged_in)
def start_idle_clock(request: HttpRequest, **kwargs: Any) -> None:
    request.session["seen"] = int(time.time())


class IdleSessionMiddleware:
    """Renews a session that is in use, at most every few minutes, so that reading pages costs no write."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.user.is_authenticated:
            now = int(time.time())
            if now - request.session.get("seen", 0) > RENEW_SECONDS:
                request.session["seen"] = now
        return self.get_response(request)
