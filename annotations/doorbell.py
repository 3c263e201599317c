"""Rows say what is to be done; a message only tells a worker to look (C2). It may ring twice or never."""

import os
import socket
import time
from collections.abc import Callable
from typing import TypeVar

from celery import Task
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from accounts.errors import UserError
from annotations.models import Status, StatusRow, Worker

Row = TypeVar("Row", bound=StatusRow)

NO_WORKER = (
    "No worker is serving the queue “{queue}”, so nothing would happen. Start one with "
    "`celery -A medprefs worker --pool solo -Q {queue}` (make demo starts both), or use --here on the command line."
)


def ring(task: Task, row: StatusRow) -> None:
    """Tell a worker about ``row`` once it is committed."""
    pk = row.pk
    # robust: a broker that is away must not make a stored row look refused; the sweep rings again.
    transaction.on_commit(lambda: task.delay(pk), robust=True)


def require_worker(queue: str) -> None:
    """Raises UserError where no worker would answer."""
    if not Worker.alive(queue):
        raise UserError(NO_WORKER.format(queue=queue))


def worker_name() -> str:
    """This process, as it signs its claims."""
    return f"{socket.gethostname()}:{os.getpid()}"


def beat(name: str, queues: list[str]) -> None:
    """Write a worker's heartbeat."""
    Worker.objects.update_or_create(name=name, defaults={"queues": ",".join(queues), "heartbeat_at": timezone.now()})


def wait_for(row: Row, queue: str, progress: Callable[[Row], None] = lambda row: None) -> Row:
    """Follow ``row`` until it is finished. Raises UserError when it fails, or when no worker is alive to do it."""
    while True:
        row.refresh_from_db()
        progress(row)
        if row.status == Status.SUCCEEDED:
            return row
        if not row.is_active:
            raise UserError(f"{row} ended {row.status}. {row.error}".strip())
        require_worker(queue)
        time.sleep(settings.POLL_SECONDS)


def forget(name: str) -> None:
    """A worker that shuts down says so, instead of being missed half a minute later."""
    Worker.objects.filter(name=name).delete()
