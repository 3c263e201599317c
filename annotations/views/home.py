"""Where everybody arrives: what there is to judge, and the studies one may open."""

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from accounts.http import HttpRequest
from annotations import access, harms
from annotations.progress import cards


@require_GET
def home(request: HttpRequest) -> HttpResponse:
    judged = cards(access.campaigns_to_judge(request.user), request.user)
    context = {
        "open": [card for card in judged if card.campaign.is_open],
        "closed": [card for card in judged if not card.campaign.is_open],
        "harm": harms.open_for(request.user),
        "studies": access.studies_to_open(request.user),
    }
    return render(request, "annotations/home.html", context)
