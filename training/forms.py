"""What a lead fills in to freeze a dataset or to launch a run."""

from typing import Any

from django import forms

from annotations.models import Campaign, Model, Study
from annotations.policy import SOURCES, Policy
from annotations.preferences import campaigns_read, default_campaigns
from training.launch import DATASET_KIND, default_name, newest_parent, possible_parents
from training.models import Run, TrainingDataset
from training.recipes.hyperparameters import HYPERPARAMETERS

SOURCE_TITLES = {
    "comparisons": "comparisons: the preferred completion against the other",
    "ideals": "ideals: outputs that an annotator corrected (for preferences: against the output as it was)",
    "labels": "labels that clinicians agreed on (for preferences: against a wrong output)",
    "references": "references of the cases (for preferences: against a wrong output)",
    "correctness": "correctness: a correct output against a wrong one",
}


class CampaignsField(forms.ModelMultipleChoiceField):
    def label_from_instance(self, obj: Campaign) -> str:
        marks = ["simulated"] * obj.simulated + ["still open"] * obj.is_open
        return f"{obj.name} ({', '.join([obj.kind, *marks])})"


class FreezeForm(forms.Form):
    kind = forms.ChoiceField(
        choices=[("preference", "preference: chosen and rejected, for DPO"), ("sft", "SFT: examples to imitate")],
        widget=forms.RadioSelect,
        initial="preference",
        label="What for",
    )
    campaigns = CampaignsField(queryset=Campaign.objects.none(), required=False, widget=forms.CheckboxSelectMultiple)
    sources = forms.MultipleChoiceField(
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="None ticked: what is usual for the task.",
    )
    consensus = forms.ChoiceField(
        choices=[
            ("campaign", "its campaign's own rule says so"),
            ("majority", "more than half agree"),
            ("unanimous", "all agree"),
            ("adjudicated", "all agree, or a lead decided"),
        ],
        label="An answer counts when",
    )
    min_annotators = forms.IntegerField(min_value=1, initial=1, label="Answers an item needs")
    min_strength = forms.ChoiceField(
        choices=[("slightly", "slightly or clearly better"), ("clearly", "clearly better only")],
        label="A preference counts when",
    )
    unparsed_as_wrong = forms.BooleanField(
        required=False, initial=True, label="An output without a readable label or answer is a wrong one"
    )
    partly_as_wrong = forms.BooleanField(required=False, initial=True, label="A partly correct answer is a wrong one")
    max_chars = forms.IntegerField(
        required=False, min_value=1, label="Longest row in characters", help_text="Empty: no limit here."
    )

    def __init__(self, *args: Any, study: Study, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.study = study
        task = {source for sources in SOURCES.values() for source in sources[study.task]}
        self.fields["sources"].choices = [(s, title) for s, title in SOURCE_TITLES.items() if s in task]  # type: ignore[attr-defined]
        if study.task == Study.Task.SUMMARISATION:
            del self.fields["unparsed_as_wrong"]
        if study.task != Study.Task.REASONING:
            del self.fields["partly_as_wrong"]
        campaigns = campaigns_read(study, tuple(task)).order_by("pk")
        self.fields["campaigns"].queryset = campaigns  # type: ignore[attr-defined]
        initial = default_campaigns(study=study, kind="preference", policy=Policy())
        self.fields["campaigns"].initial = [campaign.pk for campaign in initial]
        if not campaigns:
            self.fields["campaigns"].help_text = "There is none yet whose answers a dataset can use."

    def arguments(self) -> dict[str, Any]:
        """What ``snapshots.freeze`` takes. Raises UserError where the policy can't be."""
        given = dict(self.cleaned_data)
        kind, campaigns = given.pop("kind"), list(given.pop("campaigns"))
        return {"study": self.study, "kind": kind, "campaigns": campaigns, "policy": Policy.from_mapping(given)}


class DatasetField(forms.ModelChoiceField):
    def label_from_instance(self, obj: TrainingDataset) -> str:
        rows = f"{obj.n_train} training, {obj.n_validation} validation rows"
        return f"dataset {obj.pk} of {obj.created_at:%d %b %Y} ({rows})"


class RunForm(forms.Form):
    base = forms.ModelChoiceField(queryset=Model.objects.none(), label="Base model", empty_label=None)
    dataset = DatasetField(queryset=TrainingDataset.objects.none(), empty_label=None)
    parent = forms.ModelChoiceField(
        queryset=Run.objects.none(),
        required=False,
        label="Continue the SFT run",
        empty_label="none: start from the base model",
        help_text="DPO usually continues an SFT run on the same base model, which is then its reference.",
    )
    name = forms.CharField(required=False, max_length=100, label="Name", help_text="The new model is called like this.")
    seed = forms.IntegerField(min_value=0, max_value=2**32 - 1, initial=0, help_text="The same seed, the same run.")

    def __init__(self, *args: Any, study: Study, method: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        bases = Model.objects.filter(kind=Model.Kind.BASE)
        datasets = TrainingDataset.objects.filter(study=study, kind=DATASET_KIND[Run.Method(method)]).order_by("-pk")
        self.fields["base"].queryset = bases  # type: ignore[attr-defined]
        self.fields["dataset"].queryset = datasets  # type: ignore[attr-defined]
        self.fields["name"].widget.attrs["placeholder"] = default_name(study, method)
        if method == Run.Method.SFT:
            del self.fields["parent"]
            return
        self.fields["parent"].queryset = possible_parents(study).order_by("-pk")  # type: ignore[attr-defined]
        newest = [parent for base in bases if (parent := newest_parent(study, base))]
        if newest:
            latest = max(newest, key=lambda run: run.pk)
            self.fields["parent"].initial, self.fields["base"].initial = latest.pk, latest.base_id


class HyperparameterForm(forms.Form):
    """One field for each hyperparameter of a method; empty means its default. The launch checks the values."""

    prefix = "hyperparameter"

    def __init__(self, *args: Any, method: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, spec in HYPERPARAMETERS[method].items():
            default = str(spec.default).lower() if spec.type is bool else str(spec.default)
            field: forms.ChoiceField | forms.CharField = forms.CharField()
            if values := spec.choices or (("true", "false") if spec.type is bool else ()):
                field = forms.ChoiceField(choices=[("", f"default: {default}"), *((value, value) for value in values)])
            field.label, field.required = name, False
            field.help_text = f"{spec.help} Default {default} ({spec.source})."
            field.widget.attrs["placeholder"] = default
            self.fields[name] = field

    def given(self) -> dict[str, Any]:
        return {name: value for name, value in self.cleaned_data.items() if value != ""}
