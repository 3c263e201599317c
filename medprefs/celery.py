"""Celery: the doorbell. Rows in the database say what is to be done (C2)."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "medprefs.settings")
app = Celery("medprefs")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
