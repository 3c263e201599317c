from django.urls import URLPattern, path

from annotations.views import people

urlpatterns: list[URLPattern] = [
    path("s/<slug:slug>/people/", people.people, name="people"),
    path("invitation/<str:token>/", people.invitation, name="invitation"),
]
