"""Outputs for the demo: queued for a worker, followed to their end, taken up again where a stop interrupted them."""

from collections.abc import Callable
from typing import TypeVar

from accounts.errors import UserError
from accounts.models import User
from annotations.doorbell import wait_for
from annotations.generation.queue import queue_generation, retry
from annotations.models import Model, Status, StatusRow, Study

Row = TypeVar("Row", bound=StatusRow)


def finished(row: Row, queue: str, again: Callable[[Row], object]) -> Row:
    """Follow ``row`` to its end; what an earlier stop of the demo interrupted is taken up again, a few times."""
    for _ in range(3):
        row.refresh_from_db()
        if row.status in (Status.INTERRUPTED, Status.FAILED):
            again(row)
        try:
            return wait_for(row, queue)
        except UserError:
            row.refresh_from_db()
            if row.status != Status.INTERRUPTED:
                raise
    return wait_for(row, queue)


def completions(study: Study, model: Model, *, n: int, limit: int, actor: User) -> None:
    """``n`` outputs for each of the first ``limit`` training cases; two samples can be compared with one another."""
    row = study.generations.filter(model=model, split="train", n=n).first() or queue_generation(
        study=study,
        model=model,
        split="train",
        n=n,
        limit=limit,
        sampling={"temperature": 0.5, "top_p": 0.9, "max_tokens": 96, "seed": 1},
        actor=actor,
    )
    finished(row, "generation", lambda row: retry(row, actor))
