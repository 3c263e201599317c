"""Plan a campaign. It stands in this room because --evaluation names what annotations knows nothing of."""

from argparse import ArgumentParser
from collections import Counter
from typing import Any

from django.db import transaction

from accounts.errors import UserError
from accounts.models import User
from annotations.commands import LoopCommand, study_named
from annotations.models import Campaign, Study
from annotations.planning import plan_campaign
from reports import evaluation
from reports.models import Evaluation


class Command(LoopCommand):
    help = "Plan a campaign: which cases and outputs are judged, by whom, how many times each."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("study", metavar="STUDY")
        parser.add_argument("--kind", required=True, choices=Campaign.Kind.values)
        parser.add_argument("--name", required=True)
        parser.add_argument("--split", default="", choices=["", "train", "validation", "test"])
        parser.add_argument("--models", default="", metavar="A,B,…", help="whose outputs are judged")
        parser.add_argument("--evaluation", type=int, metavar="ID", help="judge exactly this evaluation's outputs")
        parser.add_argument("--annotators", required=True, metavar="U1,U2,…", help="user names")
        parser.add_argument("--overlap", type=int, required=True, metavar="N", help="annotators an item")
        parser.add_argument("--seed", type=int, default=0, metavar="N", help="for order and sides, beside a secret")

    @transaction.atomic
    def run(self, **options: Any) -> dict[str, Any]:
        study = study_named(options["study"])
        models = evaluation.models_named(_listed(options["models"]))
        row = _evaluation(study, options["evaluation"])
        scope: dict[str, Any] = {"models": models, "split": options["split"]}
        if row is not None:
            scope = evaluation.scope(row, models)
        campaign = plan_campaign(
            study=study,
            kind=options["kind"],
            name=options["name"],
            annotators=_people(_listed(options["annotators"])),
            overlap=options["overlap"],
            seed=options["seed"],
            **scope,
        )
        if row is not None:
            row.campaigns.add(campaign)
        return _described(campaign)


def _listed(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _evaluation(study: Study, pk: int | None) -> Evaluation | None:
    if pk is None:
        return None
    row = study.evaluations.filter(pk=pk).first()
    if row is None:
        known = ", ".join(str(pk) for pk in study.evaluations.values_list("pk", flat=True)) or "none yet"
        raise UserError(f"This study has no evaluation {pk}. Evaluations: {known}.")
    return row


def _people(names: list[str]) -> list[User]:
    found = {user.username: user for user in User.objects.filter(username__in=names)}
    missing = [name for name in names if name not in found]
    if missing:
        raise UserError(f"There is nobody with the user name {', '.join(f'“{name}”' for name in missing)}.")
    return [found[name] for name in names]


def _described(campaign: Campaign) -> dict[str, Any]:
    items = Counter(campaign.items.values_list("case_id", flat=True))
    return {
        "campaign": campaign.pk,
        "name": campaign.name,
        "public_id": str(campaign.public_id),
        "kind": campaign.kind,
        "items": sum(items.values()),
        "cases": len(items),
        "overlap": campaign.overlap,
        "annotators": campaign.annotators.count(),
        "models": list(campaign.models.values_list("name", flat=True)),
        "seed": campaign.seed,
        "dropped": {reason: len(ids) for reason, ids in campaign.dropped.items()},
    }
