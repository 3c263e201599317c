"""The planner's form: the numbers that matter for one goal."""

from typing import Any

from django import forms

from annotations.models import Campaign, Study
from annotations.models.membership import Role
from annotations.sizing import GOALS, MOST_CASES, MOST_OVERLAP, Setup, goal_of

ALWAYS = ("annotators", "cases", "overlap", "agreement")
ASKED = {
    "win_rate": ("effect", "ties"),
    "mean_difference": ("effect", "sd", "points"),
    "accuracy_difference": ("effect", "accuracy", "discordant"),
    "f1_difference": ("effect", "accuracy", "discordant", "prevalence"),
    "alpha": ("kind", "level", "shares", "floor"),
}
ITEMS = {
    "win_rate": "Each is one item: a pair of outputs.",
    "mean_difference": "Each is two items: an output of each arm.",
    "accuracy_difference": "Each is two items: an output of each arm.",
    "f1_difference": "Each is one item: the case itself is labelled.",
    "alpha": "In Likert and correctness campaigns each is two items, one of each arm.",
}
EFFECTS = {
    "win_rate": ("Expected win rate", "0.5 is no preference; a tie counts one half."),
    "mean_difference": ("Expected difference", "In points, the mean over cases."),
    "accuracy_difference": ("Expected difference", "Of the shares of correct answers."),
    "f1_difference": ("Expected difference in accuracy", "F1 follows from it; the result says what it would be."),
}


class SharesField(forms.CharField):
    """Shares of the categories in order: “10, 15, 25, 30, 20”."""

    def clean(self, value: Any) -> tuple[float, ...]:
        text = super().clean(value) or ""
        try:
            shares = tuple(float(part) for part in text.replace(";", ",").split(","))
        except ValueError:
            shares = ()
        if not 2 <= len(shares) <= 12 or min(shares) < 0 or not 0 < sum(shares) < float("inf"):
            raise forms.ValidationError("Give 2 to 12 numbers from 0 up, separated by commas, as 10, 15, 25, 30, 20.")
        return tuple(share / sum(shares) for share in shares)


def _share(label: str, help_text: str, low: float = 0.0, high: float = 1.0) -> forms.FloatField:
    widget = forms.NumberInput(attrs={"step": "0.01"})
    return forms.FloatField(label=label, help_text=help_text, min_value=low, max_value=high, widget=widget)


class PlannerForm(forms.Form):
    annotators = forms.IntegerField(min_value=1, max_value=1000, help_text="How many people judge.")
    cases = forms.IntegerField(min_value=2, max_value=MOST_CASES)
    overlap = forms.IntegerField(min_value=1, max_value=MOST_OVERLAP, help_text="Annotators per item.")
    agreement = _share(
        "Expected agreement",
        "Krippendorff's alpha: 0 is chance, 1 perfect. Take it from an earlier campaign where there is one.",
    )
    effect = forms.FloatField(widget=forms.NumberInput(attrs={"step": "0.01"}))
    ties = _share("Share of ties", "“Both unacceptable” counts as one.", high=0.95)
    sd = forms.FloatField(
        label="Spread of the differences", min_value=0.05, max_value=10,
        widget=forms.NumberInput(attrs={"step": "0.1"}),
        help_text="Standard deviation of one annotator's difference between two outputs, in points.",
    )  # fmt: skip
    points = forms.IntegerField(label="Points of the scale", min_value=2, max_value=10)
    accuracy = _share("Accuracy of the first arm", "Share of its answers that are correct.", 0.01, 0.99)
    discordant = _share("Discordant cases", "Share of cases that only one of the two arms gets right.", 0.01)
    prevalence = _share("Share of positive cases", "Of the label that F1 is about.", 0.01, 0.99)
    kind = forms.ChoiceField(choices=Campaign.Kind.choices, label="Kind of campaign")
    level = forms.ChoiceField(
        choices=[(name, name) for name in ("nominal", "ordinal", "interval")],
        help_text="Ordinal for scales and correctness, nominal for labels without order and for preferences.",
    )
    shares = SharesField(
        label="How often each answer is given", help_text="In order, in any unit. Skewed answers widen the interval."
    )
    floor = _share("Least agreement", "What alpha should be shown to exceed; 0.667 allows tentative conclusions.", 0.01)

    def __init__(self, *args: Any, goal: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.label_suffix = ""
        self.goal = goal
        self.fields["cases"].help_text = ITEMS[goal]
        wanted = ALWAYS + ASKED[goal]
        self.fields = {name: self.fields[name] for name in wanted}
        if goal == "alpha":
            self.fields["agreement"].help_text = "The alpha that you expect: 0 is chance, 1 perfect."
        else:
            self.fields["effect"].label, self.fields["effect"].help_text = EFFECTS[goal]

    def setup(self) -> Setup:
        return Setup(goal=self.goal, **self.cleaned_data)


def _agreed_on(study: Study) -> str:
    """The kind of campaign whose agreement such a study usually asks about: scales before preferences."""
    kind = GOALS[goal_of(study)].kind
    return Campaign.Kind.LIKERT if kind == Campaign.Kind.COMPARISON and study.criteria else kind


def start(study: Study, goal: str) -> dict[str, Any]:
    """What the form shows at first: the study's own numbers, and ordinary ones where it has none."""
    people = study.memberships.filter(role=Role.ANNOTATOR).count()
    cases = study.cases.filter(split="test").count() or study.cases.count()
    annotators = max(2, people) if goal == "alpha" else people or 3
    points = len(study.criteria[0]["anchors"]) if study.criteria else Setup.points
    found: dict[str, Any] = {
        "annotators": annotators,
        "cases": min(MOST_CASES, cases) if cases >= 2 else 100,
        "overlap": min(2, annotators),
        "kind": _agreed_on(study),
        "points": min(10, max(2, points)),
        "shares": "10, 15, 25, 30, 20",
        "effect": GOALS[goal].usual,
    }
    for name in ("ties", "sd", "accuracy", "discordant", "prevalence", "level", "floor", "agreement"):
        found[name] = getattr(Setup, name)
    if goal == "alpha":
        found["agreement"] = 0.75
    return {name: found[name] for name in ALWAYS + ASKED[goal]}
