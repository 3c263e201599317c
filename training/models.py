"""Frozen datasets, runs and the adapters they made."""

from pathlib import Path

from django.conf import settings
from django.db import models

from annotations.models import StatusRow


class TrainingDataset(models.Model):
    """Frozen rows in TRL's conversational format, with lineage. The files never change after the row exists."""

    class Kind(models.TextChoices):
        SFT = "sft"
        PREFERENCE = "preference"
        KTO = "kto"

    study = models.ForeignKey("annotations.Study", on_delete=models.CASCADE, related_name="datasets")
    kind = models.CharField(max_length=20, choices=Kind)
    policy = models.JSONField(default=dict)
    campaigns = models.ManyToManyField("annotations.Campaign", related_name="datasets", blank=True)
    directory = models.CharField(max_length=200, unique=True, help_text="Under DATASETS_DIR.")
    sha256 = models.CharField(max_length=64, help_text="Of manifest.json, which holds the hashes of the other files.")
    n_train = models.PositiveIntegerField()
    n_validation = models.PositiveIntegerField()
    dropped = models.JSONField(default=dict, help_text="{reason: count} (C4); the manifest lists which.")
    template_version = models.PositiveIntegerField()
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.kind} dataset {self.pk}"

    @property
    def path(self) -> Path:
        return settings.DATASETS_DIR / self.directory


class DatasetRow(models.Model):
    """Lineage of one training row (C5): what it was made from."""

    dataset = models.ForeignKey(TrainingDataset, on_delete=models.CASCADE, related_name="rows")
    split = models.CharField(max_length=20)
    position = models.PositiveIntegerField(help_text="Line in the split's file, from 0.")
    case = models.ForeignKey("annotations.Case", on_delete=models.PROTECT, related_name="dataset_rows")
    chosen = models.ForeignKey("annotations.Completion", null=True, on_delete=models.PROTECT, related_name="+")
    rejected = models.ForeignKey("annotations.Completion", null=True, on_delete=models.PROTECT, related_name="+")
    judgement_ids = models.JSONField(default=list)

    class Meta:
        ordering = ["dataset", "split", "position"]
        constraints = [
            models.UniqueConstraint(fields=["dataset", "split", "position"], name="dataset_row_position_unique")
        ]

    def __str__(self) -> str:
        return f"{self.dataset} {self.split}[{self.position}]"


class Run(StatusRow):
    """One execution of a recipe. Its directory is contract C2."""

    class Method(models.TextChoices):
        SFT = "sft"
        DPO = "dpo"

    study = models.ForeignKey("annotations.Study", on_delete=models.CASCADE, related_name="runs")
    name = models.CharField(max_length=120, unique=True, help_text="The adapter becomes a model of this name.")
    method = models.CharField(max_length=10, choices=Method)
    base = models.ForeignKey("annotations.Model", on_delete=models.PROTECT, related_name="runs")
    dataset = models.ForeignKey(TrainingDataset, on_delete=models.PROTECT, related_name="runs")
    parent = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="children")
    hyperparameters = models.JSONField(default=dict)
    seed = models.PositiveBigIntegerField(default=0)
    directory = models.CharField(max_length=200, unique=True, help_text="Under RUNS_DIR.")
    pid = models.PositiveIntegerField(null=True, blank=True)
    step = models.PositiveIntegerField(default=0)
    max_steps = models.PositiveIntegerField(null=True, blank=True)
    result = models.JSONField(null=True, blank=True, help_text="result.json, once there.")
    model = models.OneToOneField(
        "annotations.Model", null=True, blank=True, on_delete=models.PROTECT, related_name="made_by_run"
    )
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.CheckConstraint(
                condition=~models.Q(status="succeeded") | models.Q(model__isnull=False), name="run_succeeded_has_model"
            )
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def path(self) -> Path:
        return settings.RUNS_DIR / self.directory
