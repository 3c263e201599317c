from datetime import timedelta

from django.conf import settings
from django.db import models
from django.utils import timezone


class Worker(models.Model):
    """A worker process, alive while its heartbeat is recent."""

    name = models.CharField(max_length=120, unique=True)
    queues = models.CharField(max_length=200)
    started_at = models.DateTimeField(auto_now_add=True)
    heartbeat_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.name

    @classmethod
    def alive(cls, queue: str) -> bool:
        """Whether some worker serves ``queue`` now."""
        since = timezone.now() - timedelta(seconds=settings.WORKER_ALIVE_SECONDS)
        rows = cls.objects.filter(heartbeat_at__gte=since).values_list("queues", flat=True)
        return any(queue in queues.split(",") for queues in rows)
