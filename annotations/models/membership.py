from django.conf import settings
from django.db import models


class Role(models.TextChoices):
    LEAD = "lead"
    ANNOTATOR = "annotator"
    VIEWER = "viewer"


class Membership(models.Model):
    """A person's role in a study. ``pseudonym`` stands for them in exports and reports."""

    Role = Role

    study = models.ForeignKey("annotations.Study", on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="memberships")
    role = models.CharField(max_length=20, choices=Role)
    pseudonym = models.CharField(max_length=40)
    specialty = models.CharField(max_length=80, blank=True, help_text="One, or several separated by commas.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["study", "user"], name="membership_once_per_study"),
            models.UniqueConstraint(fields=["study", "pseudonym"], name="membership_pseudonym_unique"),
        ]

    def __str__(self) -> str:
        return f"{self.user} ({self.role})"

    @property
    def specialties(self) -> set[str]:
        """In lower case, as an item's tag is."""
        return {name.strip().lower() for name in self.specialty.split(",") if name.strip()}


class Invitation(models.Model):
    """A link that gives whoever opens it a role in a study, once. Only the token's SHA-256 is kept."""

    study = models.ForeignKey("annotations.Study", on_delete=models.CASCADE, related_name="invitations")
    role = models.CharField(max_length=20, choices=Role)
    email = models.EmailField(blank=True)
    token_sha256 = models.CharField(max_length=64, unique=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    accepted_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    accepted_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"invitation to {self.study} as {self.role}"
