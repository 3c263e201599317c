from django.urls import URLPattern, path

from annotations.views import harms

urlpatterns: list[URLPattern] = [
    path("judge/<uuid:public_id>/harm/", harms.harm_report, name="harm_report"),
    path("s/<slug:slug>/harm/", harms.harm, name="harm"),
    path("s/<slug:slug>/harm/<uuid:pk>/acknowledge/", harms.harm_acknowledge, name="harm_acknowledge"),
]
