"""The report's figures: vector graphics that read in print and without colour vision, each with a text alternative.

Drawn from report.json alone. The same document gives the same bytes. matplotlib is imported when something is drawn.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reports.analysis import METRIC_TITLES
from reports.numerals import MINUS, interval, number, with_p

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe & Ito 2008: told apart with any colour vision, and in grey by their lightness.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
INK, QUIET = "#222222", "#767676"
WIDTH = 7.2  # inches: a page's text width
SETTINGS: dict[str, Any] = {
    "svg.hashsalt": "medprefs",
    "svg.fonttype": "none",
    "text.parse_math": False,  # names of models are text, whatever signs they hold
    "font.family": "sans-serif",
    "font.sans-serif": ["Helvetica", "Arial", "Liberation Sans", "DejaVu Sans"],
    "font.size": 9,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
Drawing = tuple[str, str, str, "Figure"]  # file stem, title, text alternative, figure


def draw(document: dict[str, Any], directory: Path) -> list[dict[str, str]]:
    """Write the figures that the document has data for into ``directory``; returns file, title and text of each."""
    import matplotlib

    directory.mkdir(parents=True)
    drawn = []
    with matplotlib.rc_context(SETTINGS):  # type: ignore[arg-type]
        for stem, title, alt, figure in _drawings(document):
            name = f"{stem}.svg"
            figure.savefig(directory / name, format="svg", metadata={"Date": None, "Title": title, "Description": alt})
            drawn.append({"file": f"figures/{name}", "title": title, "alt": alt})
    return drawn


def _drawings(document: dict[str, Any]) -> Iterator[Drawing]:
    for make in (_arms, _contrasts, _likert, _wins, _confusion, _agreement):
        yield from make(document)


def _stem(*parts: str) -> str:
    """A file name out of free text: letters, digits, dashes."""
    text = "-".join(part for part in parts if part).lower()
    return "".join(c if c.isascii() and c.isalnum() else "-" for c in text)


def _short(name: str, most: int = 30) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _canvas(rows: float, columns: int = 1) -> "tuple[Figure, Any]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, 0.75 + 0.3 * rows), layout="constrained", facecolor="white")
    return figure, figure.subplots(1, columns, squeeze=False)[0]


def _rows(axes: "Axes", labels: list[str], values: list[str]) -> None:
    """Names of the rows at the left, their numbers at the right, the first row on top."""
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    twin = axes.secondary_yaxis("right")
    twin.set_yticks(range(len(values)), values)
    twin.tick_params(length=0)
    twin.spines["right"].set_visible(False)
    axes.spines["left"].set_visible(False)


def _dot(axes: "Axes", y: int, entry: dict[str, Any], key: str, colour: str, filled: bool = True) -> None:
    value, low, high = entry[key], entry["low"], entry["high"]
    if value is None:
        return
    if low is not None and high is not None:
        axes.plot([low, high], [y, y], color=colour, linewidth=1.8, solid_capstyle="butt")
    axes.plot(value, y, "o", markersize=7, color=colour, markerfacecolor=colour if filled else "white")


# Arms


def _metrics(document: dict[str, Any]) -> dict[str, dict[str, str]]:
    """{metric: {key: title}} of everything the arms were measured by."""
    found: dict[str, dict[str, str]] = {}
    for measured in document["arms"].values():
        for key, entry in measured.items():
            found.setdefault(key.partition(".")[0], {})[key] = entry["title"]
    return found


def _scale(document: dict[str, Any], metric: str) -> tuple[float, float] | None:
    if metric == "mean_likert":
        return 1, max((len(entry["anchors"]) for entry in document["likert"].values()), default=5)
    return None if metric == "weighted_kappa" else (0, 1)


def _arms(document: dict[str, Any]) -> Iterator[Drawing]:
    for metric, keys in _metrics(document).items():
        lines = [
            (arm, title, measured[key], COLOURS[i % len(COLOURS)])
            for key, title in keys.items()
            for i, (arm, measured) in enumerate(document["arms"].items())
            if key in measured
        ]
        several = len(keys) > 1
        figure, (axes,) = _canvas(len(lines))
        for y, (_, _, entry, colour) in enumerate(lines):
            _dot(axes, y, entry, "value", colour)
        labels = [f"{_aspect(title)}: {_short(arm)}" if several else _short(arm) for arm, title, _, _ in lines]
        _rows(axes, labels, [number(entry["value"]) for _, _, entry, _ in lines])
        name = METRIC_TITLES[metric]
        axes.set_xlabel(f"{name[0].upper()}{name[1:]}, with {document['plan']['confidence']:.0%} interval")
        if scale := _scale(document, metric):
            margin = 0.03 * (scale[1] - scale[0])
            axes.set_xlim(scale[0] - margin, scale[1] + margin)
        alt = "; ".join(
            f"{arm}, {title}: {number(entry['value'])} ({interval(entry['low'], entry['high'])})"
            for arm, title, entry, _ in lines
        )
        yield _stem("arms", metric), f"{name[0].upper()}{name[1:]} of each arm", alt, figure


def _aspect(title: str) -> str:
    """“mean Likert score, faithful” → “Faithful”."""
    aspect = title.partition(", ")[2] or title
    return aspect[0].upper() + aspect[1:]


# Contrasts


def _contrasts(document: dict[str, Any]) -> Iterator[Drawing]:
    for metric in dict.fromkeys(row["metric"] for row in document["contrasts"]):
        rows = [row for row in document["contrasts"] if row["metric"] == metric]
        several = len({row["criterion"] for row in rows}) > 1
        figure, (axes,) = _canvas(len(rows) + 0.8)
        axes.axvline(rows[0]["null"], color=QUIET, linewidth=1, linestyle=(0, (4, 3)))
        for y, row in enumerate(rows):
            _dot(axes, y, row, "effect", COLOURS[0], filled=row["planned"])
        _rows(
            axes,
            [_pair(row) + (f", {_aspect(row['title']).lower()}" if several else "") for row in rows],
            [number(row["effect"], signed=not row["null"]) for row in rows],
        )
        name = METRIC_TITLES[metric]
        what = f"{name[0].upper()}{name[1:]} of the second arm" if metric == "win_rate" else f"Difference of {name}"
        axes.set_xlabel(f"{what}, with {document['plan']['confidence']:.0%} interval\n● planned   ○ exploratory")
        alt = "; ".join(
            f"{_pair(row)}, {row['title']}: {number(row['effect'], signed=not row['null'])} "
            f"({interval(row['low'], row['high'], signed=not row['null'])}), {with_p(row['p_value'])}"
            for row in rows
        )
        yield _stem("contrasts", metric), f"Paired comparisons: {name}", alt, figure


def _pair(row: dict[str, Any]) -> str:
    joint = "against" if row["metric"] == "win_rate" else MINUS
    return f"{_short(row['second'], 22)} {joint} {_short(row['first'], 22)}"


# Judgements


def _likert(document: dict[str, Any]) -> Iterator[Drawing]:
    import matplotlib

    for criterion, entry in document["likert"].items():
        points, arms = len(entry["anchors"]), entry["arms"]
        colours = list(matplotlib.colormaps["BrBG"].resampled(points + 2)(range(1, points + 1)))
        if points % 2:
            colours[points // 2] = "#D4D4D4"  # the middle of the palette is all but white
        figure, (axes,) = _canvas(len(arms) + 1.2)
        for y, counts in enumerate(arms.values()):
            shares = [100 * count / sum(counts) for count in counts]
            left = -sum(shares[: points // 2]) - (shares[points // 2] / 2 if points % 2 else 0)
            for point, share in enumerate(shares):
                bar = axes.barh(y, share, left=left, height=0.7, color=colours[point], edgecolor="white")
                if y == 0:
                    bar.set_label(f"{point + 1}")
                if share >= 6:
                    dark = point in (0, points - 1)
                    axes.text(
                        left + share / 2, y, f"{share:.0f}", ha="center", va="center", color="white" if dark else INK
                    )
                left += share
        _rows(axes, [_short(arm) for arm in arms], [f"n = {sum(counts)}" for counts in arms.values()])
        axes.axvline(0, color=QUIET, linewidth=0.8, zorder=0)
        axes.xaxis.set_major_formatter(lambda x, _: f"{abs(x):.0f}")
        axes.set_xlabel("% of judgements, centred on the middle of the scale")
        figure.legend(loc="outside upper center", ncols=points, frameon=False, title=_anchors(entry["anchors"]))
        alt = "; ".join(f"{arm}: {', '.join(map(str, counts))}" for arm, counts in arms.items())
        title = f"Judgements by point of the scale: {entry['title'].lower()}"
        yield _stem("likert", criterion), title, f"Judgements of 1 to {points} points. {alt}", figure


def _anchors(anchors: list[str]) -> str:
    return f"1: {_short(_bare(anchors[0]), 34)}    {len(anchors)}: {_short(_bare(anchors[-1]), 34)}"


def _bare(anchor: str) -> str:
    """An anchor without the number that some studies write before it."""
    head, colon, rest = anchor.partition(":")
    return rest.strip() if colon and head.strip().isdigit() else anchor


OUTCOMES = {
    "second": ("second arm preferred", "#0072B2"),
    "tie": ("tie, both good", "#D9D9D9"),
    "both_unacceptable": ("both unacceptable", "#8C8C8C"),
    "first": ("first arm preferred", "#E69F00"),
}


def _wins(document: dict[str, Any]) -> Iterator[Drawing]:
    rows = [row for row in document["contrasts"] if any(row.get("counts", {}).get(key) for key in OUTCOMES)]
    if not rows:
        return
    figure, (axes,) = _canvas(len(rows) + 1)
    for y, row in enumerate(rows):
        total, left = sum(row["counts"].get(key, 0) for key in OUTCOMES), 0.0
        for key, (label, colour) in OUTCOMES.items():
            share = 100 * row["counts"].get(key, 0) / total
            bar = axes.barh(y, share, left=left, height=0.7, color=colour, edgecolor="white")
            if y == 0:
                bar.set_label(label)
            if share >= 5:
                shade = "white" if key in ("second", "both_unacceptable") else INK
                axes.text(left + share / 2, y, f"{share:.0f}", ha="center", va="center", color=shade)
            left += share
    sizes = [sum(row["counts"].get(key, 0) for key in OUTCOMES) for row in rows]
    _rows(axes, [_pair(row) for row in rows], [f"n = {size}" for size in sizes])
    axes.axvline(50, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.set_xlim(0, 100)
    axes.set_xlabel("% of judgements")
    figure.legend(loc="outside upper center", ncols=len(OUTCOMES), frameon=False)
    alt = "; ".join(
        f"{_pair(row)}: " + ", ".join(f"{label} {row['counts'].get(key, 0)}" for key, (label, _) in OUTCOMES.items())
        for row in rows
    )
    yield "wins", "Blind comparisons: wins, ties and losses", alt, figure


def _confusion(document: dict[str, Any]) -> Iterator[Drawing]:
    for field, entry in document["confusion"].items():
        labels, arms = entry["labels"], entry["arms"]
        figure, panels = _canvas(max(4.5, 1.3 * len(labels)), len(arms))
        for i, (axes, (arm, table)) in enumerate(zip(panels, arms.items(), strict=True)):
            _heat(axes, table, [*labels, "unparsed"])
            axes.set_title(_short(arm, max(10, 48 // len(arms))), fontsize=9)
            axes.set_yticks(range(len(labels)), [_short(label, 16) for label in labels] if i == 0 else [])
        panels[0].set_ylabel("Reference")
        figure.supxlabel("Predicted", fontsize=9)
        alt = " ".join(f"{arm}: {_confusion_text(table, labels)}." for arm, table in arms.items())
        yield _stem("confusion", field), f"Confusion matrices: {entry['title'].lower()}", alt, figure


def _heat(axes: "Axes", table: list[list[int]], columns: list[str]) -> None:
    """Counts, shaded by their share of the reference label's cases."""
    shares = [[count / sum(row) if sum(row) else 0 for count in row] for row in table]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for y, row in enumerate(table):
        for x, count in enumerate(row):
            axes.text(x, y, str(count), ha="center", va="center", color="white" if shares[y][x] > 0.55 else INK)
    axes.set_xticks(range(len(columns)), [_short(column, 12) for column in columns], rotation=45, ha="right")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _confusion_text(table: list[list[int]], labels: list[str]) -> str:
    right = [f"{label} {row[i]} of {sum(row)}" for i, (label, row) in enumerate(zip(labels, table, strict=True))]
    return f"correct {', '.join(right)}, unparsed {sum(row[-1] for row in table)}"


def _agreement(document: dict[str, Any]) -> Iterator[Drawing]:
    lines = [(campaign, entry) for campaign, criteria in document["agreement"].items() for entry in criteria.values()]
    if not any(entry["alpha"]["value"] is not None for _, entry in lines):
        return
    figure, (axes,) = _canvas(len(lines) + 1)
    for threshold in (0, 0.667, 0.8):
        axes.axvline(threshold, color=QUIET, linewidth=0.8, linestyle="-" if threshold == 0 else (0, (2, 3)))
    for y, (_, entry) in enumerate(lines):
        _dot(axes, y, entry["alpha"], "value", COLOURS[0])
    _rows(
        axes,
        [f"{_short(campaign, 26)}: {_short(entry['title'].lower(), 22)}" for campaign, entry in lines],
        [number(entry["alpha"]["value"]) for _, entry in lines],
    )
    lows = [entry["alpha"]["low"] for _, entry in lines if entry["alpha"]["low"] is not None]
    values = [entry["alpha"]["value"] for _, entry in lines if entry["alpha"]["value"] is not None]
    axes.set_xlim(min([-0.1, *lows, *values]) - 0.03, 1.03)
    axes.set_xlabel(
        "Krippendorff's alpha; dotted: .667 and .8, its author's limits for tentative and for firm conclusions"
    )
    alt = "; ".join(
        f"{campaign}, {entry['title'].lower()}: {number(entry['alpha']['value'])} "
        f"({interval(entry['alpha']['low'], entry['alpha']['high'])})"
        for campaign, entry in lines
    )
    yield "agreement", "Agreement between annotators", alt, figure
