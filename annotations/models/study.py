from typing import Any

from django.conf import settings
from django.db import models


class Study(models.Model):
    """One task, its cases, its people, its analysis plan."""

    class Task(models.TextChoices):
        CLASSIFICATION = "classification"
        TRIAGE = "triage"
        REASONING = "reasoning"
        SUMMARISATION = "summarisation"

    slug = models.SlugField(unique=True, max_length=60)
    title = models.CharField(max_length=200)
    task = models.CharField(max_length=20, choices=Task)
    description = models.TextField(blank=True)
    instructions = models.TextField(blank=True, help_text="What annotators read before judging (Markdown).")
    synthetic = models.BooleanField(
        default=False, help_text="Cases written for demonstration; said wherever they show."
    )

    # C10: the only prompt. {name} stands for an input field of the case.
    system_prompt = models.TextField()
    user_template = models.TextField(default="{text}")
    template_version = models.PositiveIntegerField(default=1)

    # [{"name", "title", "level": "nominal"|"ordinal", "labels": [{"value", "title", "help"}], "positive": value|null}]
    label_fields = models.JSONField(default=list, blank=True)
    # [{"name", "title", "question", "anchors": ["1: …", …]}]: as many points as anchors, the worst first.
    criteria = models.JSONField(default=list, blank=True)
    # Short reasons that annotators choose with one touch: ["invents a finding", …].
    reason_chips = models.JSONField(default=list, blank=True)

    # C12: {"primary_metric", "primary_criterion", "arms", "contrasts": [[a, b], …], "family", "partly_counts", …}
    analysis = models.JSONField(default=dict, blank=True)
    analysis_locked_at = models.DateTimeField(null=True, blank=True)
    analysis_sha256 = models.CharField(max_length=64, blank=True)

    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name_plural = "studies"
        ordering = ["slug"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(analysis_locked_at__isnull=True) | ~models.Q(analysis_sha256=""),
                name="study_locked_analysis_has_hash",
            )
        ]

    def __str__(self) -> str:
        return self.title

    def label_field(self, name: str) -> dict[str, Any]:
        """The label field called ``name``; KeyError if the study has none."""
        for field in self.label_fields:
            if field["name"] == name:
                return dict(field)
        raise KeyError(name)
