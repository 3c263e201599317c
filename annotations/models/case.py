from django.conf import settings
from django.db import models


class CaseImport(models.Model):
    """One imported file: what came in and what it was."""

    study = models.ForeignKey("annotations.Study", on_delete=models.CASCADE, related_name="case_imports")
    filename = models.CharField(max_length=255)
    sha256 = models.CharField(max_length=64)
    rows = models.PositiveIntegerField()
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.filename} ({self.rows} cases)"


class Case(models.Model):
    """One model input. ``group`` is the patient or encounter; splits are assigned by group (C7)."""

    class Split(models.TextChoices):
        TRAIN = "train"
        VALIDATION = "validation"
        TEST = "test"

    study = models.ForeignKey("annotations.Study", on_delete=models.CASCADE, related_name="cases")
    imported = models.ForeignKey(CaseImport, on_delete=models.PROTECT, related_name="cases")
    external_id = models.CharField(max_length=120)
    group = models.CharField(max_length=120)
    split = models.CharField(max_length=20, choices=Split)
    inputs = models.JSONField(help_text='What the prompt is built from, for example {"text": "…"}.')
    # {} where there is none; {"text": "…"} for summaries and answers; {label field: value} for labels.
    reference = models.JSONField(default=dict, blank=True)
    metadata = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering = ["pk"]
        constraints = [models.UniqueConstraint(fields=["study", "external_id"], name="case_external_id_unique")]
        indexes = [
            models.Index(fields=["study", "split"]),
            models.Index(fields=["study", "group"]),
        ]

    def __str__(self) -> str:
        return self.external_id
