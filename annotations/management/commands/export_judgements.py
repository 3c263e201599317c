import hashlib
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from annotations import judgement_files, unblinding
from annotations.commands import LoopCommand, progress, study_named
from annotations.exporting import judgement_rows


class Command(LoopCommand):
    help = (
        "Write every judgement of a study to FILE (.csv or .jsonl), one row a value, all revisions. "
        "Annotators are written as pseudonyms. The file names the models: of a campaign that is open, that is kept in "
        "the audit trail and printed in every report; --unblind is needed while judgements are still to come."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("study", metavar="STUDY", help="slug of the study")
        parser.add_argument("file", metavar="FILE", type=Path)
        parser.add_argument("--names", action="store_true", help="user names instead of pseudonyms")
        parser.add_argument(
            "--unblind", default="", metavar="WHY", help="write campaigns that are still being judged, too"
        )

    def run(self, **options: Any) -> dict[str, Any]:
        study, path = study_named(options["study"]), options["file"]
        if path.suffix.lower() in judgement_files.FORMATS:  # what is refused below unblinds nothing
            unblinding.by_command(study.campaigns.all(), reason=options["unblind"], what="The file")
        rows = judgement_rows(study=study, names=options["names"])
        count = judgement_files.write(path, progress(rows, label="judgements"))
        return {
            "study": study.slug,
            "file": str(path),
            "rows": count,
            "campaigns": list(study.campaigns.values_list("name", flat=True)),
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
