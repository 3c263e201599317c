"""The doorbell's other end: load by id, call the function."""

from celery import shared_task

from annotations.doorbell import worker_name
from reports import evaluation


@shared_task(name="reports.tasks.evaluate")
def evaluate(evaluation_id: int) -> None:
    """Run an evaluation in this worker (queue ``generation``, where the base model stays loaded)."""
    evaluation.run_evaluation(evaluation_id, worker=worker_name())


def sweep() -> None:
    """Called periodically: queued evaluations are rung for again, those of dead workers marked."""
    evaluation.sweep()
