from django.urls import URLPattern, path

from annotations.views import guess, sizing

urlpatterns: list[URLPattern] = [
    path("judge/<uuid:public_id>/guess/", guess.guess, name="guess"),
    path("s/<slug:slug>/planner/", sizing.planner, name="planner"),
]
