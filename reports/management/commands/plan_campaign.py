"""Plan a campaign. It stands in this room because --evaluation names what annotations knows nothing of."""

from argparse import ArgumentParser, BooleanOptionalAction, _ArgumentGroup
from collections import Counter
from dataclasses import fields
from pathlib import Path
from typing import Any

from django.db import transaction

from accounts.errors import UserError
from accounts.models import User
from annotations import designs, plan_words
from annotations.commands import LoopCommand, study_named
from annotations.designs import REASONS, Design
from annotations.models import Campaign, Study
from annotations.naming import NAMES_ITSELF
from annotations.planning import Blueprint, plan_campaign, work_out
from reports import evaluation
from reports.models import Evaluation


class Command(LoopCommand):
    help = (
        "Plan a campaign: which cases and outputs are judged, by whom, how many times each. The design can also stand "
        "in a TOML file (--design) whose keys are named as the options are, with _ for -; an option overrides its key."
    )

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
        parser.add_argument("--reason", choices=REASONS, default="optional", help="are reasons asked for?")
        parser.add_argument(
            "--show-reference", action=BooleanOptionalAction, help="by default only where correctness is judged"
        )
        parser.add_argument("--design", type=Path, metavar="FILE.toml", help="the choices below, from a file")
        parser.add_argument("--preview", action="store_true", help="say what the campaign would be, and make nothing")
        add_design(parser.add_argument_group("design"))

    @transaction.atomic
    def run(self, **options: Any) -> dict[str, Any]:
        study = study_named(options["study"])
        models = evaluation.models_named(_listed(options["models"]))
        row = _evaluation(study, options["evaluation"])
        scope: dict[str, Any] = {"models": models, "split": options["split"]}
        if row is not None:
            scope = evaluation.scope(row, models)
        asked: dict[str, Any] = {
            "study": study,
            "kind": options["kind"],
            "name": options["name"],
            "annotators": _people(_listed(options["annotators"])),
            "overlap": options["overlap"],
            "seed": options["seed"],
            "reason": options["reason"],
            "show_reference": options["show_reference"],
            "design": _design(options),
            **scope,
        }
        if options["preview"]:
            return _previewed(work_out(**asked))
        campaign = plan_campaign(**asked)
        if row is not None:
            row.campaigns.add(campaign)
        return _described(campaign)


def add_design(parser: _ArgumentGroup) -> None:
    """One option for each field of a Design; what isn't given stays out of the namespace's way as None."""
    add = parser.add_argument
    switch: dict[str, Any] = {"action": BooleanOptionalAction, "default": None}
    add("--pairs", metavar="A:B,…", help="only these pairs; a model's name alone: it with each of the others")
    add("--overlap-share", type=float, metavar="S", help="share of the items, stratified, that the overlap is for")
    add("--consensus", choices=Campaign.Consensus.values, help="mean by default for likert, else majority")
    add("--criteria", **switch, help="in a comparison: A against B on each criterion too")
    add("--chip", action="append", dest="chips", metavar="TEXT", help="a reason to choose; repeat it for several")
    add("--no-chips", action="store_const", const=[], dest="chips", help="no reasons to choose from")
    add("--marks", **switch, help="let annotators mark sentences")
    add("--ideal", **switch, help="let annotators edit an output to what it should be")
    add("--max-per-annotator", type=int, metavar="N", help="most items for one; training items don't count")
    add("--route-by", metavar="COLUMN", help="the cases' metadata that must be an annotator's specialty")
    add("--apart", type=int, metavar="N", help="other items between two of one case (5)")
    add(
        "--known-answers",
        metavar="FILE|references|campaign:NAME",
        help="for training and gold items: a judgement file, label references, or what a closed campaign agreed on",
    )
    add("--training-items", type=int, metavar="N", help="judged first, with feedback")
    add("--training-pass-mark", type=float, metavar="S", help="share of them to get right (0.8)")
    add("--gold-rate", type=float, metavar="S", help="share of an annotator's work that has a known answer, unseen")
    add("--repeat-rate", type=float, metavar="S", help="share of an annotator's items judged a second time, unseen")
    add("--blinding-items", type=int, metavar="N", help="outputs whose writer annotators guess at the end")
    add(
        "--blinding-arm",
        action="append",
        dest="blinding_arms",
        metavar="MODEL=WORDING",
        help="what a model is called in that question; repeat it for several",
    )
    add("--leave-out-named", **switch, help="leave out cases whose outputs say who wrote them")


def _design(options: dict[str, Any]) -> Design:
    table = designs.read(options["design"]) if options["design"] is not None else {}
    for name in (field.name for field in fields(Design)):
        if (value := options.get(name)) is not None:
            table[name] = value
    if isinstance(table.get("pairs"), str):
        table["pairs"] = _listed(table["pairs"])
    if isinstance(arms := table.get("blinding_arms"), list):
        table["blinding_arms"] = dict(_arm(text) for text in arms)
    return Design.from_mapping(table)


def _arm(text: str) -> tuple[str, str]:
    name, sign, wording = text.partition("=")
    if not sign or not wording.strip():
        raise UserError(f"--blinding-arm is “{text}”; write MODEL=WORDING.")
    return name.strip(), wording.strip()


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
    items = Counter(campaign.items.regular().values_list("case_id", flat=True))
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
        **_counts(campaign),
        "training_items": campaign.items.filter(training=True).count(),
    }


def _counts(campaign: Campaign) -> dict[str, Any]:
    """What came of the design, the same before and after the campaign is made."""
    design = campaign.design
    return {
        **{name: design[name] for name in ("items_with_overlap", "judgements", "gold_items", "repeat_items")},
        "consensus": campaign.consensus,
        "dropped": {reason: len(ids) for reason, ids in campaign.dropped.items()},
        NAMES_ITSELF: design[NAMES_ITSELF],
    }


def _previewed(plan: Blueprint) -> dict[str, Any]:
    return {
        "preview": True,
        "kind": plan.campaign.kind,
        "items": len(plan.regular),
        "cases": len({item.case_id for item in plan.regular}),
        "overlap": plan.campaign.overlap,
        **_counts(plan.campaign),
        "training_items": len(plan.training),
        "minutes": plan.minutes,
        "annotators": {load.annotator.username: {"items": load.items, "minutes": load.minutes} for load in plan.loads},
        "words": [*plan_words.warnings(plan), *plan_words.lines(plan)],
    }
