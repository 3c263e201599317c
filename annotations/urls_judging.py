from django.urls import URLPattern, path

from annotations.views import campaigns, history, judge, qualifying, screen

urlpatterns: list[URLPattern] = [
    path("s/<slug:slug>/campaigns/", campaigns.campaigns, name="campaigns"),
    path("s/<slug:slug>/campaigns/<uuid:public_id>/", campaigns.campaign, name="campaign"),
    path("s/<slug:slug>/campaigns/<uuid:public_id>/close/", campaigns.close, name="campaign_close"),
    path("s/<slug:slug>/campaigns/<uuid:public_id>/reopen/", campaigns.reopen, name="campaign_reopen"),
    path("s/<slug:slug>/campaigns/<uuid:public_id>/judgements.csv", campaigns.export, name="campaign_export"),
    path("judge/me/", judge.me, name="me"),
    path("judge/keys/", screen.keys_page, name="keys"),
    path("judge/layout/", screen.set_layout, name="layout"),
    path("judge/<uuid:public_id>/", judge.judge, name="judge"),
    path("judge/<uuid:public_id>/draft/", judge.draft, name="judge_draft"),
    path("judge/<uuid:public_id>/skip/", judge.skip, name="judge_skip"),
    path("judge/<uuid:public_id>/again/", judge.again, name="judge_again"),
    path("judge/<uuid:public_id>/undo/", judge.undo, name="judge_undo"),
    path("judge/<uuid:public_id>/training/", qualifying.training, name="judge_training"),
    path("judge/<uuid:public_id>/training/again/", qualifying.again, name="judge_training_again"),
    path("judge/<uuid:public_id>/feedback/<uuid:pk>/", qualifying.feedback, name="judge_feedback"),
    path("judge/<uuid:public_id>/history/", history.history, name="history"),
    path("judge/<uuid:public_id>/history/<uuid:pk>/", history.revise, name="judge_revise"),
]
