"""How numbers are written: effect and interval before P, P never “0.000” or “1.0”."""

MINUS = "\u2212"
NONE = "\u2013"  # an en dash where there is no number; the note says why


def number(value: float | None, digits: int = 2, signed: bool = False) -> str:
    """A number with a true minus sign; a dash where there is none."""
    if value is None:
        return NONE
    text = f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"
    if float(text) == 0:
        text = f"{0:.{digits}f}"
    return text.replace("-", MINUS)


def interval(low: float | None, high: float | None, digits: int = 2, signed: bool = False) -> str:
    """“0.12 to 0.34”: a hyphen or dash would meet the minus signs."""
    if low is None or high is None:
        return NONE
    return f"{number(low, digits, signed)} to {number(high, digits, signed)}"


def p_value(p: float | None) -> str:
    """“< .001”, “.004”, “.046”, “.31”, “> .99”.

    >>> [p_value(p) for p in (0.0, 0.0004, 0.0041, 0.0456, 0.314, 0.9999, None)]
    ['< .001', '< .001', '.004', '.046', '.31', '> .99', '–']
    """
    if p is None:
        return NONE
    if p < 0.001:
        return "< .001"
    if p > 0.99:
        return "> .99"
    return f"{p:.{3 if p < 0.1 else 2}f}".removeprefix("0")


def with_p(p: float | None) -> str:
    """“P < .001”, “P = .046”."""
    text = p_value(p)
    return "no P value" if p is None else f"P {text}" if text[0] in "<>" else f"P = {text}"
