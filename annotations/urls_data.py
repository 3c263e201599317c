from django.urls import URLPattern, path

from annotations.views import cases, completions, models, studies

urlpatterns: list[URLPattern] = [
    path("models/", models.models, name="models"),
    path("models/register/", models.models_register, name="models_register"),
    path("s/new/", studies.study_new, name="study_new"),
    path("s/<slug:slug>/", studies.study, name="study"),
    path("s/<slug:slug>/cases/", cases.cases, name="cases"),
    path("s/<slug:slug>/cases/import/", cases.case_import, name="case_import"),
    path("s/<slug:slug>/cases/<int:pk>/", cases.case, name="case"),
    path("s/<slug:slug>/completions/", completions.generations, name="generations"),
    path("s/<slug:slug>/completions/import/", completions.completion_import, name="completion_import"),
    path("s/<slug:slug>/completions/<int:pk>/", completions.generation, name="generation"),
    path("s/<slug:slug>/completions/<int:pk>/stop/", completions.generation_stop, name="generation_stop"),
    path("s/<slug:slug>/completions/<int:pk>/retry/", completions.generation_retry, name="generation_retry"),
]
