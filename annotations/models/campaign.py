"""Campaign → item → assignment → judgement → revision: the path of every answer. Its design is in ``design.py``."""

import hmac
import secrets
import uuid
from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import F, Q


def new_secret() -> str:
    """What a campaign's order and sides are drawn with, besides its seed."""
    return secrets.token_hex(16)


class Campaign(models.Model):
    """One round of judging. ``rubric`` is what annotators were shown, frozen when the campaign was planned."""

    class Kind(models.TextChoices):
        COMPARISON = "comparison"
        LIKERT = "likert"
        LABEL = "label"
        CORRECTNESS = "correctness"

    class Consensus(models.TextChoices):
        MAJORITY = "majority", "majority: more than half"
        UNANIMOUS = "unanimous", "unanimous: all of them"
        MEAN = "mean", "mean of the points"  # Likert only
        ADJUDICATED = "adjudicated", "adjudicated: all of them, else the lead decides"

    study = models.ForeignKey("annotations.Study", on_delete=models.CASCADE, related_name="campaigns")
    # What annotators see in the address bar: opaque, so that it says nothing about when or what (C6).
    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    name = models.CharField(max_length=120)
    kind = models.CharField(max_length=20, choices=Kind)
    split = models.CharField(max_length=20, blank=True)
    overlap = models.PositiveIntegerField(help_text="The largest of its items' overlaps; an item's own is what counts.")
    consensus = models.CharField(max_length=20, choices=Consensus, default=Consensus.MAJORITY)
    seed = models.PositiveBigIntegerField(default=0)
    # The seed is guessed at once (0, 1), and the code is public: without this, anybody who judges could work out order
    # and sides. Not shown while the campaign is open (C6), kept so that the draws can be repeated.
    secret = models.CharField(max_length=32, default=new_secret, editable=False)
    # The version in force; every version, this one too, is a RubricVersion. Keys, the later ones absent in old rows:
    # {"instructions", "criteria": […], "label_fields": […], "show_reference": bool, "reason": "optional"|"required"|
    #  "none", "chips": [text], "marks": bool (sentence-level marks), "ideal": bool (edit to ideal)}
    rubric = models.JSONField()
    rubric_version = models.PositiveIntegerField(default=1)
    annotators = models.ManyToManyField(
        settings.AUTH_USER_MODEL, related_name="campaigns", through="annotations.Participation"
    )
    max_per_annotator = models.PositiveIntegerField(
        null=True, blank=True, help_text="Most items one annotator is given; hidden repeats and gold items count."
    )
    route_by = models.CharField(
        max_length=80, blank=True, help_text="The case's metadata that must be among an annotator's specialties."
    )
    apart = models.PositiveIntegerField(
        default=5, help_text="Other items between two items of one case for one annotator, as far as there are any."
    )
    gold_rate = models.FloatField(default=0, help_text="Share of an annotator's items that are gold items.")
    repeat_rate = models.FloatField(default=0, help_text="Share of an annotator's items judged a second time, unseen.")
    training_pass_mark = models.FloatField(
        null=True, blank=True, help_text="Share of training items to get right before judging; null: no training round."
    )
    # {"items": how many an annotator is asked to guess (0: nobody is asked), "arms": {str(model id): neutral wording}}
    blinding_check = models.JSONField(default=dict, blank=True)
    # What was asked for at planning, for the record: pairs, overlap share and strata, rates, outputs that name
    # themselves ({"names_itself": {model's name: [external_id]}}), …
    design = models.JSONField(default=dict, blank=True)
    dropped = models.JSONField(
        default=dict, help_text="Cases without an item, by reason: {reason: [external_id]} (C4)."
    )
    simulated = models.BooleanField(default=False, help_text="Judgements made by a program, for demonstration.")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    closed_at = models.DateTimeField(null=True, blank=True)
    reopened_at = models.DateTimeField(null=True, blank=True, help_text="When it was last opened again.")
    # Last, because the name hides django.db.models from the lines below it.
    models = models.ManyToManyField("annotations.Model", related_name="campaigns", blank=True)

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(fields=["study", "name"], name="campaign_name_unique"),
            models.CheckConstraint(condition=Q(overlap__gte=1), name="campaign_overlap_positive"),
            models.CheckConstraint(
                condition=Q(gold_rate__gte=0, gold_rate__lt=1, repeat_rate__gte=0, repeat_rate__lt=1),
                name="campaign_rates_are_shares",
            ),
            models.CheckConstraint(
                condition=Q(training_pass_mark__isnull=True) | Q(training_pass_mark__gte=0, training_pass_mark__lte=1),
                name="campaign_pass_mark_is_share",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_open(self) -> bool:
        return self.closed_at is None

    def draw(self, *of: object) -> bytes:
        """32 bytes that depend on secret, seed and ``of`` alone, and that nobody without the secret can compute."""
        message = ":".join(str(part) for part in (self.seed, *of))
        return hmac.digest(self.secret.encode(), message.encode(), "sha256")

    def guessing_begun_by(self, user_id: int) -> bool:
        """Whether this annotator has begun the blinding check: their work in the campaign is then finished."""
        if not self.blinding_check.get("items"):
            return False
        return Assignment.objects.filter(item__campaign=self, annotator=user_id, guess__isnull=False).exists()


class ItemQuerySet(models.QuerySet["Item"]):
    def regular(self) -> Self:
        """Items that are questions of the campaign: no hidden repeats, no gold and no training items."""
        return self.filter(repeat_of__isnull=True, gold__isnull=True)


class Item(models.Model):
    """What is judged: a pair (both completions), a completion (a only) or a case (neither).

    Completions of a pair are stored in the fixed order of their models' names: sides belong to the assignment.
    """

    campaign = models.ForeignKey(Campaign, on_delete=models.CASCADE, related_name="items")
    case = models.ForeignKey("annotations.Case", on_delete=models.PROTECT, related_name="items")
    completion_a = models.ForeignKey(
        "annotations.Completion", null=True, blank=True, on_delete=models.PROTECT, related_name="items_a"
    )
    completion_b = models.ForeignKey(
        "annotations.Completion", null=True, blank=True, on_delete=models.PROTECT, related_name="items_b"
    )
    position = models.PositiveIntegerField(help_text="Shuffled order within the campaign.")
    # Judgements wanted. An item outside overlap (repeat, gold, training) wants none in particular: 0.
    overlap = models.PositiveIntegerField(default=1)
    tag = models.CharField(max_length=80, blank=True, help_text="The specialty it needs, in lower case; empty: any.")
    repeat_of = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="repeats")
    # The known answer: {"outcome", "strength", "values", "feedback": text}, as in a Revision; null: none is known.
    gold = models.JSONField(null=True, blank=True)
    training = models.BooleanField(default=False, help_text="Judged first, with feedback; a gold item is not.")

    objects = ItemQuerySet.as_manager()

    class Meta:
        ordering = ["campaign", "position"]
        constraints = [
            models.UniqueConstraint(fields=["campaign", "position"], name="item_position_unique"),
            models.CheckConstraint(
                condition=Q(completion_b__isnull=True) | Q(completion_a__isnull=False), name="item_b_needs_a"
            ),
            models.CheckConstraint(
                condition=Q(completion_b__isnull=True) | ~Q(completion_a=F("completion_b")), name="item_pair_differs"
            ),
            models.CheckConstraint(
                condition=Q(overlap__gte=1) | Q(repeat_of__isnull=False) | Q(gold__isnull=False),
                name="item_overlap_positive",
            ),
            models.CheckConstraint(
                condition=Q(training=False) | Q(gold__isnull=False, repeat_of__isnull=True),
                name="item_training_has_known_answer",
            ),
        ]

    def __str__(self) -> str:
        return f"item {self.pk}"

    @property
    def is_regular(self) -> bool:
        return self.repeat_of_id is None and self.gold is None


class Assignment(models.Model):
    """An item given to one annotator. Its UUID is the only id an annotator meets (C6)."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    item = models.ForeignKey(Item, on_delete=models.CASCADE, related_name="assignments")
    annotator = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="assignments")
    # Drawn once, from a blocked sequence per annotator and model pair; null where there is no pair.
    a_is_left = models.BooleanField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)
    lease_expires_at = models.DateTimeField()
    submitted_at = models.DateTimeField(null=True, blank=True)
    skipped_at = models.DateTimeField(null=True, blank=True)
    skip_reason = models.CharField(max_length=300, blank=True)
    released_at = models.DateTimeField(
        null=True, blank=True, help_text="A lead took it back: its place is free, and it is not offered here again."
    )
    active_seconds = models.FloatField(default=0)
    draft = models.JSONField(null=True, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["item", "annotator"], name="assignment_once_per_annotator")]
        indexes = [models.Index(fields=["annotator", "submitted_at"])]

    def __str__(self) -> str:
        return f"assignment {self.pk}"


class Judgement(models.Model):
    """That an annotator judged an item. What they said is in its revisions; nothing is overwritten."""

    assignment = models.OneToOneField(Assignment, on_delete=models.PROTECT, related_name="judgement")
    item = models.ForeignKey(Item, on_delete=models.PROTECT, related_name="judgements")
    annotator = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="judgements")
    surplus = models.BooleanField(default=False, help_text="Beyond the overlap: kept, used for agreement only.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["item", "annotator"], name="judgement_once_per_annotator")]

    def __str__(self) -> str:
        return f"judgement {self.pk}"


class Revision(models.Model):
    """One version of a judgement. Exactly one is current; an undo is a revision with outcome ``withdrawn``."""

    class Outcome(models.TextChoices):
        PREFER_A = "prefer_a"  # a and b in the item's fixed order, never the side shown
        PREFER_B = "prefer_b"
        TIE = "tie", "tie, both good"
        BOTH_UNACCEPTABLE = "both_unacceptable"
        JUDGED = "judged"  # likert, label, correctness: the answer is in values
        CANNOT_JUDGE = "cannot_judge"
        DEFECTIVE = "defective", "defective item"
        WITHDRAWN = "withdrawn"

    class Strength(models.TextChoices):
        SLIGHTLY = "slightly"
        CLEARLY = "clearly"

    class CannotJudge(models.TextChoices):
        MISSING_INFORMATION = "missing_information"
        OUTSIDE_MY_FIELD = "outside_my_field"

    judgement = models.ForeignKey(Judgement, on_delete=models.CASCADE, related_name="revisions")
    number = models.PositiveIntegerField(default=1)
    is_current = models.BooleanField(default=True)
    outcome = models.CharField(max_length=20, choices=Outcome)
    strength = models.CharField(max_length=10, choices=Strength, blank=True)
    cannot_judge = models.CharField(max_length=20, choices=CannotJudge, blank=True)
    chosen = models.ForeignKey(
        "annotations.Completion", null=True, blank=True, on_delete=models.PROTECT, related_name="chosen_in"
    )
    # likert: {criterion: 1 …}; label: {field: value}; correctness: {"correctness": "correct"|"partly"|"incorrect"}
    values = models.JSONField(default=dict, blank=True)
    reason = models.TextField(blank=True, help_text="The annotator's rationale.")
    chips = models.JSONField(default=list, blank=True, help_text="Reason chips chosen, by their texts.")
    # [{"output": "a"|"b" (fixed order, never the side), "sentence": n from 0, "quote", "kind": "correct"|"wrong"|
    #   "omission", "severity": ""|"minor"|"major"|"dangerous"}]
    marks = models.JSONField(default=list, blank=True)
    ideal = models.ForeignKey(
        "annotations.Completion", null=True, blank=True, on_delete=models.PROTECT, related_name="ideal_in"
    )
    flagged = models.BooleanField(default=False, help_text="The annotator wants the lead to look at it.")
    rubric_version = models.PositiveIntegerField(default=1)
    change_reason = models.CharField(max_length=300, blank=True, help_text="Why this revision was made.")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["judgement", "number"]
        constraints = [
            models.UniqueConstraint(fields=["judgement", "number"], name="revision_number_unique"),
            models.UniqueConstraint(
                fields=["judgement"], condition=Q(is_current=True), name="revision_one_current_per_judgement"
            ),
            models.CheckConstraint(
                condition=Q(outcome__in=["prefer_a", "prefer_b"], chosen__isnull=False)
                | (~Q(outcome__in=["prefer_a", "prefer_b"]) & Q(chosen__isnull=True)),
                name="revision_preference_has_chosen",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.judgement} revision {self.number}"
