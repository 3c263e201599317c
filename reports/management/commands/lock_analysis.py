"""Lock a study's analysis plan."""

from argparse import ArgumentParser
from typing import Any

from annotations.commands import LoopCommand, study_named
from reports import analysis


class Command(LoopCommand):
    help = "Lock a study's analysis plan. It can't be changed afterwards; what is not in it is reported as exploratory."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("study", metavar="STUDY")
        parser.add_argument(
            "--arms", default="", metavar="NAME,NAME,…", help="models in order, where the plan names none"
        )

    def run(self, **options: Any) -> dict[str, Any]:
        study = study_named(options["study"])
        arms = [name.strip() for name in options["arms"].split(",") if name.strip()]
        study = analysis.lock(study, changes={"arms": arms} if arms else None)
        return {
            "study": study.slug,
            "analysis_locked": True,
            "locked_at": study.analysis_locked_at,
            "analysis_sha256": study.analysis_sha256,
            "plan": study.analysis,
        }
