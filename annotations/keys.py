"""The single keys of the rating page: what each does, which one a person has chosen for it, and what may be chosen."""

import string
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

POINTS = 9  # a scale with more answers than digits is answered by Tab and arrows
ENTER = "enter"
# None of these lies on the row of digits of a common keyboard, unless with Shift, where the page can tell them apart.
PUNCTUATION = "?.,;:/=+*"
ALLOWED = {ENTER, *string.ascii_lowercase, *string.digits, *PUNCTUATION}


@dataclass(frozen=True)
class Action:
    """Something one key does. ``key``: the default, in lower case."""

    name: str
    title: str
    key: str
    of_pairs: bool = False  # of use only where two outputs are compared


ACTIONS = (
    *(Action(f"point_{n}", f"Answer {n} of the marked question", str(n)) for n in range(1, POINTS + 1)),
    Action("next", "Mark the next question", "j"),
    Action("previous", "Mark the question before", "k"),
    Action("prefer_left", "A is better", "a", of_pairs=True),
    Action("prefer_right", "B is better", "b", of_pairs=True),
    Action("tie", "Tie, both good", "e", of_pairs=True),
    Action("both_unacceptable", "Both unacceptable", "n", of_pairs=True),
    Action("cannot_judge", "Cannot judge", "c"),
    Action("defective", "Defective item", "d"),
    Action("submit", "Submit", ENTER),
    Action("chips", "Go to the ready-made reasons", "g"),
    Action("reason", "Write a reason", "r"),
    Action("flag", "Flag for the study's lead", "f"),
    Action("skip", "Skip the item", "s"),
    Action("harm", "Report harm", "h"),
    Action("undo", "Undo the last submit", "u"),
    Action("mark", "Mark sentences", "m"),
    Action("ideal", "Edit to ideal", "l"),
    Action("difference", "Show the words that differ", "w", of_pairs=True),
    Action("plain", "Plain text", "t"),
    Action("together", "Scroll A and B together", "y", of_pairs=True),
    Action("source", "Fold the source away, or back", "z"),
    Action("place", "Source on the left, or on top", "x"),
    Action("view", "On a narrow screen: what is shown", "v"),
    Action("instructions", "Instructions", "i"),
    Action("pause", "Pause", "p"),
    Action("help", "All keys", "?"),
)
DEFAULTS = {action.name: action.key for action in ACTIONS}
TITLES = {action.name: action.title for action in ACTIONS}


def is_on(shortcuts: Mapping[str, Any]) -> bool:
    """Whether a person wants single keys at all (WCAG 2.1.4 asks for a way to turn them off)."""
    return not shortcuts.get("off", False)


def keys_of(shortcuts: Mapping[str, Any]) -> dict[str, str]:
    """{action: key} of a person, from User.shortcuts.

    Choices that collide with an action added since give way, all of them: every key does one thing.
    """
    chosen = {name: key for name, key in shortcuts.get("keys", {}).items() if name in DEFAULTS}
    keys = DEFAULTS | chosen
    return DEFAULTS.copy() if problems(keys) else keys


def problems(keys: Mapping[str, str]) -> dict[str, str]:
    """{action: what is wrong with its key}; empty where every action has a key of its own."""
    found = {name: _unusable(keys.get(name, "")) for name in DEFAULTS}
    holders: dict[str, list[str]] = {}
    for name in DEFAULTS:
        holders.setdefault(keys.get(name, ""), []).append(name)
    for key, names in holders.items():
        for name in names if len(names) > 1 else []:
            others = " and ".join(f"“{TITLES[other]}”" for other in names if other != name)
            found[name] = found[name] or f"“{label(key)}” is also the key of {others}. Give one of them another key."
    return {name: text for name, text in found.items() if text}


def _unusable(key: str) -> str:
    if not key:
        return "Give it a key."
    if key not in ALLOWED:
        return (
            f"“{key}” can't be a key here. Use a letter from a to z, a digit, Enter or one of {' '.join(PUNCTUATION)}"
        )
    return ""


def read_key(typed: str) -> str:
    """A key as somebody typed it into a form."""
    return typed.strip().lower()


def changes(keys: Mapping[str, str]) -> dict[str, str]:
    """What User.shortcuts keeps: the keys that differ from the defaults."""
    return {name: key for name, key in keys.items() if DEFAULTS.get(name, key) != key}


def label(key: str) -> str:
    """A key as it is printed on its control."""
    return "Enter" if key == ENTER else key.upper()


def labels(keys: Mapping[str, str]) -> dict[str, str]:
    return {name: label(key) for name, key in keys.items()}
