from django.conf import settings
from django.db import models

from annotations.models.status import StatusRow


class Generation(StatusRow):
    """One job: completions of one model for the cases of a split (or of a list), in a worker."""

    study = models.ForeignKey("annotations.Study", on_delete=models.CASCADE, related_name="generations")
    model = models.ForeignKey("annotations.Model", on_delete=models.PROTECT, related_name="generations")
    split = models.CharField(max_length=20, blank=True, help_text="Empty: every split.")
    case_ids = models.JSONField(null=True, blank=True, help_text="Only these cases, where given.")
    limit = models.PositiveIntegerField(null=True, blank=True)
    n = models.PositiveIntegerField(default=1, help_text="Completions a case.")
    sampling = models.JSONField(default=dict)  # {"temperature", "top_p", "max_tokens", "seed"}
    skipped = models.JSONField(
        default=dict, help_text="Cases without a completion, by reason: {reason: [external_id]}."
    )
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")

    def __str__(self) -> str:
        return f"generation {self.pk}"


class Completion(models.Model):
    """What a model returned for a case. Immutable; a parsed label stands beside it with the parser's version."""

    case = models.ForeignKey("annotations.Case", on_delete=models.CASCADE, related_name="completions")
    model = models.ForeignKey("annotations.Model", on_delete=models.PROTECT, related_name="completions")
    generation = models.ForeignKey(
        Generation, null=True, blank=True, on_delete=models.PROTECT, related_name="completions"
    )
    text = models.TextField()
    index = models.PositiveIntegerField(default=0, help_text="0 … n-1 of the completions asked for a case.")
    sampling = models.JSONField(default=dict)
    # Hash of sampling, prompt and model weights: with case, model and index it makes a repeated job idempotent.
    key = models.CharField(max_length=64)
    model_sha256 = models.CharField(max_length=64, blank=True)
    prompt_sha256 = models.CharField(max_length=64, blank=True)
    template_version = models.PositiveIntegerField(null=True)
    finish_reason = models.CharField(max_length=20, blank=True)
    tokens = models.PositiveIntegerField(null=True)
    # {label field: value or null (unparsed)}; {"answer": …} for reasoning; {} where nothing is parsed.
    parsed = models.JSONField(default=dict, blank=True)
    parser_version = models.PositiveIntegerField(null=True)
    edited_from = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="edits", help_text="Of an edited ideal."
    )
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["case", "model", "key", "index"], name="completion_once_per_request"),
        ]

    def __str__(self) -> str:
        return f"completion {self.pk}"
