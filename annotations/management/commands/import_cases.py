from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from annotations.case_rows import parse_mapping
from annotations.commands import LoopCommand, study_named
from annotations.importing import import_cases
from annotations.models import Case
from annotations.splitting import parse_fractions


class Command(LoopCommand):
    help = (
        "Import cases from JSON Lines, CSV or Parquet. Without a column “split” and without --split, splits are drawn "
        "by group (0.7,0.1,0.2). Never import data of identified patients unless the site is approved for it."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("study")
        parser.add_argument("file", type=Path)
        parser.add_argument("--map", nargs="+", action="extend", default=[], metavar="field=column")
        parser.add_argument("--split", default="", choices=Case.Split.values, help="all cases go into this split")
        parser.add_argument("--split-fractions", metavar="0.7,0.1,0.2", help="of train, validation and test, by group")
        parser.add_argument("--seed", type=int, default=0, help="of the draw by group")

    def run(self, **options: Any) -> dict[str, Any]:
        fractions = options["split_fractions"]
        result = import_cases(
            study=study_named(options["study"]),
            path_or_file=options["file"],
            mapping=parse_mapping(options["map"]),
            split=options["split"],
            split_fractions=parse_fractions(fractions) if fractions else None,
            seed=options["seed"],
        )
        return {
            "study": options["study"],
            "import": result.case_import.pk,
            "imported": result.imported,
            "splits": result.splits,
            "groups": result.groups,
            "with_reference": result.with_reference,
            "without_reference": result.without_reference,
            "sha256": result.case_import.sha256,
            "notes": result.notes,
            "dropped": {},  # all or nothing
        }
