from django.urls import URLPattern, path

from annotations.views import campaigns, judge

urlpatterns: list[URLPattern] = [
    path("s/<slug:slug>/campaigns/", campaigns.campaigns, name="campaigns"),
    path("s/<slug:slug>/campaigns/<uuid:public_id>/", campaigns.campaign, name="campaign"),
    path("s/<slug:slug>/campaigns/<uuid:public_id>/close/", campaigns.close, name="campaign_close"),
    path("s/<slug:slug>/campaigns/<uuid:public_id>/reopen/", campaigns.reopen, name="campaign_reopen"),
    path("s/<slug:slug>/campaigns/<uuid:public_id>/judgements.csv", campaigns.export, name="campaign_export"),
    path("judge/<uuid:public_id>/", judge.judge, name="judge"),
    path("judge/<uuid:public_id>/draft/", judge.draft, name="judge_draft"),
    path("judge/<uuid:public_id>/skip/", judge.skip, name="judge_skip"),
    path("judge/<uuid:public_id>/again/", judge.again, name="judge_again"),
    path("judge/<uuid:public_id>/undo/", judge.undo, name="judge_undo"),
    path("judge/<uuid:public_id>/history/", judge.history, name="history"),
    path("judge/<uuid:public_id>/history/<uuid:pk>/", judge.revise, name="judge_revise"),
]
