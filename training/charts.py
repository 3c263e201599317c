"""The run page's charts as SVG, from events.jsonl. matplotlib is imported when the first one is drawn."""

import io
import re

from training.events import Series

MAX_POINTS = 500
# Chart → its title and the series it shows, with their labels.
CHARTS: dict[str, tuple[str, dict[str, str]]] = {
    "loss": ("Loss", {"loss": "training", "eval_loss": "validation"}),
    "margins": ("Reward margin", {"rewards/margins": "training", "eval_rewards/margins": "validation"}),
    "accuracies": ("Reward accuracy", {"rewards/accuracies": "training", "eval_rewards/accuracies": "validation"}),
    "logps": ("Log-probability", {"logps/chosen": "chosen", "logps/rejected": "rejected"}),
}
BY_METHOD = {"sft": ["loss"], "dpo": ["loss", "margins", "accuracies", "logps"]}
# Okabe and Ito's blue and vermillion: told apart by colour-blind readers; the second is dashed as well.
LOOKS = [("#0072B2", "-"), ("#D55E00", "--")]
STYLE = re.compile(r' style="([^"]*)"')


def draw(chart: str, series: Series) -> str:
    """One chart as SVG without any inline style, so that the site's content security policy holds for it too."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    title, shown = CHARTS[chart]
    with rc_context({"svg.hashsalt": "medprefs", "font.size": 10}):
        figure = Figure(figsize=(5.2, 2.8), layout="constrained")
        axes = figure.subplots()
        for (name, label), (colour, line) in zip(shown.items(), LOOKS, strict=True):
            if points := thinned(series.get(name, [])):
                marker = "o" if len(points) < 40 else ""
                xs, ys = zip(*points, strict=True)
                axes.plot(xs, ys, label=label, color=colour, linestyle=line, marker=marker, markersize=3, linewidth=1.6)
        axes.set_title(title, loc="left", fontsize=11)
        axes.set_xlabel("step")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        if axes.lines:
            axes.legend(frameon=False)
        else:
            axes.text(0.5, 0.5, "no points yet", transform=axes.transAxes, ha="center", va="center", color="#555555")
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None})
    return without_styles(out.getvalue())


def thinned(points: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """At most about MAX_POINTS of them, evenly chosen, the last among them."""
    stride = -(-len(points) // MAX_POINTS) or 1
    return points[::-1][::stride][::-1]


def without_styles(svg: str) -> str:
    """`style="fill: red"` as the attribute `fill="red"`, and the one <style> sheet as attributes of <svg>."""
    svg = re.sub(r"<defs>\s*<style[^>]*>[^<]*</style>\s*</defs>", "", svg)
    svg = svg.replace("<svg ", '<svg stroke-linejoin="round" stroke-linecap="butt" ', 1)
    return STYLE.sub(lambda found: _attributes(found[1]), svg)


def _attributes(style: str) -> str:
    pairs = (part.split(":", 1) for part in style.split(";") if ":" in part)
    return "".join(f' {name.strip()}="{value.strip()}"' for name, value in pairs)
