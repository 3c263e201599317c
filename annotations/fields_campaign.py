"""What a lead is asked about a new campaign: the fields with their help, in the groups of the page."""

from typing import Any

from django import forms

from accounts.models import User
from annotations.models import Campaign, Model
from annotations.models.case import Case

Kind = Campaign.Kind
KINDS: dict[str, tuple[str, str]] = {
    Kind.COMPARISON: ("Comparison", "Which of two outputs is better. With one model: two of its samples."),
    Kind.LIKERT: ("Likert", "Each output gets points on each of the study's criteria."),
    Kind.CORRECTNESS: ("Correctness", "Is the answer correct, partly correct or incorrect?"),
    Kind.LABEL: ("Labels", "What the case is; no output is shown."),
}
OUTPUTS = (Kind.COMPARISON, Kind.LIKERT, Kind.CORRECTNESS)
REASON_CHOICES = [
    ("optional", "May be given"),
    ("required", "Must be given: one of those to choose from, or a text"),
    ("none", "Not asked for"),
]
# The kinds of campaign a field is for; a field that isn't here is for all of them.
ONLY_FOR: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("against", "pairs", "criteria"), (Kind.COMPARISON,)),
    **dict.fromkeys(
        ("models", "chips", "marks", "ideal", "blinding_items", "blinding_arms", "leave_out_named"), OUTPUTS
    ),
}


def percent(most: int, **options: Any) -> forms.IntegerField:
    """A share as people say it; the form turns it into a number between 0 and 1."""
    return forms.IntegerField(required=False, min_value=0, max_value=most, **options)


def lines(rows: int, **options: Any) -> forms.CharField:
    return forms.CharField(required=False, widget=forms.Textarea(attrs={"rows": rows}), **options)


class PlanFields(forms.Form):
    """What a lead says of a new campaign. What is left empty, or isn't sent, takes its default."""

    name = forms.CharField(max_length=120, help_text="Annotators see it, so it should not say which models are judged.")
    kind = forms.ChoiceField(widget=forms.RadioSelect)
    models = forms.ModelMultipleChoiceField(
        queryset=Model.objects.none(),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="Whose outputs are judged. Annotators never learn which model wrote what.",
    )
    split = forms.ChoiceField(
        choices=[("", "All cases"), *Case.Split.choices],
        required=False,
        label="Cases of the split",
        help_text="Training data come from train and validation; the test split is for evaluation.",
    )
    annotators = forms.ModelMultipleChoiceField(
        queryset=User.objects.none(), widget=forms.CheckboxSelectMultiple, help_text="Members of this study."
    )

    overlap = forms.IntegerField(
        required=False,
        min_value=1,
        label="Annotators an item",
        help_text="How many people judge the same item. Empty: 2, so that agreement can be measured (1 if you chose "
        "one annotator).",
    )
    overlap_share = percent(
        100,
        initial=100,
        label="Share of items with that many, in %",
        help_text="One person judges the others. Drawn so that the share holds in every split and pair of models.",
    )
    consensus = forms.ChoiceField(required=False, label="How the agreed answer is found")

    against = forms.ChoiceField(required=False, label="Which pairs", help_text="Matters with three models or more.")
    pairs = lines(
        2,
        label="Or only these pairs",
        help_text="One pair a line, as model-a:model-b. Empty: as chosen above.",
    )
    criteria = forms.BooleanField(
        required=False,
        label="Compare A and B on each of the study's criteria first",
        help_text="Then the preference as a whole.",
    )
    reason = forms.ChoiceField(
        required=False,
        label="Reasons",
        choices=REASON_CHOICES,
        initial="optional",
    )
    chips = lines(
        4,
        label="Reasons to choose from",
        help_text="One a line, up to 60 characters. Annotators choose them with one touch, and can write their own.",
    )
    marks = forms.BooleanField(
        required=False,
        label="Let annotators mark sentences",
        help_text="As correct, wrong or with something missing, and how severe it is.",
    )
    ideal = forms.BooleanField(
        required=False,
        label="Let annotators edit an output to what it should be",
        help_text="Their text is kept as an output of its own, and can train a model.",
    )
    show_reference = forms.ChoiceField(
        required=False,
        label="Reference answer",
        choices=[("", "Shown only where correctness is judged"), ("yes", "Shown"), ("no", "Hidden")],
    )

    known_from = forms.ChoiceField(
        required=False,
        label="Known answers from",
        help_text="Items whose right answer you know: to train annotators, and to check them unseen. They are taken "
        "out of what is estimated.",
    )
    known_file = forms.FileField(
        required=False,
        label="File of known answers",
        help_text="A judgement file (CSV or JSONL) with the columns case, model_a, model_b, criterion and value; what "
        "stands under reason is told to annotators in training.",
    )
    known_text = forms.CharField(required=False, strip=False, widget=forms.HiddenInput)
    known_name = forms.CharField(required=False, widget=forms.HiddenInput)
    training_items = forms.IntegerField(
        required=False,
        min_value=0,
        initial=0,
        label="Training items",
        help_text="Judged first, with the known answer shown afterwards. 0: no training round.",
    )
    training_pass_mark = percent(
        100, initial=80, label="Pass mark of the training, in %", help_text="Whoever is below it trains again."
    )
    gold_rate = percent(
        50,
        initial=0,
        label="Gold items, in % of an annotator's work",
        help_text="Items with a known answer that look like all the others. 5 to 10 show who drifts.",
    )
    repeat_rate = percent(
        50,
        initial=0,
        label="Hidden repeats, in % of an annotator's work",
        help_text="Judged a second time, much later and with sides swapped: how consistent each annotator is.",
    )

    max_per_annotator = forms.IntegerField(
        required=False,
        min_value=1,
        label="Most items for one annotator",
        help_text="Gold items and repeats count, training doesn't. Empty: no limit.",
    )
    route_by = forms.ChoiceField(
        required=False,
        label="Specialty that a case needs",
        help_text="A column of the cases' metadata. A case goes only to annotators with that specialty (People page).",
    )
    apart = forms.IntegerField(
        required=False,
        min_value=0,
        initial=5,
        label="Other items between two of one case",
        help_text="So that nobody judges an output beside the one they have just read.",
    )
    seed = forms.IntegerField(
        required=False,
        min_value=0,
        initial=1,
        label="Seed",
        help_text="Order, sides and lots are drawn from it and from a secret, shown once the campaign is closed.",
    )

    blinding_items = forms.IntegerField(
        required=False,
        min_value=0,
        initial=0,
        label="Outputs to guess about",
        help_text="At the end, annotators are asked who wrote so many of the outputs they judged. 0: nobody is asked.",
    )
    blinding_arms = lines(
        2,
        label="What the models are called in that question",
        help_text="One a line, as model = wording, without the model's real name. Empty: “the original model”, “a "
        "fine-tuned model” and the like.",
    )
    leave_out_named = forms.BooleanField(
        required=False,
        label="Leave out cases whose outputs say who wrote them",
        help_text="Outputs that mention a model or its maker are listed in the preview.",
    )

    GROUPS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
        ("Overlap and consensus", "two annotators an item", ("overlap", "overlap_share", "consensus")),
        (
            "What is asked",
            "the answer, and reasons if they like",
            ("against", "pairs", "criteria", "reason", "chips", "marks", "ideal", "show_reference"),
        ),
        (
            "Training and quality",
            "no training, no checks",
            ("known_from", "known_file", "training_items", "training_pass_mark", "gold_rate", "repeat_rate"),
        ),
        ("Who judges what", "anybody anything", ("max_per_annotator", "route_by", "apart", "seed")),
        ("Blinding check", "nobody is asked to guess", ("blinding_items", "blinding_arms", "leave_out_named")),
    )
