"""Celery: the doorbell. Rows in the database say what is to be done (C2).

Each worker proves that it lives by a heartbeat in the database, and sweeps: it rings again for rows that nobody
answered. Both happen in a thread of the worker, so there is no scheduler process to forget to start.
"""

import itertools
import logging
import os
import threading
from collections.abc import Callable
from typing import Any

from celery import Celery
from celery.signals import worker_ready, worker_shutting_down

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "medprefs.settings")
app = Celery("medprefs")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()

logger = logging.getLogger("medprefs.celery")
_stop = threading.Event()
ASK_SERVER_EVERY = 12  # heartbeats


def _keep_alive(queues: list[str]) -> None:
    """Write the heartbeat and sweep until the worker shuts down."""
    from django.conf import settings
    from django.db import close_old_connections

    from annotations.doorbell import beat, worker_name
    from annotations.tasks import sweep as sweep_annotations
    from reports.tasks import sweep as sweep_reports
    from training.tasks import sweep as sweep_training

    for number in itertools.count():
        steps: list[Callable[[], object]] = [lambda: beat(worker_name(), queues)]
        if number % ASK_SERVER_EVERY == 0 and "generation" in queues:
            steps.append(register_server)
        close_old_connections()
        for step in (*steps, sweep_annotations, sweep_training, sweep_reports):
            try:
                step()
            except Exception:
                # Each by itself: a database that is away must not end the heartbeat, nor one bad row the other sweeps.
                logger.exception("a step of the heartbeat of %s failed, it is tried again", worker_name())
        if _stop.wait(settings.WORKER_HEARTBEAT_SECONDS):
            return


def register_server() -> None:
    """The models that the server at VLLM_URL serves become models here, also when it comes up after the worker."""
    from accounts.errors import UserError
    from annotations.registering import register_defaults

    try:
        register_defaults()
    except UserError as error:
        logger.warning("%s", error)


@worker_ready.connect
def start_heartbeat(sender: Any, **kwargs: Any) -> None:
    queues = [queue.name for queue in sender.task_consumer.queues]
    threading.Thread(target=_keep_alive, args=(queues,), name="heartbeat", daemon=True).start()


@worker_shutting_down.connect
def stop_heartbeat(**kwargs: Any) -> None:
    from annotations.doorbell import forget, worker_name

    _stop.set()
    forget(worker_name())
