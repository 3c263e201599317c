"""Numbers in templates, written as everywhere else in a report."""

from typing import Any

from django import template

from reports import numerals

register = template.Library()
register.filter("p", numerals.p_value)


@register.filter
def number(value: float | None, digits: int = 2) -> str:
    return numerals.number(value, digits)


@register.filter
def estimate(entry: dict[str, Any]) -> str:
    """“0.71 (0.60 to 0.80)”, or a dash."""
    value = numerals.number(entry.get("value"))
    return f"{value} ({numerals.interval(entry['low'], entry['high'])})" if entry.get("low") is not None else value


@register.filter
def effect(entry: dict[str, Any]) -> str:
    """A difference with its sign, a win rate without."""
    return numerals.number(entry["effect"], signed=not entry["null"])


@register.filter
def effect_interval(entry: dict[str, Any]) -> str:
    return numerals.interval(entry["low"], entry["high"], signed=not entry["null"])


@register.filter
def words(code: str) -> str:
    """“both_unacceptable” → “both unacceptable”."""
    return code.replace("_", " ")


@register.filter
def get(mapping: dict[str, Any], key: str) -> Any:
    return mapping.get(key)
