from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from accounts.errors import UserError
from annotations.commands import LoopCommand, study_named
from annotations.judgement_import import import_judgements


class Command(LoopCommand):
    help = (
        "Import judgements (CSV or JSONL, one row a value, as export_judgements writes them) into a campaign. "
        "A column may be left out where it has one possible value. Everything is imported, or nothing."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("study", metavar="STUDY", help="slug of the study")
        parser.add_argument("file", metavar="FILE", type=Path)
        parser.add_argument("--campaign", required=True, metavar="NAME", help="the campaign they belong to")
        parser.add_argument(
            "--create-annotators",
            action="store_true",
            help="make a member without a password for every annotator the study doesn't know",
        )

    def run(self, **options: Any) -> dict[str, Any]:
        study = study_named(options["study"])
        campaign = study.campaigns.filter(name=options["campaign"]).first()
        if campaign is None:
            known = ", ".join(study.campaigns.values_list("name", flat=True)) or "none yet"
            raise UserError(f"There is no campaign “{options['campaign']}” in this study. Campaigns: {known}.")
        result = import_judgements(
            study=study, path=options["file"], campaign=campaign, create_annotators=options["create_annotators"]
        )
        return {
            "campaign": campaign.name,
            "campaign_id": campaign.pk,
            "judgements": result.judgements,
            "revisions": result.revisions,
            "surplus": result.surplus,
            "created_annotators": result.created_annotators,
            "dropped": result.dropped,
        }
