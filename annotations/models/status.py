"""The one state machine of background work: generations, runs and evaluations share it."""

from typing import Any, Self

from django.db import models, transaction
from django.utils import timezone

from accounts.errors import InvalidTransition


class Status(models.TextChoices):
    QUEUED = "queued"
    RUNNING = "running"
    STOPPING = "stopping"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"


TRANSITIONS: dict[Status, set[Status]] = {
    Status.QUEUED: {Status.RUNNING, Status.CANCELLED, Status.FAILED},
    Status.RUNNING: {Status.STOPPING, Status.SUCCEEDED, Status.FAILED, Status.CANCELLED, Status.INTERRUPTED},
    Status.STOPPING: {Status.SUCCEEDED, Status.FAILED, Status.CANCELLED, Status.INTERRUPTED},
    Status.INTERRUPTED: {Status.QUEUED, Status.SUCCEEDED, Status.CANCELLED},
    Status.FAILED: {Status.QUEUED},
    Status.SUCCEEDED: set(),
    Status.CANCELLED: set(),
}
ACTIVE = (Status.QUEUED, Status.RUNNING, Status.STOPPING)


class StatusChange(models.Model):
    """One line of a row's history: append only."""

    object_type = models.CharField(max_length=60)
    object_id = models.PositiveBigIntegerField()
    before = models.CharField(max_length=20, choices=Status)
    after = models.CharField(max_length=20, choices=Status)
    at = models.DateTimeField(auto_now_add=True)
    note = models.CharField(max_length=500, blank=True)

    class Meta:
        indexes = [models.Index(fields=["object_type", "object_id"])]

    def __str__(self) -> str:
        return f"{self.object_type} {self.object_id}: {self.before} → {self.after}"


class StatusRow(models.Model):
    """A row whose work is done elsewhere: the row is the truth, the broker only a doorbell (C2)."""

    status = models.CharField(max_length=20, choices=Status, default=Status.QUEUED, db_index=True)
    queued_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    heartbeat_at = models.DateTimeField(null=True, blank=True)
    claimed_by = models.CharField(max_length=120, blank=True)
    error = models.TextField(blank=True, help_text="What went wrong, for people.")

    class Meta:
        abstract = True

    @property
    def is_active(self) -> bool:
        return self.status in ACTIVE

    def transition(self, after: Status, *, note: str = "", **fields: Any) -> Self:
        """Move to ``after``, set ``fields``, stamp and log, in one transaction.

        Raises InvalidTransition where the row, read by a conditional UPDATE, isn't where the caller thinks,
        or the step isn't legal. Work in progress is ended only for the worker that the caller thinks has it: it may
        have been believed dead, and the row given to another. ``self`` is up to date afterwards.
        """
        before = Status(self.status)
        if after not in TRANSITIONS[before]:
            raise InvalidTransition(f"{self} is {before}, so it can't become {after}.")
        expected: dict[str, Any] = {"pk": self.pk, "status": before}
        if before in (Status.RUNNING, Status.STOPPING) and after not in ACTIVE:
            expected["claimed_by"] = self.claimed_by
        now = timezone.now()
        values: dict[str, Any] = {"status": after, **fields}
        if after == Status.RUNNING:
            values |= {"started_at": now, "heartbeat_at": now}
        elif after not in ACTIVE:
            values["finished_at"] = now
        with transaction.atomic():
            if not type(self)._default_manager.filter(**expected).update(**values):
                raise InvalidTransition(
                    f"{self} is no longer {before}, or another worker has it: somebody else changed it. "
                    "Reload and look again."
                )
            StatusChange.objects.create(
                object_type=self._meta.label_lower, object_id=self.pk, before=before, after=after, note=note[:500]
            )
        for name, value in values.items():
            setattr(self, name, value)
        return self

    def claim(self, worker: str) -> bool:
        """Take a queued row for ``worker``; False if another worker was first."""
        try:
            self.transition(Status.RUNNING, claimed_by=worker, error="")
        except InvalidTransition:
            self.refresh_from_db()
            return False
        return True

    def beat(self) -> bool:
        """Say that the work goes on; False once the row is no longer running (asked to stop) or no longer ours."""
        ours = type(self)._default_manager.filter(pk=self.pk, status=Status.RUNNING, claimed_by=self.claimed_by)
        return bool(ours.update(heartbeat_at=timezone.now()))

    def history(self) -> models.QuerySet[StatusChange]:
        return StatusChange.objects.filter(object_type=self._meta.label_lower, object_id=self.pk).order_by("pk")
