from django.urls import path

from training.views import datasets, overview, runs

app_name = "training"
urlpatterns = [
    path("s/<slug:slug>/training/", overview.training, name="training"),
    path("s/<slug:slug>/training/datasets/new/", datasets.dataset_new, name="dataset_new"),
    path("s/<slug:slug>/training/datasets/<int:pk>/", datasets.dataset, name="dataset"),
    path("s/<slug:slug>/training/datasets/<int:pk>/files/<str:name>", datasets.dataset_file, name="dataset_file"),
    path("s/<slug:slug>/training/runs/new/", runs.run_new, name="run_new"),
    path("s/<slug:slug>/training/runs/<int:pk>/", runs.run, name="run"),
    path("s/<slug:slug>/training/runs/<int:pk>/live/", runs.run_live, name="run_live"),
    path("s/<slug:slug>/training/runs/<int:pk>/stop/", runs.run_stop, name="run_stop"),
    path("s/<slug:slug>/training/runs/<int:pk>/resume/", runs.run_resume, name="run_resume"),
    path("s/<slug:slug>/training/runs/<int:pk>/files/<str:name>", runs.run_file, name="run_file"),
    path("s/<slug:slug>/training/runs/<int:pk>/<str:chart>.svg", runs.run_chart, name="run_chart"),
]
