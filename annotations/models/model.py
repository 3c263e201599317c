from django.conf import settings
from django.db import models


class Model(models.Model):
    """Whatever writes completions, under one unique name. Rows are made by whoever knows; nothing here asks whence."""

    class Kind(models.TextChoices):
        BASE = "base"
        ADAPTER = "adapter"
        ENDPOINT = "endpoint"
        IMPORTED = "imported"
        IDEAL = "ideal", "edited ideal"

    name = models.CharField(max_length=120, unique=True)
    kind = models.CharField(max_length=20, choices=Kind)
    base = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="adapters")
    path = models.CharField(max_length=500, blank=True, help_text="Directory of weights (base) or of the adapter.")
    sha256 = models.CharField(max_length=64, blank=True, help_text="Hash of the weights in path.")
    url = models.URLField(blank=True, help_text="Root of an OpenAI-compatible server, up to and including /v1.")
    served_name = models.CharField(max_length=200, blank=True, help_text="The model's name on that server.")
    annotator = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                condition=~models.Q(kind="adapter") | (models.Q(base__isnull=False) & ~models.Q(path="")),
                name="model_adapter_has_base_and_path",
            ),
            models.CheckConstraint(
                condition=~models.Q(kind="endpoint") | ~models.Q(url=""), name="model_endpoint_has_url"
            ),
            models.CheckConstraint(condition=~models.Q(kind="base") | ~models.Q(path=""), name="model_base_has_path"),
        ]

    def __str__(self) -> str:
        return self.name
