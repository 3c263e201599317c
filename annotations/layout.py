"""How a person wants the rating page: where the source stands, and how outputs are shown.

Kept with the account and not in the browser: ward computers are shared, and whoever sat there before is somebody else.
"""

from collections.abc import Mapping, Sequence
from typing import Any

# {setting: its values, the first one where nothing was chosen}. "auto": on the left where the window is wide, else on
# top. "off": the single keys.
SETTINGS = {
    "source": ("auto", "left", "top"),
    "together": ("", "on"),
    "plain": ("", "on"),
    "off": ("", "on"),
}


def layout_of(shortcuts: Mapping[str, Any]) -> dict[str, str]:
    """{setting: value} of a person, from User.shortcuts; what isn't a value counts as not chosen."""
    return {name: _chosen(shortcuts.get(name), values) for name, values in SETTINGS.items()}


def _chosen(stored: Any, values: Sequence[str]) -> str:
    value = "on" if stored is True else stored
    return value if value in values else values[0]


def with_setting(shortcuts: Mapping[str, Any], name: str, value: str) -> dict[str, Any]:
    """The shortcuts with one setting changed; the first value of a setting is not stored. ValueError: no such value."""
    values = SETTINGS.get(name, ())
    if value not in values:
        raise ValueError(f"{name}={value}")
    rest = {key: kept for key, kept in shortcuts.items() if key != name}
    if value == values[0]:
        return rest
    return rest | {name: True if value == "on" else value}
