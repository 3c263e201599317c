import sys
from argparse import ArgumentParser
from typing import Any

from tqdm import tqdm

from accounts.errors import UserError
from annotations import doorbell
from annotations.commands import LoopCommand, add_where, study_named
from annotations.generation.job import run_generation
from annotations.generation.queue import QUEUE, cases_of, queue_generation
from annotations.models import Case, Generation, Model, Status, Study


class Command(LoopCommand):
    help = "Generate completions of a model for the cases of a study, in a worker (or --here)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("study")
        parser.add_argument("--model", required=True, metavar="NAME")
        parser.add_argument("--split", default="", choices=Case.Split.values, help="only this split (default: all)")
        parser.add_argument("--n", type=int, default=1, metavar="K", help="completions a case")
        parser.add_argument("--temperature", type=float, metavar="T", help="0 (the default) is greedy")
        parser.add_argument("--seed", type=int, metavar="N")
        parser.add_argument("--max-tokens", type=int, metavar="N", help="default: what the task's answers need")
        parser.add_argument("--limit", type=int, metavar="N", help="only the first N cases")
        add_where(parser)

    def run(self, **options: Any) -> dict[str, Any]:
        row = _queue(study_named(options["study"]), options)
        if not (options["here"] or options["wait"]):
            return _result(row)
        with tqdm(desc="completions", total=_total(row), file=sys.stderr, disable=None) as bar:
            if options["here"]:
                row = run_generation(
                    row.pk,
                    worker=f"{doorbell.worker_name()} --here",
                    progress=lambda done, total: bar.update(done - bar.n),
                )
            else:
                row = doorbell.wait_for(row, QUEUE, lambda row: bar.update(row.completions.count() - bar.n))
        if row.status != Status.SUCCEEDED:
            raise UserError(f"{row} ended {row.status}. {row.error}")
        return _result(row)


def _queue(study: Study, options: dict[str, Any]) -> Generation:
    model = Model.objects.filter(name=options["model"]).first()
    if model is None:
        known = ", ".join(Model.objects.values_list("name", flat=True)[:30]) or "none yet; add one with add_model"
        raise UserError(f"There is no model “{options['model']}”. Models: {known}.")
    if options["wait"]:
        doorbell.require_worker(QUEUE)
    return queue_generation(
        study=study,
        model=model,
        split=options["split"],
        n=options["n"],
        sampling={name: options[name] for name in ("temperature", "seed", "max_tokens")},
        limit=options["limit"],
        ring=not options["here"],
    )


def _total(row: Generation) -> int:
    return cases_of(row).count() * row.n


def _result(row: Generation) -> dict[str, Any]:
    written, skipped = row.completions.count(), {reason: len(names) for reason, names in row.skipped.items()}
    result = {
        "generation": row.pk,
        "status": row.status,
        "model": row.model.name,
        "model_sha256": row.model.sha256,
        "sampling": row.sampling,
        "requested": _total(row),
        "written": written,
        "dropped": skipped,
    }
    if row.status == Status.SUCCEEDED:
        result["already_there"] = _total(row) - written - row.n * sum(skipped.values())
    return result
