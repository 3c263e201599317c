"""Have base, SFT and DPO arms answer the same held-out cases."""

from argparse import ArgumentParser
from typing import Any

from django.db import transaction

from annotations import doorbell
from annotations.commands import LoopCommand, add_where, study_named
from annotations.models import Status, Study
from reports import analysis, evaluation
from reports.models import Evaluation


class Command(LoopCommand):
    help = "Start an evaluation: every arm answers the same cases of a split with the same decoding."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("study", metavar="STUDY")
        parser.add_argument(
            "--arms", required=True, metavar="NAME,NAME,…", help="models in order, for example base,sft,dpo"
        )
        parser.add_argument("--split", default="test", choices=["train", "validation", "test"])
        parser.add_argument("--exclude-leaked", action="store_true", help="leave out cases that an arm was trained on")
        parser.add_argument(
            "--override", default="", metavar="WHY", help="keep such cases; the report prints the reason"
        )
        parser.add_argument("--max-tokens", type=int, metavar="N", help="longest output")
        add_where(parser)

    def run(self, **options: Any) -> dict[str, Any]:
        study = study_named(options["study"])
        names = [name.strip() for name in options["arms"].split(",") if name.strip()]
        arms = evaluation.models_named(names)
        if options["wait"]:
            doorbell.require_worker("generation")
        with transaction.atomic():  # what can't start locks nothing
            locked_now = _lock(study, names)
            row = evaluation.start(
                study=study,
                arms=arms,
                split=options["split"],
                sampling={"max_tokens": options["max_tokens"]} if options["max_tokens"] else None,
                exclude_leaked=options["exclude_leaked"],
                override=options["override"],
                ring=not options["here"],
            )
        if options["here"]:
            row = _here(row)
        elif options["wait"]:
            row = doorbell.wait_for(row, "generation")
        return _described(row) | {"analysis_locked_now": locked_now}


def _lock(study: Study, names: list[str]) -> bool:
    """Lock the plan if it isn't yet, with these arms where it names none; whether that happened now."""
    if study.analysis_locked_at is not None:
        return False
    analysis.lock(study, changes={} if analysis.plan(study).arms else {"arms": names})
    return True


def _here(row: Evaluation) -> Evaluation:
    lines: list[str] = []
    row = evaluation.run_evaluation(row.pk, worker=f"{doorbell.worker_name()} --here", progress=lines.append)
    if row.status == Status.SUCCEEDED:
        return row
    return doorbell.wait_for(row, "generation")  # another worker was first, or it failed and this says why


def _described(row: Evaluation) -> dict[str, Any]:
    study = row.study
    return {
        "evaluation": row.pk,
        "status": row.status,
        "split": row.split,
        "arms": [arm.model.name for arm in row.arms.select_related("model")],
        "cases": len(row.case_ids),
        "outputs": {line["arm"].name: line["done"] for line in evaluation.progress_by_arm(row)},
        "dropped": {reason: len(ids) for reason, ids in row.excluded.items()},
        "earlier_evaluations_of_this_split": evaluation.earlier_evaluations(row),
        "analysis_locked": study.analysis_locked_at is not None,
        "analysis_sha256": study.analysis_sha256,
    }
