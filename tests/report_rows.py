"""Rows that the reports' tests start from: finished evaluations and judged campaigns, laid out by hand."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.utils import timezone

from accounts.models import User
from annotations import parsing
from annotations.models import Assignment, Campaign, Case, Completion, Item, Judgement, Model, Revision, Study
from reports import analysis
from reports.models import Arm, Evaluation
from tests.factories import make_cases, make_completion, make_study

YES_NO = {
    "gold": ["yes", "yes", "yes", "yes", "no", "no", "no", "no"],
    "base": ["yes", "no", "no", "yes", "no", "no", "yes", "I cannot say"],
    "sft": ["yes", "yes", "yes", "no", "no", "no", "no", "no"],
}


def evaluate(study: Study, texts: dict[str, Sequence[str | None]], cases: list[Case]) -> Evaluation:
    """A finished evaluation whose arms wrote these texts, one a case (None: no output). Locks the plan."""
    models = [Model.objects.get_or_create(name=name, defaults={"kind": "imported"})[0] for name in texts]
    # Few resamples: what the tests ask of intervals and P values doesn't depend on them.
    analysis.lock(study, changes=None if study.analysis_locked_at else {"arms": list(texts), "n_resamples": 500})
    made = Evaluation.objects.create(
        study=study, status="succeeded", case_ids=[case.pk for case in cases], sampling={"temperature": 0.0, "seed": 0}
    )
    for position, (model, written) in enumerate(zip(models, texts.values(), strict=True)):
        Arm.objects.create(evaluation=made, model=model, position=position)
        for case, text in zip(cases, written, strict=True):
            if text is not None:
                parsed = parsing.parse(study, text)
                key = f"{made.pk}".rjust(64, "0")
                made.completions.add(make_completion(case, model, text=text or " ", parsed=parsed, key=key))
    return made


def yes_no(**study_fields: Any) -> Evaluation:
    """Eight cases. base: F1 4/7, accuracy 4/8 with one unparsed. sft: F1 6/7, accuracy 7/8."""
    study = make_study("classification", **study_fields)
    cases = [make_cases(study, 1, "test", reference={"label": label})[0] for label in YES_NO["gold"]]
    return evaluate(study, {"base": YES_NO["base"], "sft": YES_NO["sft"]}, cases)


def summaries(n: int = 4, arms: Sequence[str] = ("base", "sft"), **study_fields: Any) -> Evaluation:
    study = make_study("summarisation", **study_fields)
    cases = make_cases(study, n, "test")
    return evaluate(study, {arm: [f"{arm} on {case}" for case in cases] for arm in arms}, cases)


def campaign_on(
    evaluation: Evaluation, kind: str, annotators: Sequence[User], *, arms: Sequence[str] = (), **fields: Any
) -> Campaign:
    """One item a case and pair (in the order of the models' names) or a case and arm."""
    study = evaluation.study
    names = list(arms) or [arm.model.name for arm in evaluation.arms.select_related("model")]
    rubric = {
        "instructions": "",
        "criteria": study.criteria if kind == "likert" else [],
        "label_fields": study.label_fields,
    }
    made = Campaign.objects.create(
        study=study,
        name=fields.pop("name", kind),
        kind=kind,
        overlap=fields.pop("overlap", len(annotators)),
        rubric=rubric,
        **fields,
    )
    made.annotators.set(annotators)
    evaluation.campaigns.add(made)
    position = 0
    for case in Case.objects.filter(pk__in=evaluation.case_ids).order_by("pk"):
        own = {c.model.name: c for c in evaluation.completions.filter(case=case, model__name__in=names)}
        if kind == "comparison":
            ordered = sorted(own)
            slots: list[tuple[Completion, Completion | None]] = [
                (own[a], own[b]) for i, b in enumerate(ordered) for a in ordered[:i]
            ]
        else:
            slots = [(own[name], None) for name in names if name in own]
        for a, b in slots:
            Item.objects.create(
                campaign=made, case=case, completion_a=a, completion_b=b, position=position, overlap=made.overlap
            )
            position += 1
    return made


def judge(item: Item, annotator: User, outcome: str = "judged", *, surplus: bool = False, **values: Any) -> Judgement:
    """An answer as it stands after submitting; for pairs the outcome is prefer_a and so on."""
    now = timezone.now()
    assignment = Assignment.objects.create(
        item=item,
        annotator=annotator,
        lease_expires_at=now + timedelta(hours=1),
        submitted_at=now,
        active_seconds=20.0,
        a_is_left=True if item.completion_b_id else None,
    )
    made = Judgement.objects.create(assignment=assignment, item=item, annotator=annotator, surplus=surplus)
    chosen = {"prefer_a": item.completion_a, "prefer_b": item.completion_b}.get(outcome)
    Revision.objects.create(judgement=made, outcome=outcome, chosen=chosen, values=values, created_by=annotator)
    return made
