from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from annotations.case_rows import parse_mapping
from annotations.commands import LoopCommand, study_named
from annotations.importing import import_completions


class Command(LoopCommand):
    help = (
        "Import outputs written elsewhere: a file with external_id and text. A case that occurs again gives a further "
        "sample."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("study")
        parser.add_argument("file", type=Path)
        parser.add_argument("--model", required=True, metavar="NAME", help="whose outputs; made if there is none")
        parser.add_argument("--map", nargs="+", action="extend", default=[], metavar="field=column")

    def run(self, **options: Any) -> dict[str, Any]:
        result = import_completions(
            study=study_named(options["study"]),
            path_or_file=options["file"],
            model_name=options["model"],
            mapping=parse_mapping(options["map"]),
        )
        return {
            "study": options["study"],
            "model": result.model.name,
            "imported": result.imported,
            "cases": result.cases,
            "samples": result.samples,
            "empty": result.empty,
            "unparsed": result.unparsed,
            "notes": result.notes,
            "dropped": {},  # all or nothing
        }
