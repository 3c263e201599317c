"""Freeze a report and write it to a directory."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from accounts.errors import UserError
from annotations import unblinding
from annotations.commands import LoopCommand, study_named
from annotations.models import Campaign, Study
from reports import access, build, exports, votes
from reports.models import Evaluation
from reports.numerals import interval, number, with_p


class Command(LoopCommand):
    help = (
        "Freeze a report. Without --evaluation and --campaign: the newest finished evaluation and every campaign "
        "(simulated ones only where people judged none of the kind). "
        "With --campaign alone: agreement only. Where it shows results by arm of a campaign that is open, that is kept "
        "in the audit trail and printed in every report; --unblind is needed while judgements are still to come."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("study", metavar="STUDY")
        parser.add_argument("--evaluation", type=int, nargs="+", action="extend", default=[], metavar="ID")
        parser.add_argument("--campaign", nargs="+", action="extend", default=[], metavar="NAME")
        parser.add_argument("--out", required=True, metavar="DIR", type=Path)
        parser.add_argument("--formats", default="html,csv,json", help="of html, csv, json (default: all three)")

        parser.add_argument(
            "--unblind", default="", metavar="WHY", help="look at the arms of campaigns that are still being judged"
        )

    def run(self, **options: Any) -> dict[str, Any]:
        study = study_named(options["study"])
        formats = exports.check_formats([name.strip() for name in options["formats"].split(",") if name.strip()])
        evaluations, campaigns = _chosen(study, options["evaluation"], options["campaign"])
        build.check(study, evaluations, campaigns)  # what can't be reported unblinds nothing
        shown = access.shown_by_arm(evaluations, campaigns)
        unblinding.by_command(shown, reason=options["unblind"], what="The report")
        report = build.build(study=study, evaluations=evaluations, campaigns=campaigns)
        files = exports.copy(report, options["out"], formats)
        document = exports.document(report)
        head = {"report": report.pk, "sha256": report.sha256, "out": str(options["out"]), "files": files}
        return head | (document if options["json"] else _summary(document))


def _chosen(study: Study, evaluation_ids: list[int], names: list[str]) -> tuple[list[Evaluation], list[Campaign]]:
    if not evaluation_ids and not names:
        newest = build.newest_evaluation(study)
        return ([newest] if newest else []), votes.default_campaigns(study)
    evaluations = list(study.evaluations.filter(pk__in=evaluation_ids))
    missing: list[Any] = sorted(set(evaluation_ids) - {row.pk for row in evaluations})
    campaigns = list(study.campaigns.filter(name__in=names))
    missing += [name for name in names if name not in {campaign.name for campaign in campaigns}]
    if missing:
        known = ", ".join(study.campaigns.values_list("name", flat=True)) or "none"
        raise UserError(f"This study has no {', '.join(map(str, missing))}. Campaigns: {known}.")
    if evaluations and not names:
        about = set(study.campaigns.filter(evaluations__in=evaluations).values_list("pk", flat=True))
        campaigns = [campaign for campaign in votes.default_campaigns(study) if campaign.pk in about]
    return evaluations, campaigns


def _summary(document: dict[str, Any]) -> dict[str, Any]:
    """What fits on a screen."""
    return {
        "arms": {
            arm: {
                key: f"{number(entry['value'])} ({interval(entry['low'], entry['high'])})" for key, entry in own.items()
            }
            for arm, own in document["arms"].items()
        },
        "planned": [
            f"{row['second']} − {row['first']}, {row['title']}: {number(row['effect'], signed=not row['null'])} "
            f"({interval(row['low'], row['high'], signed=not row['null'])}), {with_p(row['p_value'])}, "
            f"Holm {with_p(row['p_adjusted'])}"
            for row in document["contrasts"]
            if row["planned"]
        ],
        "agreement": {
            campaign: {name: number(entry["alpha"]["value"]) for name, entry in criteria.items()}
            for campaign, criteria in document["agreement"].items()
        },
        "warnings": [f"{caution['about']}: {caution['text']}" for caution in document["warnings"]],
    }
