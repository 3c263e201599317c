"""Queue an SFT or DPO run; its adapter becomes a model."""

import sys
from argparse import ArgumentParser
from typing import Any

from tqdm import tqdm

from accounts.errors import UserError
from annotations import doorbell
from annotations.commands import LoopCommand, add_where, study_named
from annotations.models import Model, Status, Study
from training import launch, runs
from training.models import Run, TrainingDataset


class Command(LoopCommand):
    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("study", metavar="STUDY")
        parser.add_argument("--method", required=True, choices=Run.Method.values)
        parser.add_argument("--base", required=True, metavar="NAME", help="a registered base model")
        parser.add_argument(
            "--dataset",
            type=int,
            metavar="ID",
            help="default: the newest of the right kind, or one frozen now with the default policy",
        )
        parser.add_argument(
            "--from-run",
            type=int,
            metavar="ID",
            help="the SFT run that a DPO run continues (default: the newest that succeeded on this base)",
        )
        parser.add_argument("--set", action="append", default=[], metavar="key=value", help="a hyperparameter")
        parser.add_argument("--name", default="", help="the new model's name (default: STUDY-METHOD-number)")
        parser.add_argument("--seed", type=int, default=0)
        add_where(parser)

    def run(self, **options: Any) -> dict[str, Any]:
        study, method = study_named(options["study"]), options["method"]
        if options["wait"]:
            doorbell.require_worker(runs.QUEUE)
        base = base_named(options["base"])
        parent = run_numbered(study, options["from_run"]) if options["from_run"] else None
        if parent is None and method == Run.Method.DPO:
            parent = launch.newest_parent(study, base)
        run = launch.queue_run(
            study=study,
            method=method,
            base=base,
            dataset=dataset_numbered(study, options["dataset"]) if options["dataset"] else None,
            parent=parent,
            hyperparameters=dict(pair(text) for text in options["set"]),
            seed=options["seed"],
            name=options["name"],
            announce=not options["here"],
        )
        if options["here"]:
            run = runs.supervise(run.pk, worker=doorbell.worker_name())
            if run.status != Status.SUCCEEDED:
                raise UserError(f"The run {run} (id {run.pk}) ended {run.status}. {run.error}".strip())
        elif options["wait"]:
            run = follow(run)
        return outcome(run)


def outcome(run: Run) -> dict[str, Any]:
    """What a script needs of a run: its ids, and its result once there is one."""
    found: dict[str, Any] = {
        "run": run.pk,
        "name": run.name,
        "status": run.status,
        "method": run.method,
        "base": run.base.name,
        "dataset": run.dataset_id,
        "dataset_sha256": run.dataset.sha256,
        "from_run": run.parent_id,
        "dropped": run.dataset.dropped,
        "path": str(run.path),
    }
    if run.method == Run.Method.DPO and run.parent_id is None:
        found["warning"] = launch.FROM_BASE
    if run.result is not None and run.model is not None:
        keys = ("steps", "stopped_early", "adapter_sha256", "base_sha256", "eval_before", "eval_after", "proof", "rows")
        found |= {"model": run.model.name, **{key: run.result[key] for key in keys}}
    return found


def follow(run: Run) -> Run:
    """Wait for a worker to do it, with a progress bar."""
    with tqdm(desc=run.name, unit="step", file=sys.stderr, disable=None) as bar:

        def show(row: Run) -> None:
            bar.total = row.max_steps
            bar.n = row.step
            bar.refresh()

        return doorbell.wait_for(run, runs.QUEUE, show)


def pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UserError(f"--set {text}: write it as key=value, for example --set learning_rate=1e-5.")
    return key.strip(), value.strip()


def base_named(name: str) -> Model:
    base = Model.objects.filter(name=name).first()
    if base is None:
        known = ", ".join(Model.objects.filter(kind=Model.Kind.BASE).values_list("name", flat=True)) or "none yet"
        raise UserError(f"There is no model “{name}”. Base models: {known}. Register one with add_model.")
    return base


def dataset_numbered(study: Study, pk: int) -> TrainingDataset:
    dataset = TrainingDataset.objects.filter(study=study, pk=pk).first()
    if dataset is None:
        known = ", ".join(map(str, TrainingDataset.objects.filter(study=study).values_list("pk", flat=True))) or "none"
        raise UserError(f"The study {study.slug} has no dataset {pk}. Datasets: {known}.")
    return dataset


def run_numbered(study: Study, pk: int) -> Run:
    run = Run.objects.filter(study=study, pk=pk).first()
    if run is None:
        known = ", ".join(map(str, launch.possible_parents(study).values_list("pk", flat=True))) or "none"
        raise UserError(f"The study {study.slug} has no run {pk}. SFT runs that succeeded: {known}.")
    return run
