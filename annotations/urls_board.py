from django.urls import URLPattern, path

from annotations.views import adjudication, board, steering

CAMPAIGN = "s/<slug:slug>/campaigns/<uuid:public_id>"
urlpatterns: list[URLPattern] = [
    path(f"{CAMPAIGN}/quality/", board.quality, name="campaign_quality"),
    path(f"{CAMPAIGN}/unblind/", board.unblind, name="campaign_unblind"),
    path(f"{CAMPAIGN}/adjudication/", adjudication.first, name="adjudication"),
    path(f"{CAMPAIGN}/adjudication/<int:position>/", adjudication.item, name="adjudication_item"),
    path(f"{CAMPAIGN}/steer/", steering.steer, name="campaign_steer"),
    path(f"{CAMPAIGN}/steer/take-back/", steering.take_back, name="steer_take_back"),
    path(f"{CAMPAIGN}/steer/extend/", steering.extend, name="steer_extend"),
    path(f"{CAMPAIGN}/steer/hand/", steering.hand, name="steer_hand"),
    path(f"{CAMPAIGN}/steer/add/", steering.add, name="steer_add"),
    path(f"{CAMPAIGN}/steer/take-off/", steering.take_off, name="steer_take_off"),
    path(f"{CAMPAIGN}/steer/overlap/", steering.overlap, name="steer_overlap"),
    path(f"{CAMPAIGN}/steer/cap/", steering.cap, name="steer_cap"),
]
