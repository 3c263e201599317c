from django.urls import URLPattern, path

from annotations.views import design

urlpatterns: list[URLPattern] = [
    path("s/<slug:slug>/campaigns/new/", design.plan, name="campaign_plan"),
    path("s/<slug:slug>/campaigns/<uuid:public_id>/rubric/", design.rubric, name="campaign_rubric"),
    path(
        "s/<slug:slug>/campaigns/<uuid:public_id>/rubric/change/", design.rubric_change, name="campaign_rubric_change"
    ),
]
