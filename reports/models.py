"""Evaluations (arms on one split, same decoding) and frozen reports."""

from pathlib import Path

from django.conf import settings
from django.db import models

from annotations.models import StatusRow


class Evaluation(StatusRow):
    """Completions of every arm on one split with the same decoding, then scored or judged blind."""

    study = models.ForeignKey("annotations.Study", on_delete=models.CASCADE, related_name="evaluations")
    split = models.CharField(max_length=20, default="test")
    sampling = models.JSONField(default=dict)
    case_ids = models.JSONField(default=list, help_text="The cases evaluated, fixed when it was started.")
    excluded = models.JSONField(default=dict, help_text="{reason: [external_id]}: leaked, over-long… (C4, C7).")
    leak_override = models.TextField(blank=True, help_text="Why leaked cases were kept; the report prints it.")
    generations = models.ManyToManyField("annotations.Generation", related_name="evaluations", blank=True)
    # The completions compared, one an arm and case, fixed when the evaluation succeeded (C5).
    completions = models.ManyToManyField("annotations.Completion", related_name="evaluations", blank=True)
    campaigns = models.ManyToManyField("annotations.Campaign", related_name="evaluations", blank=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"evaluation {self.pk}"


class Arm(models.Model):
    """A model as compared in an evaluation, in the order given."""

    evaluation = models.ForeignKey(Evaluation, on_delete=models.CASCADE, related_name="arms")
    model = models.ForeignKey("annotations.Model", on_delete=models.PROTECT, related_name="arms")
    position = models.PositiveIntegerField()

    class Meta:
        ordering = ["evaluation", "position"]
        constraints = [
            models.UniqueConstraint(fields=["evaluation", "model"], name="arm_once_per_evaluation"),
            models.UniqueConstraint(fields=["evaluation", "position"], name="arm_position_unique"),
        ]

    def __str__(self) -> str:
        return str(self.model)


class Report(models.Model):
    """A frozen report: files in a directory, never changed afterwards."""

    study = models.ForeignKey("annotations.Study", on_delete=models.CASCADE, related_name="reports")
    evaluations = models.ManyToManyField(Evaluation, related_name="reports", blank=True)
    campaigns = models.ManyToManyField("annotations.Campaign", related_name="reports", blank=True)
    directory = models.CharField(max_length=200, unique=True, help_text="Under REPORTS_DIR.")
    sha256 = models.CharField(max_length=64, help_text="Of report.json.")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"report {self.pk}"

    @property
    def path(self) -> Path:
        return settings.REPORTS_DIR / self.directory
