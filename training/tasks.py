"""The doorbell of the training room (C2): each task loads nothing but an id and calls the function."""

from celery import shared_task

from annotations import doorbell
from training import runs


@shared_task(name="training.tasks.train")
def train(run_id: int) -> None:
    """Supervise a run, if it is still to be done."""
    runs.supervise(run_id, worker=doorbell.worker_name(), shutting_down=_shutting_down)


def sweep() -> None:
    """Called now and then by every worker: rings again for queued runs, and sees to runs whose supervisor died."""
    for run in runs.sweep():
        train.delay(run.pk)


def _shutting_down() -> bool:
    """Whether this worker was asked to end (SIGTERM): the run then saves a checkpoint and can be resumed."""
    from celery.worker import state

    # None while it works; once it was asked to end the exit status, which is mostly 0.
    return any(asked is not None and asked is not False for asked in (state.should_stop, state.should_terminate))
