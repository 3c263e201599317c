"""Launching: everything that can be known to be wrong is said before a run is queued."""

import json
import re
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from accounts.errors import UserError
from accounts.models import User, audit
from annotations import doorbell, preferences
from annotations.models import Model, Status, Study
from annotations.preferences import Policy
from training import snapshots, tasks
from training.models import Run, TrainingDataset
from training.recipes.hyperparameters import resolve
from training.runs import STOP_AND_KEEP

DATASET_KIND = {Run.Method.SFT: TrainingDataset.Kind.SFT, Run.Method.DPO: TrainingDataset.Kind.PREFERENCE}
# A name that a server can serve and a path can hold.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
FROM_BASE = (
    "This DPO run starts from the base model, not from an SFT run. It usually works better to run SFT first, so that "
    "the model already answers in the form that was judged."
)


def queue_run(
    *,
    study: Study,
    method: str,
    base: Model,
    dataset: TrainingDataset | None = None,
    parent: Run | None = None,
    hyperparameters: Mapping[str, Any] | None = None,
    seed: int = 0,
    name: str = "",
    actor: User | None = None,
    announce: bool = True,
) -> Run:
    """Check, prepare the run's directory, queue the row and ring. UserError, and nothing queued, if it can't run.

    Without ``dataset`` the study's newest of the right kind is taken, or one is frozen with the default policy.
    Without ``parent`` the run starts from ``base``. ``announce=False``: the caller supervises it in this process.
    """
    if method not in Run.Method.values:
        raise UserError(f"There is no training method “{method}”. Choose one of: {', '.join(Run.Method.values)}.")
    _check_base(base)
    given = _checked_hyperparameters(method, hyperparameters or {})
    if not 0 <= seed < 2**32:
        raise UserError(f"The seed is {seed}; it must be a whole number from 0 to {2**32 - 1}.")
    _check_parent(study=study, method=method, base=base, parent=parent)
    name = name.strip() or default_name(study, method)
    _check_name(name)
    dataset = dataset or newest_dataset(study, method) or _freeze_default(study, method, actor)
    _check_dataset(study=study, method=method, dataset=dataset)
    run = Run(
        study=study,
        name=name,
        method=method,
        base=base,
        dataset=dataset,
        parent=parent,
        hyperparameters=given,
        seed=seed,
        directory=f"{name}-{uuid.uuid4().hex[:12]}",
        created_by=actor,
    )
    prepare_directory(run)
    try:
        with transaction.atomic():
            run.save()
            audit(actor, "queue run", run, method=method, dataset=dataset.pk, base=base.pk, parent=run.parent_id)
            if announce:
                doorbell.ring(tasks.train, run)
    except IntegrityError as error:
        shutil.rmtree(run.path, ignore_errors=True)
        raise UserError(f"A run named “{name}” was queued a moment ago. Choose another name.") from error
    except BaseException:
        shutil.rmtree(run.path, ignore_errors=True)
        raise
    return run


def resume(*, run: Run, actor: User | None = None) -> Run:
    """Queue an interrupted or failed run again: the recipe goes on from its newest complete checkpoint."""
    run.refresh_from_db()
    with transaction.atomic():
        run.transition(Status.QUEUED, finished_at=None, claimed_by="")
        (run.path / STOP_AND_KEEP).unlink(missing_ok=True)
        audit(actor, "resume run", run, step=run.step)
        doorbell.ring(tasks.train, run)
    return run


def default_name(study: Study, method: str) -> str:
    """`<study>-<method>-<n>` with the first n that is free."""
    stem = f"{study.slug}-{method}-"
    taken = {
        *Run.objects.filter(name__startswith=stem).values_list("name", flat=True),
        *Model.objects.filter(name__startswith=stem).values_list("name", flat=True),
    }
    number = 1
    while f"{stem}{number}" in taken:
        number += 1
    return f"{stem}{number}"


def newest_dataset(study: Study, method: str) -> TrainingDataset | None:
    """The study's newest dataset of the kind that ``method`` trains on."""
    return TrainingDataset.objects.filter(study=study, kind=DATASET_KIND[Run.Method(method)]).order_by("-pk").first()


def newest_parent(study: Study, base: Model) -> Run | None:
    """The newest SFT run that succeeded on ``base``: what a DPO run should continue (C3)."""
    return possible_parents(study).filter(base=base).order_by("-pk").first()


def possible_parents(study: Study) -> QuerySet[Run]:
    return Run.objects.filter(study=study, method=Run.Method.SFT, status=Status.SUCCEEDED)


def prepare_directory(run: Run) -> None:
    """The run's directory (mode 0700) with what goes in (C2): config.json, train.jsonl, eval.jsonl, hashes checked."""
    if findings := snapshots.verify(run.dataset):
        raise UserError(
            f"{run.dataset} is no longer as it was frozen, so it can't be trained on. Freeze it again.", findings
        )
    run.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    run.path.mkdir(mode=0o700)
    try:
        for source, target in (("train.jsonl", "train.jsonl"), ("validation.jsonl", "eval.jsonl")):
            shutil.copyfile(run.dataset.path / source, run.path / target)
            (run.path / target).chmod(0o600)
        (run.path / "config.json").write_text(json.dumps(config_of(run), indent=2, ensure_ascii=False, sort_keys=True))
    except BaseException:
        shutil.rmtree(run.path, ignore_errors=True)
        raise


def config_of(run: Run) -> dict[str, Any]:
    """What config.json says; the recipe reads the upper half, the rest is lineage."""
    return {
        "method": run.method,
        "base_path": str(Path(run.base.path).resolve()),
        "base_sha256": run.base.sha256 or None,
        "parent_adapter": str((run.parent.path / "adapter").resolve()) if run.parent else None,
        "seed": run.seed,
        "hyperparameters": run.hyperparameters,
        "run": run.name,
        "study": run.study.slug,
        "base": run.base.name,
        "dataset": {"id": run.dataset_id, "sha256": run.dataset.sha256, "directory": run.dataset.directory},
        "parent_run": run.parent.name if run.parent else None,
    }


def _check_base(base: Model) -> None:
    if base.kind != Model.Kind.BASE:
        raise UserError(
            f"{base} is a model of kind “{base.kind}”; training needs a base model, whose weights lie on this machine."
        )
    path = Path(base.path)
    if not path.is_dir():
        raise UserError(
            f"The base model {base} should lie in {path}, but there is no such directory. "
            "Put the model's files there, or register it again with the right path (add_model)."
        )
    if not any(path.glob("*.safetensors")):
        raise UserError(
            f"{path} holds no .safetensors file. Other weight formats are not read, because they can run code."
        )


def _checked_hyperparameters(method: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The given ones, typed; the recipe adds its defaults, so that result.json can tell them apart."""
    try:
        resolved = resolve(method, given)
    except ValueError as error:
        raise UserError(str(error)) from error
    return {name: resolved[name] for name in given}


def _check_parent(*, study: Study, method: str, base: Model, parent: Run | None) -> None:
    if parent is None:
        return
    if method != Run.Method.DPO:
        raise UserError("Only a DPO run continues another run; an SFT run starts from the base model.")
    if parent.study_id != study.pk:
        raise UserError(f"The run {parent} belongs to another study.")
    if parent.method != Run.Method.SFT or parent.status != Status.SUCCEEDED:
        raise UserError(
            f"The run {parent} is a {parent.method} run and {parent.status}; DPO continues an SFT run that succeeded."
        )
    if parent.base_id != base.pk:
        raise UserError(
            f"The run {parent} was trained on {parent.base}, not on {base}. Choose the same base model for both."
        )
    if not (parent.path / "adapter" / "adapter_config.json").is_file():
        raise UserError(f"The adapter of the run {parent} is no longer in {parent.path / 'adapter'}. Restore it first.")


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise UserError(
            f"“{name}” can't be a model's name: use up to 100 letters, digits, dots, hyphens and underscores, "
            "beginning with a letter or digit."
        )
    if Run.objects.filter(name=name).exists() or Model.objects.filter(name=name).exists():
        raise UserError(
            f"The name “{name}” is taken by a run or a model. Choose another, or leave it empty for one that is free."
        )


def _check_dataset(*, study: Study, method: str, dataset: TrainingDataset) -> None:
    wanted = DATASET_KIND[Run.Method(method)]
    if dataset.study_id != study.pk:
        raise UserError(f"Dataset {dataset.pk} belongs to another study.")
    if dataset.kind != wanted:
        raise UserError(f"Dataset {dataset.pk} holds {dataset.kind} rows, but {method} trains on {wanted} rows.")
    if not dataset.n_train:
        raise UserError(f"Dataset {dataset.pk} has no training rows.")


def _freeze_default(study: Study, method: str, actor: User | None) -> TrainingDataset:
    kind, policy = DATASET_KIND[Run.Method(method)], Policy()
    campaigns = preferences.default_campaigns(study=study, kind=kind, policy=policy)
    return snapshots.freeze(study=study, kind=kind, campaigns=campaigns, policy=policy, actor=actor)
