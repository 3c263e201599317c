"""The request every signed-in view gets."""

from django.http import HttpRequest as DjangoHttpRequest
from django_htmx.middleware import HtmxDetails

from accounts.models import User


class HttpRequest(DjangoHttpRequest):
    """A request of a signed-in person: LoginRequiredMiddleware lets nobody else through."""

    user: User
    htmx: HtmxDetails
