from django.urls import path

from reports.views import evaluations, frozen, results

app_name = "reports"
urlpatterns = [
    path("s/<slug:slug>/results/", results.results, name="results"),
    path("s/<slug:slug>/results/plan/", results.plan_lock, name="plan_lock"),
    path("s/<slug:slug>/results/evaluations/new/", evaluations.evaluation_new, name="evaluation_new"),
    path("s/<slug:slug>/results/evaluations/<int:pk>/", evaluations.show, name="evaluation"),
    path("s/<slug:slug>/results/evaluations/<int:pk>/retry/", evaluations.retry, name="evaluation_retry"),
    path("s/<slug:slug>/results/evaluations/<int:pk>/campaign/", evaluations.campaign, name="evaluation_campaign"),
    path("s/<slug:slug>/results/reports/new/", frozen.report_new, name="report_new"),
    path("s/<slug:slug>/results/reports/<int:pk>/", frozen.show, name="report"),
    path("s/<slug:slug>/results/reports/<int:pk>/report.zip", frozen.report_archive, name="report_archive"),
    path("s/<slug:slug>/results/reports/<int:pk>/files/<path:name>", frozen.report_file, name="report_file"),
]
