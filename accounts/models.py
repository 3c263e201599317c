"""People and what they did."""

from typing import Any

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models.functions import Lower


class User(AbstractUser):
    """A person who signs in. ``is_superuser`` is the site admin; study roles are memberships in ``annotations``."""

    # What differs from the defaults: {"off": true, "keys": {action: key}}. Whoever has keys says what they mean.
    shortcuts = models.JSONField(default=dict, blank=True)

    class Meta(AbstractUser.Meta):  # type: ignore[name-defined]
        # "Anna" beside "anna" would be an impersonation.
        constraints = [models.UniqueConstraint(Lower("username"), name="user_username_unique_whatever_case")]

    def __str__(self) -> str:
        return self.get_full_name() or self.username


class AuditEvent(models.Model):
    """One line of the audit trail: append only. ``detail`` holds ids and settings, never clinical text."""

    at = models.DateTimeField(auto_now_add=True)
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    action = models.CharField(max_length=60)
    object_type = models.CharField(max_length=60)
    object_id = models.CharField(max_length=64)
    detail = models.JSONField(default=dict)

    class Meta:
        indexes = [models.Index(fields=["object_type", "object_id"])]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M} {self.action} {self.object_type} {self.object_id}"


def audit(actor: User | None, action: str, target: models.Model, **detail: Any) -> AuditEvent:
    """Append to the audit trail what ``actor`` did to ``target`` (``None``: a command or a worker)."""
    return AuditEvent.objects.create(
        actor=actor, action=action, object_type=target._meta.label_lower, object_id=str(target.pk), detail=detail
    )


class SignInFailure(models.Model):
    """A wrong password, kept ten minutes so that guessing can be slowed down."""

    username = models.CharField(max_length=150)
    address = models.CharField(max_length=45)
    at = models.DateTimeField(auto_now_add=True, db_index=True)

    def __str__(self) -> str:
        return f"{self.username} at {self.at:%H:%M}"
