"""Which judgements count in an evaluation's scores; what does not is counted (C4)."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from annotations.models import Campaign, Study
from reports.scoring import Answer, Outputs

Judged = Mapping[Campaign, Sequence[Answer]]


@dataclass(frozen=True)
class Votes:
    """The answers that count, each annotator's once, and by campaign how many do not."""

    judged: dict[Campaign, list[Answer]]
    simulated: Counter[str]  # left out because people judged the same evaluation
    repeated: Counter[str]  # left out because the annotator said something later about the same outputs

    def of(self, kind: str) -> list[Answer]:
        return [answer for campaign, rows in self.judged.items() if campaign.kind == kind for answer in rows]

    def before(self, kind: str, at: datetime | None) -> int:
        """How many of them were made before ``at``."""
        return sum(answer.since < at for answer in self.of(kind)) if at else 0


def votes(found: Outputs, judged: Judged) -> Votes:
    """What counts of ``judged`` for this evaluation: answers within overlap about its outputs.

    A program's judgements never mix with people's: where a person judged outputs in a campaign of the same kind, the
    simulated ones are left out. Whoever judged the same outputs in two campaigns has one vote, the later one.
    """
    place = found.place_of()
    about = {
        campaign: [a for a in rows if not a.surplus and a.a in place and (a.b is None or a.b in place)]
        for campaign, rows in judged.items()
    }
    real = {campaign.kind for campaign, rows in about.items() if rows and not campaign.simulated}
    simulated: Counter[str] = Counter()
    for campaign, rows in about.items():
        if rows and campaign.simulated and campaign.kind in real:
            simulated[campaign.name] = len(rows)
            about[campaign] = []
    latest = _latest(about)
    kept = {campaign: [a for a in rows if a.judgement_id in latest] for campaign, rows in about.items()}
    gone = {campaign.name: len(rows) - len(kept[campaign]) for campaign, rows in about.items()}
    return Votes(kept, simulated, Counter({name: n for name, n in gone.items() if n}))


def _latest(about: Judged) -> set[int]:
    """The ids of each annotator's last judgement of the same outputs under the same question."""
    last: dict[tuple[str, int, frozenset[int | None]], int] = {}
    for campaign, rows in about.items():
        for answer in rows:
            key = (campaign.kind, answer.annotator_id, frozenset((answer.a, answer.b)))
            last[key] = max(last.get(key, 0), answer.judgement_id)
    return set(last.values())


def default_campaigns(study: Study) -> list[Campaign]:
    """What a report is about unless told otherwise: every campaign, simulated ones only where people judged none."""
    campaigns = list(study.campaigns.all())
    judged = study.campaigns.filter(simulated=False, items__judgements__isnull=False)
    real = set(judged.values_list("kind", flat=True))
    return [campaign for campaign in campaigns if not (campaign.simulated and campaign.kind in real)]


def not_scored(scored: Mapping[int, Votes], name: str) -> Iterator[tuple[str, int]]:
    """(reason, count) of a campaign's judgements that reached no score, over all evaluations."""
    simulated = sum(own.simulated[name] for own in scored.values())
    repeated = sum(own.repeated[name] for own in scored.values())
    yield from ((reason, n) for reason, n in (("simulated", simulated), ("judged_again", repeated)) if n)
