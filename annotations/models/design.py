"""What surrounds a campaign's answers: who takes part, the rubric's versions, decisions, looks, guesses and harm."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q


class Participation(models.Model):
    """An annotator's part in a campaign. Taking somebody off deletes the row; what they judged stays."""

    campaign = models.ForeignKey("annotations.Campaign", on_delete=models.CASCADE, related_name="participations")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="participations")
    max_items = models.PositiveIntegerField(
        null=True, blank=True, help_text="In place of the campaign's max_per_annotator."
    )
    training_round = models.PositiveIntegerField(default=1, help_text="Which attempt at the training items this is.")
    training_passed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        # The table that Django made for the many-to-many field, before it had columns of its own.
        db_table = "annotations_campaign_annotators"
        unique_together = [("campaign", "user")]

    def __str__(self) -> str:
        return f"{self.user} in {self.campaign}"


class RubricVersion(models.Model):
    """One version of what annotators of a campaign were shown. A revision names the version it was given under."""

    campaign = models.ForeignKey("annotations.Campaign", on_delete=models.CASCADE, related_name="rubric_versions")
    number = models.PositiveIntegerField()
    content = models.JSONField()
    reason = models.CharField(max_length=300, blank=True, help_text="Why it was changed; empty for the first.")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["campaign", "number"]
        constraints = [models.UniqueConstraint(fields=["campaign", "number"], name="rubric_version_unique")]

    def __str__(self) -> str:
        return f"rubric {self.number} of {self.campaign}"


class Adjudication(models.Model):
    """A lead's decision on an item whose annotators don't agree. A later decision replaces it and is kept beside it."""

    item = models.ForeignKey("annotations.Item", on_delete=models.PROTECT, related_name="adjudications")
    # As in a Revision; a and b in the item's fixed order.
    outcome = models.CharField(max_length=20)
    strength = models.CharField(max_length=10, blank=True)
    chosen = models.ForeignKey(
        "annotations.Completion", null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    values = models.JSONField(default=dict, blank=True)
    reason = models.TextField()
    is_current = models.BooleanField(default=True)
    decided_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["item", "pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["item"], condition=Q(is_current=True), name="adjudication_one_current_per_item"
            ),
            models.CheckConstraint(
                condition=Q(outcome__in=["prefer_a", "prefer_b"], chosen__isnull=False)
                | (~Q(outcome__in=["prefer_a", "prefer_b"]) & Q(chosen__isnull=True)),
                name="adjudication_preference_has_chosen",
            ),
        ]

    def __str__(self) -> str:
        return f"adjudication of {self.item}"


class Unblinding(models.Model):
    """A look at the arms of an open campaign: who, when and why. Reports print it."""

    campaign = models.ForeignKey("annotations.Campaign", on_delete=models.PROTECT, related_name="unblindings")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    reason = models.CharField(max_length=300)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["campaign", "pk"]

    def __str__(self) -> str:
        return f"{self.campaign} unblinded for {self.user}"


class Guess(models.Model):
    """At a campaign's end: which arm an annotator thinks wrote a completion. ``guessed`` null: don't know."""

    assignment = models.OneToOneField("annotations.Assignment", on_delete=models.PROTECT, related_name="guess")
    completion = models.ForeignKey("annotations.Completion", on_delete=models.PROTECT, related_name="+")
    guessed = models.ForeignKey("annotations.Model", null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"guess on {self.assignment_id}"


class HarmReport(models.Model):
    """Something in an output (or a case) that could hurt a patient, told to the leads at once."""

    class Severity(models.TextChoices):
        MILD = "mild", "mild: discomfort, or a delay without consequence"
        MODERATE = "moderate", "moderate: treatment or a longer stay would be needed"
        SEVERE = "severe", "severe: lasting harm"
        LIFE_THREATENING = "life_threatening", "life-threatening or fatal"

    # The browser makes it, so that a report that is sent twice is one report.
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    assignment = models.ForeignKey("annotations.Assignment", on_delete=models.PROTECT, related_name="harm_reports")
    # Null where it is about the case itself.
    completion = models.ForeignKey(
        "annotations.Completion", null=True, blank=True, on_delete=models.PROTECT, related_name="harm_reports"
    )
    severity = models.CharField(max_length=20, choices=Severity)
    quote = models.TextField(blank=True, help_text="The passage, word for word.")
    description = models.TextField(help_text="What could happen to the patient.")
    reported_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    notified_at = models.DateTimeField(null=True, blank=True, help_text="When a mail to the leads was accepted.")
    acknowledged_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    acknowledged_at = models.DateTimeField(null=True, blank=True)
    resolution = models.TextField(blank=True, help_text="What the lead did about it.")

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.CheckConstraint(
                condition=Q(acknowledged_at__isnull=True) | Q(acknowledged_by__isnull=False),
                name="harm_acknowledged_by_somebody",
            )
        ]

    def __str__(self) -> str:
        return f"harm report {self.pk}"
