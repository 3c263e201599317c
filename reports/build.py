"""Freeze a report: numbers, figures, tables and pages in one directory that never changes afterwards."""

import hashlib
import json
import math
import os
import shutil
import tempfile
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from accounts.errors import UserError
from accounts.models import User, audit
from annotations.models import Assignment, Campaign, Membership, Status, Study
from reports import (
    agreement,
    analysis,
    authors,
    blinding,
    cautions,
    contrasts,
    distributions,
    exports,
    figures,
    flow,
    harm,
    methods,
    provenance,
    remarks,
    scoring,
)
from reports.measures import Measure, measures
from reports.models import Evaluation, Report
from reports.scoring import Outputs
from reports.votes import Judged, votes

SCHEMA = 1


def build(
    *,
    study: Study,
    evaluations: Sequence[Evaluation] = (),
    campaigns: Sequence[Campaign] = (),
    actor: User | None = None,
) -> Report:
    """Compute, draw and freeze a report. The same rows and seed give the same report.json but for ``created_at``.

    Raises UserError where there is nothing to report on, an evaluation is not finished, or (with an evaluation) the
    analysis plan is not locked.
    """
    check(study, evaluations, campaigns)
    found = collect(study, evaluations, campaigns)
    settings.REPORTS_DIR.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=settings.REPORTS_DIR))
    try:
        document = found.document | {"figures": figures.draw(found.document, draft / "figures")}
        document["created_at"] = timezone.now().isoformat(timespec="seconds")
        exports.write(document, found.tables, draft)
        target = settings.REPORTS_DIR / f"{study.slug}-{uuid.uuid4().hex[:12]}"
        os.replace(draft, target)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    try:
        return _record(study, evaluations, campaigns, target, actor)
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        raise


def check(study: Study, evaluations: Sequence[Evaluation], campaigns: Sequence[Campaign]) -> None:
    """Raise UserError for what can't be reported."""
    if not evaluations and not campaigns:
        raise UserError(
            "There is nothing to report on yet: this study has no finished evaluation and no campaign. "
            "Plan a campaign, or start an evaluation, first."
        )
    strangers = [str(row) for row in evaluations if row.study_id != study.pk]
    strangers += [str(row) for row in campaigns if row.study_id != study.pk]
    if strangers:
        raise UserError("These belong to another study.", strangers)
    if evaluations:
        analysis.require_lock(study)
    unfinished = [f"{e} is {e.status}" for e in evaluations if e.status != Status.SUCCEEDED]
    if unfinished:
        raise UserError("Only finished evaluations can be reported.", unfinished)


@transaction.atomic
def _record(
    study: Study, evaluations: Sequence[Evaluation], campaigns: Sequence[Campaign], target: Path, actor: User | None
) -> Report:
    sha256 = hashlib.sha256((target / "report.json").read_bytes()).hexdigest()
    report = Report.objects.create(study=study, directory=target.name, sha256=sha256, created_by=actor)
    report.evaluations.set(evaluations)
    report.campaigns.set(campaigns)
    audit(actor, "build report", report, sha256=sha256)
    return report


@dataclass(frozen=True)
class Collected:
    """The report's numbers, and tables that have a row a case."""

    document: dict[str, Any]
    tables: dict[str, list[dict[str, Any]]]


def collect(study: Study, evaluations: Sequence[Evaluation], campaigns: Sequence[Campaign]) -> Collected:
    """Everything the report says, from the rows as they are now. Writes nothing."""
    decided = analysis.plan(study)
    judged: Judged = {campaign: scoring.answers(campaign) for campaign in sorted(campaigns, key=lambda c: c.name)}
    loaded = [scoring.outputs(evaluation) for evaluation in sorted(evaluations, key=lambda e: e.pk)]
    scored = {found.evaluation.pk: votes(found, judged) for found in loaded}
    measured = {found.evaluation.pk: measures(found, scored[found.evaluation.pk], decided) for found in loaded}
    compared = contrasts.contrasts(study, loaded, measured, scored, decided)
    names = arm_names(loaded)
    wrote = authors.authors(judged, loaded, names)
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "study": {
            "slug": study.slug,
            "title": study.title,
            "task": study.task,
            "description": study.description,
            "synthetic": study.synthetic,
        },
        "plan": {
            **decided.to_dict(),
            "family_size": contrasts.family_size(study, decided),
            "unchanged": analysis.unchanged_since_lock(study) if study.analysis_locked_at else None,
            "locked_at": study.analysis_locked_at.isoformat() if study.analysis_locked_at else None,
            "sha256": study.analysis_sha256 or None,
        },
        "flow": flow.flow(study, loaded, judged, scored),
        "agreement": {c.name: agreement.campaign_agreement(c, rows, decided) for c, rows in judged.items()},
        "blinding": {c.name: blinding.campaign_blinding(c, decided) for c in judged if c.kind != Campaign.Kind.LABEL},
        "arms": _arms(names, measured),
        "contrasts": compared,
        "confusion": distributions.confusion(loaded, names),
        "likert": distributions.likert(loaded, scored, names),
        "harm": harm.harm(judged, wrote, decided),
        "remarks": remarks.remarks(judged, wrote),
        "annotators": _annotators(study, judged),
        "lineage": provenance.lineage(study, loaded, judged),
    }
    document["warnings"] = cautions.cautions(study, decided, loaded, judged, scored, measured, compared)
    document["warnings"] += cautions.of_blinding(document["blinding"])
    document["methods"] = methods.paragraphs(study, decided, document)
    tables = {
        "scores": _scores(loaded, measured),
        "exclusions": flow.exclusions(loaded, judged, measured),
    }
    return Collected(finite(document), tables)


def arm_names(loaded: Sequence[Outputs]) -> dict[tuple[int, str], str]:
    """What an arm is called in the report: its model's name, with the evaluation where the name comes twice."""
    names: dict[tuple[int, str], str] = {}
    for found in loaded:
        for arm in found.arms:
            taken = arm in names.values()
            names[found.evaluation.pk, arm] = f"{arm} ({found.evaluation})" if taken else arm
    return names


def _arms(names: dict[tuple[int, str], str], measured: dict[int, list[Measure]]) -> dict[str, dict[str, Any]]:
    arms: dict[str, dict[str, Any]] = {}
    for (pk, arm), name in names.items():
        arms[name] = {
            measure.key: {
                **measure.arms[arm].to_dict(),
                "title": measure.title,
                "metric": measure.metric,
                "criterion": measure.criterion,
                "left_out": {reason: n for reason, n in sorted(measure.left_out[arm].items()) if n},
            }
            for measure in measured[pk]
        }
    return arms


def _annotators(study: Study, judged: Judged) -> list[dict[str, Any]]:
    """By pseudonym: how many judgements, and the median of active seconds a judgement."""
    names = dict(Membership.objects.filter(study=study).values_list("user_id", "pseudonym"))
    specialty = dict(Membership.objects.filter(study=study).values_list("user_id", "specialty"))
    ids = sorted({answer.annotator_id for rows in judged.values() for answer in rows})
    lines = []
    for pk in ids:
        own = {campaign.name: sum(a.annotator_id == pk for a in rows) for campaign, rows in judged.items()}
        seconds = Assignment.objects.filter(
            annotator=pk, item__campaign__in=list(judged), submitted_at__isnull=False, active_seconds__gt=0
        ).values_list("active_seconds", flat=True)
        lines.append(
            {
                "annotator": names.get(pk, f"former member {ids.index(pk) + 1}"),
                "specialty": specialty.get(pk, ""),
                "judgements": sum(own.values()),
                "by_campaign": {name: n for name, n in own.items() if n},
                "median_active_seconds": round(median(seconds), 1) if seconds else None,
            }
        )
    return sorted(lines, key=lambda line: str(line["annotator"]))


def _scores(loaded: Sequence[Outputs], measured: dict[int, list[Measure]]) -> list[dict[str, Any]]:
    """One row a case, arm and measure: what the estimates were made from."""
    return [
        {
            "evaluation": found.evaluation.pk,
            "case": case.external_id,
            "group": case.group,
            "arm": arm,
            "metric": measure.key,
            "score": None if math.isnan(scores[i]) else float(scores[i]),
        }
        for found in loaded
        for measure in measured[found.evaluation.pk]
        for arm, scores in measure.case_scores.items()
        for i, case in enumerate(found.cases)
    ]


def finite(value: Any) -> Any:
    """JSON has no spelling for nan: it becomes null, and numpy's numbers become Python's."""
    return json.loads(json.dumps(_plain(value)))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value


def newest_evaluation(study: Study) -> Evaluation | None:
    """What a report is about unless it is told otherwise."""
    return study.evaluations.filter(status=Status.SUCCEEDED).order_by("-pk").first()
