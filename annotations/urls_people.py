from django.urls import URLPattern, path

from annotations.views import people

urlpatterns: list[URLPattern] = [
    path("s/<slug:slug>/people/", people.people, name="people"),
    path("s/<slug:slug>/people/<int:pk>/specialty/", people.member_specialty, name="member_specialty"),
    path("s/<slug:slug>/people/<int:pk>/remove/", people.member_remove, name="member_remove"),
    path("s/<slug:slug>/people/invitations/<int:pk>/withdraw/", people.invitation_withdraw, name="invitation_withdraw"),
    path("invitation/<str:token>/", people.invitation, name="invitation"),
]
