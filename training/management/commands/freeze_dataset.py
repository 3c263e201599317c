"""Freeze the judgements, references and outputs of a study into a training dataset that never changes."""

from argparse import ArgumentParser
from dataclasses import fields
from pathlib import Path
from typing import Any

from accounts.errors import UserError
from annotations import preferences
from annotations.commands import LoopCommand, study_named
from annotations.models import Campaign, Study
from annotations.preferences import Policy
from training import snapshots
from training.models import TrainingDataset


class Command(LoopCommand):
    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("study", metavar="STUDY")
        parser.add_argument("--kind", required=True, choices=TrainingDataset.Kind.values)
        parser.add_argument(
            "--campaign",
            action="append",
            default=[],
            metavar="NAME",
            help="whose judgements to use; may be repeated (default: every campaign that the policy's sources read and "
            "in which somebody judged; simulated ones only where there is no other)",
        )
        keys = ", ".join(field.name for field in fields(Policy))
        parser.add_argument("--policy", type=Path, metavar="FILE.toml", help=f"what counts; its keys: {keys}")

    def run(self, **options: Any) -> dict[str, Any]:
        study, kind = study_named(options["study"]), options["kind"]
        policy = Policy.from_toml(options["policy"]) if options["policy"] else Policy()
        if options["campaign"]:
            campaigns = [campaign_named(study, name) for name in dict.fromkeys(options["campaign"])]
        else:
            campaigns = preferences.default_campaigns(study=study, kind=kind, policy=policy)
        dataset = snapshots.freeze(study=study, kind=kind, campaigns=campaigns, policy=policy)
        manifest = snapshots.manifest_of(dataset)
        return {
            "dataset": dataset.pk,
            "kind": dataset.kind,
            "rows": dataset.n_train + dataset.n_validation,
            "train": dataset.n_train,
            "validation": dataset.n_validation,
            "by_source": manifest["counts"]["by_source"],
            "dropped": dataset.dropped,
            "campaigns": [campaign.name for campaign in campaigns],
            "sha256": dataset.sha256,
            "path": str(dataset.path),
            "notes": manifest["notes"],
        }


def campaign_named(study: Study, name: str) -> Campaign:
    """The campaign, or a UserError that names those there are."""
    campaign = study.campaigns.filter(name=name).first()
    if campaign is None:
        known = ", ".join(study.campaigns.values_list("name", flat=True)) or "none yet"
        raise UserError(f"The study {study.slug} has no campaign “{name}”. Campaigns: {known}.")
    return campaign
