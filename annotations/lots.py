"""Drawing a share of things by lot so that the share holds in every stratum."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping
from math import floor
from typing import Any, TypeVar

Thing = TypeVar("Thing")
Stratum = TypeVar("Stratum", bound=Hashable)


def apportion(sizes: Mapping[Stratum, int], share: float) -> dict[Stratum, int]:
    """How many of each stratum make up ``share`` of them all: the method of the largest remainder.

    No stratum is more than one away from its exact share. At least one in all, where there are any and the share isn't
    nought. Of equal remainders the stratum that comes first in ``sizes`` goes first.

    >>> apportion({"train": 10, "test": 5}, 0.3)
    {'train': 3, 'test': 2}
    >>> apportion({"a": 1, "b": 1, "c": 1}, 1 / 3)
    {'a': 1, 'b': 0, 'c': 0}
    """
    exact = {stratum: round(share * size, 9) for stratum, size in sizes.items()}
    whole = {stratum: floor(part) for stratum, part in exact.items()}
    wanted = floor(share * sum(sizes.values()) + 0.5)
    wanted = max(wanted, 1 if share > 0 and any(sizes.values()) else 0)
    by_remainder = sorted(exact, key=lambda stratum: whole[stratum] - exact[stratum])
    for stratum in by_remainder[: max(0, wanted - sum(whole.values()))]:
        whole[stratum] += 1
    return whole


def drawn(
    things: Iterable[Thing], share: float, *, stratum: Callable[[Thing], Hashable], lot: Callable[[Thing], Any]
) -> list[Thing]:
    """``share`` of the things, from each stratum those with the lowest lots; in the order of their lots."""
    strata: dict[Hashable, list[Thing]] = defaultdict(list)
    for thing in sorted(things, key=lot):
        strata[stratum(thing)].append(thing)
    counts = apportion({name: len(strata[name]) for name in sorted(strata, key=repr)}, share)
    return sorted((thing for name, count in counts.items() for thing in strata[name][:count]), key=lot)
