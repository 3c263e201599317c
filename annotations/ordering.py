"""In which order one annotator meets a campaign's items: drawn from seed and secret, the same whenever it is asked."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import chain, count
from math import floor, isqrt

from annotations.models import Campaign

FEWEST_RANKS = 1000  # so that a campaign of four items has every order too
REPEAT_AFTER = 10  # own submissions between an item and its hidden repeat, at least
REPEAT_WITHIN = 20  # and up to this many more, drawn


@dataclass(frozen=True)
class Walk:
    """An order of the positions 0 … size − 1: ``position = (multiplier × rank + offset) mod prime``.

    Ranks whose position is past the end are passed over. A prime has an inverse of every multiplier, so both ways are
    one multiplication: rank → position says which positions come next, to be fetched by the index over campaign and
    position, and position → rank says how far an annotator is. Nothing is stored, and no claim sorts all items.
    Positions were shuffled when the campaign was planned, so that even steps through them show no pattern.
    """

    size: int
    prime: int
    multiplier: int
    offset: int

    def position(self, rank: int) -> int:
        return (self.multiplier * rank + self.offset) % self.prime

    def rank(self, position: int) -> int:
        return (position - self.offset) * pow(self.multiplier, -1, self.prime) % self.prime

    def positions(self, start: int = 0) -> Iterator[int]:
        """Every position once, from the rank ``start`` to the last and then from the first."""
        ranks = chain(range(start, self.prime), range(start))
        return (position for rank in ranks if (position := self.position(rank)) < self.size)


def walk_of(campaign: Campaign, annotator_id: int, size: int) -> Walk:
    """The annotator's own order of ``size`` positions."""
    prime = prime_from(max(size, FEWEST_RANKS))
    drawn = campaign.draw("order", annotator_id)
    multiplier, offset = int.from_bytes(drawn[:8], "big"), int.from_bytes(drawn[8:16], "big")
    return Walk(size=size, prime=prime, multiplier=1 + multiplier % (prime - 1), offset=offset % prime)


@cache
def prime_from(n: int) -> int:
    """The smallest prime that is not below ``n`` (2 or more)."""
    return next(p for p in count(n) if all(p % divisor for divisor in range(2, isqrt(p) + 1)))


def gold_place(campaign: Campaign, annotator_id: int, index: int) -> int:
    """How many items come before the annotator's gold item number ``index`` (from 0).

    Every stretch of 1 / rate items has one, at a place drawn in it. The first place of a stretch is left out where the
    stretch has others, so that two of them never follow each other.
    """
    start, end = (floor(round(n / campaign.gold_rate, 9)) for n in (index, index + 1))
    choices = range(start + 1, end) or range(start, end)
    return choices[_drawn(campaign, "gold place", annotator_id, index) % len(choices)]


def gold_key(campaign: Campaign, annotator_id: int, item_id: int) -> bytes:
    """What gold and training items are sorted by, for each annotator in another order."""
    return campaign.draw("gold", annotator_id, item_id)


def repeat_delay(campaign: Campaign, annotator_id: int, item_id: int) -> int:
    """Own submissions between an item and its repeat."""
    return REPEAT_AFTER + _drawn(campaign, "repeat", annotator_id, item_id) % REPEAT_WITHIN


def _drawn(campaign: Campaign, *of: object) -> int:
    return int.from_bytes(campaign.draw(*of)[:8], "big")
