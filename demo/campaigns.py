"""The first campaigns: one of each kind, short, for the three clinicians of the demo."""

from collections.abc import Callable
from typing import Any

from django.conf import settings

from accounts.models import User
from annotations.designs import Design, Source
from annotations.known_answers import REFERENCES
from annotations.models import Case, Model, Study
from annotations.planning import plan_campaign
from demo.completions import completions

CLINICIANS = ["anna", "ben", "chidi"]


def make_first_campaigns(people: dict[str, User], say: Callable[[str], None]) -> None:
    """What is there already stays. Labels need no model, so they come first and can be judged while others write."""
    lena = people["lena"]
    annotators = [people[name] for name in CLINICIANS]

    def plan(slug: str, name: str, **fields: Any) -> None:
        study = Study.objects.get(slug=slug)
        if study.campaigns.filter(name=name).exists():
            return
        made = plan_campaign(study=study, name=name, annotators=annotators, split="train", seed=1, actor=lena, **fields)
        say(f"  “{name}” is open: {made.items.count()} items ({made.get_kind_display().lower()}).")

    say("Opening a first campaign of each kind …")
    triage = Case.objects.filter(study__slug="triage", split="train").order_by("pk")
    plan(
        "triage",
        "Who, and how soon?",
        kind="label",
        overlap=2,
        case_ids=list(triage.values_list("pk", flat=True)[:20]),
        # Two items with feedback to begin with, and some with a known answer in between.
        design=Design(
            known_answers=Source(REFERENCES), training_items=2, training_pass_mark=0.5, gold_rate=0.1, repeat_rate=0.1
        ),
    )
    base = Model.objects.get(name=settings.EMBEDDED_MODEL_NAME)
    summaries, vignettes = Study.objects.get(slug="summaries"), Study.objects.get(slug="vignettes")
    completions(summaries, base, n=2, limit=6, actor=lena)
    plan(
        "summaries", "First look", kind="comparison", overlap=3, models=[base], design=Design(criteria=True, ideal=True)
    )
    plan("summaries", "Grades", kind="likert", overlap=3, models=[base], design=Design(marks=True))
    completions(vignettes, base, n=1, limit=6, actor=lena)
    plan("vignettes", "Right or wrong?", kind="correctness", overlap=2, models=[base], design=Design())
