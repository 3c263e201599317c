"""The doorbell of the annotations room (C2): a task loads nothing but an id and calls the function."""

from datetime import timedelta

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from accounts.errors import InvalidTransition
from annotations import doorbell, harms
from annotations.generation.job import run_generation
from annotations.generation.queue import QUEUE
from annotations.models import Generation, Status, Worker

# A job says every few seconds that it goes on. Loading a large model says nothing, so a living worker is given longer.
SILENT_AND_WORKER_GONE = timedelta(seconds=60)
SILENT = timedelta(minutes=10)
TRIES = 3


@shared_task(name="annotations.tasks.generate")
def generate(generation_id: int) -> None:
    """Do a generation, if it is still to be done."""
    run_generation(generation_id, worker=doorbell.worker_name())


def sweep() -> None:
    """Called now and then by every worker: queues dead jobs again, and rings again for what is queued."""
    for row in Generation.objects.filter(status__in=[Status.RUNNING, Status.STOPPING]):
        if _is_dead(row):
            _bury(row)
    busy = Generation.objects.filter(status=Status.RUNNING).count()
    # While every worker is at work nobody could answer, and the bell would only fill the broker.
    for row in Generation.objects.filter(status=Status.QUEUED).order_by("pk")[: max(0, _living() - busy)]:
        generate.delay(row.pk)
    harms.mail_waiting()


def _is_dead(row: Generation) -> bool:
    silent = timezone.now() - (row.heartbeat_at or row.queued_at)
    if silent > SILENT:
        return True
    # "host:pid --here" is a person's own process, which writes no heartbeat but the row's.
    is_worker = not row.claimed_by.endswith("--here")
    return is_worker and silent > SILENT_AND_WORKER_GONE and not _alive(row.claimed_by)


def _alive(name: str) -> bool:
    return Worker.objects.filter(name=name, heartbeat_at__gte=_since()).exists()


def _living() -> int:
    rows = Worker.objects.filter(heartbeat_at__gte=_since()).values_list("queues", flat=True)
    return sum(QUEUE in queues.split(",") for queues in rows)


def _since() -> object:
    return timezone.now() - timedelta(seconds=settings.WORKER_ALIVE_SECONDS)


def _bury(row: Generation) -> None:
    """Queue a dead job again: it does nothing twice. After three deaths something is wrong with it."""
    try:
        if row.status == Status.STOPPING:
            row.transition(Status.CANCELLED, note="its worker died after it was asked to stop")
        elif row.history().filter(after=Status.INTERRUPTED).count() + 1 >= TRIES:
            error = f"The worker died {TRIES} times while doing this. Look at its log (memory?), then try again."
            row.transition(Status.FAILED, error=error)
        else:
            row.transition(Status.INTERRUPTED, note=f"no sign of life from {row.claimed_by}")
            row.transition(Status.QUEUED, note="queued again")
            generate.delay(row.pk)
    except InvalidTransition:
        pass  # another worker's sweep was first
