"""How large a campaign should be: width of the interval, power, and minutes of clinicians' time."""

from argparse import ArgumentParser
from typing import Any

from accounts.errors import UserError
from annotations import sizing
from annotations.commands import LoopCommand, study_named
from annotations.models import Campaign
from annotations.sizing import GOALS, Setup

AS_GIVEN = (
    *("cases", "overlap", "agreement", "ties", "sd", "points", "accuracy", "discordant", "prevalence", "kind"),
    *("level", "floor", "power", "confidence", "seed"),
)


class Command(LoopCommand):
    help = "How many cases, annotators and judgements a campaign needs, by simulation. Makes nothing."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("study", metavar="STUDY", nargs="?", help="whose campaigns say how long a judgement takes")
        parser.add_argument("--goal", choices=list(GOALS), help="what is to be estimated; default: what the task asks")
        parser.add_argument("--cases", type=int, required=True, metavar="N")
        parser.add_argument("--overlap", type=int, default=1, metavar="N", help="annotators an item")
        parser.add_argument("--annotators", type=int, metavar="N", help="people who judge; default: the overlap")
        parser.add_argument("--effect", type=float, help="win rate, difference in points, or difference of accuracies")
        parser.add_argument("--agreement", type=float, default=Setup.agreement, help="expected Krippendorff's alpha")
        parser.add_argument("--ties", type=float, default=Setup.ties, help="share of ties (win_rate)")
        parser.add_argument("--sd", type=float, default=Setup.sd, help="spread of the differences (mean_difference)")
        parser.add_argument("--points", type=int, default=Setup.points, help="of the scale (mean_difference)")
        parser.add_argument("--accuracy", type=float, default=Setup.accuracy, help="of the first arm")
        parser.add_argument("--discordant", type=float, default=Setup.discordant, help="share only one arm gets right")
        parser.add_argument("--prevalence", type=float, default=Setup.prevalence, help="positive cases (f1_difference)")
        parser.add_argument("--kind", default="", choices=["", *Campaign.Kind.values], help="of campaign (alpha)")
        parser.add_argument("--level", default=Setup.level, choices=["nominal", "ordinal", "interval"], help="(alpha)")
        parser.add_argument("--shares", default="10,15,25,30,20", metavar="A,B,…", help="of the answers (alpha)")
        parser.add_argument("--floor", type=float, default=Setup.floor, help="least acceptable alpha (alpha)")
        parser.add_argument("--power", type=float, default=Setup.power, help="power wanted")
        parser.add_argument("--confidence", type=float, default=Setup.confidence)
        parser.add_argument("--seed", type=int, default=Setup.seed, metavar="N", help="of the simulation")

    def run(self, **options: Any) -> dict[str, Any]:
        study = study_named(options["study"]) if options["study"] else None
        goal = options["goal"] or sizing.goal_of(study)
        setup = Setup(
            goal=goal,
            annotators=options["annotators"] if options["annotators"] is not None else options["overlap"],
            effect=options["effect"] if options["effect"] is not None else GOALS[goal].usual,
            shares=_shares(options["shares"]),
            **{name: options[name] for name in AS_GIVEN},
        )
        return sizing.size(setup, sizing.pace_of(study, setup.judged_as)).to_dict()


def _shares(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UserError(f"The shares are “{text}”; give numbers separated by commas, as 10,15,25,30,20.") from None
