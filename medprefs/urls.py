from django.urls import include, path

from annotations.views import home

urlpatterns = [
    path("", home.home, name="home"),
    path("accounts/", include("accounts.urls")),
    path("", include("annotations.urls")),
    path("", include("training.urls")),
    path("", include("reports.urls")),
]
