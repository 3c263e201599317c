"""Lineage (C5): from a report back to completions, models, runs, datasets and the judgements they were made from."""

import hashlib
import platform
from collections.abc import Sequence
from importlib import metadata
from typing import Any

from annotations import parsing, prompts, unblinding
from annotations.models import Adjudication, Campaign, Judgement, Membership, Model, Study
from reports.analysis import canonical
from reports.models import Evaluation
from reports.scoring import Outputs
from reports.votes import Judged
from training import lineage as training_lineage
from training.models import DatasetRow, Run, TrainingDataset

PACKAGES = ("Django", "numpy", "scipy", "statsmodels", "matplotlib")


def lineage(study: Study, loaded: Sequence[Outputs], judged: Judged) -> dict[str, Any]:
    """Everything a reader needs to find what each number was made from."""
    return {
        "template": {"version": study.template_version, "sha256": prompts.template_sha256(study)},
        "parser_version": parsing.PARSER_VERSION,  # behind every number: what an older one read is read again
        "evaluations": {str(found.evaluation.pk): _evaluation(found) for found in loaded},
        "campaigns": {
            campaign.name: {
                "seed": campaign.seed,
                "rubric_sha256": hashlib.sha256(canonical(campaign.rubric)).hexdigest(),
                "judgement_ids": sorted(answer.judgement_id for answer in rows),
                "consensus": campaign.consensus,
                "adjudications": _adjudications(campaign),
                "unblindings": [
                    {"who": look.who, "at": look.at.isoformat(timespec="seconds"), "reason": look.reason}
                    for look in unblinding.looks([campaign])[campaign.pk]
                ],
            }
            for campaign, rows in judged.items()
        },
        "packages": {"python": platform.python_version(), **{name: metadata.version(name) for name in PACKAGES}},
    }


def _adjudications(campaign: Campaign) -> list[dict[str, Any]]:
    """Every decision of a lead that stands, with its reason; who decided is named by pseudonym."""
    people = dict(Membership.objects.filter(study=campaign.study_id).values_list("user_id", "pseudonym"))
    rows = Adjudication.objects.filter(item__campaign=campaign, is_current=True).order_by("pk")
    return [
        {
            "id": row.pk,
            "outcome": row.outcome,
            "values": row.values,
            "reason": row.reason,
            "decided_by": people.get(row.decided_by_id, "a site admin"),
            "at": row.created_at.isoformat(timespec="seconds"),
        }
        for row in rows
    ]


def _evaluation(found: Outputs) -> dict[str, Any]:
    evaluation = found.evaluation
    arms = {}
    for arm in evaluation.arms.select_related("model__base"):
        own = evaluation.completions.filter(model=arm.model)
        versions = own.order_by().values_list("template_version", flat=True).distinct()
        arms[arm.model.name] = {
            "model": _model(arm.model),
            "completion_ids": sorted(own.values_list("pk", flat=True)),
            "template_versions": sorted(version for version in versions if version is not None),
            "parser_versions_stored": _parser_versions(evaluation, arm.model),  # read again where not the one above
        }
    return {"split": evaluation.split, "sampling": evaluation.sampling, "arms": arms}


def _parser_versions(evaluation: Evaluation, model: Model) -> list[int]:
    versions = evaluation.completions.filter(model=model).order_by().values_list("parser_version", flat=True)
    return sorted(version for version in versions.distinct() if version is not None)


def _model(model: Model) -> dict[str, Any]:
    described: dict[str, Any] = {"name": model.name, "kind": model.kind, "sha256": model.sha256}
    if model.base:
        described["base"] = {"name": model.base.name, "sha256": model.base.sha256}
    runs = training_lineage.runs_of(model)
    return {**described, "runs": [_run(run) for run in runs]} if runs else described


def _run(run: Run) -> dict[str, Any]:
    """What was asked for and, from the recipe's result, what was done."""
    result = run.result or {}
    return {
        "id": run.pk,
        "name": run.name,
        "method": run.method,
        "seed": run.seed,
        "base": run.base.name,
        "parent": run.parent.name if run.parent else None,
        "hyperparameters": result.get("hyperparameters") or run.hyperparameters,
        "hyperparameters_asked_for": run.hyperparameters,
        "ignored_hyperparameters": result.get("ignored_hyperparameters") or [],
        "rows": result.get("rows") or {},  # read, kept and dropped by the recipe, with reasons
        **{name: result.get(name) for name in ("base_sha256", "parent_adapter_sha256", "adapter_sha256")},
        "versions": result.get("versions", {}),
        "dataset": _dataset(run.dataset),
    }


def judgement_ids(dataset: TrainingDataset) -> list[int]:
    """The judgements a dataset was made from."""
    lists = DatasetRow.objects.filter(dataset=dataset).values_list("judgement_ids", flat=True)
    return sorted({pk for ids in lists for pk in ids})


def _dataset(dataset: TrainingDataset) -> dict[str, Any]:
    return {
        "id": dataset.pk,
        "kind": dataset.kind,
        "sha256": dataset.sha256,
        "rows": {"train": dataset.n_train, "validation": dataset.n_validation},
        "dropped": dataset.dropped,
        "campaigns": sorted(dataset.campaigns.values_list("name", flat=True)),
        "judgement_ids": judgement_ids(dataset),
    }


def trainers(evaluation: Evaluation) -> set[int]:
    """Annotators whose judgements an arm of the evaluation was trained on, parent runs included."""
    wanted: set[int] = set()
    for arm in evaluation.arms.select_related("model"):
        for run in training_lineage.runs_of(arm.model):
            wanted.update(judgement_ids(run.dataset))
    return set(Judgement.objects.filter(pk__in=wanted).values_list("annotator_id", flat=True))
