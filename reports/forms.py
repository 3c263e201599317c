"""Forms of the results pages. Arms are chosen one below the other: their order is the order of comparison."""

from typing import Any

from django import forms
from django.db.models import Q

from annotations import forms_campaign
from annotations.models import Campaign, Case, Model, Status, Study
from reports import analysis, votes
from reports.evaluation import scope
from reports.models import Evaluation

MOST_ARMS = 6


def models_for(study: Study) -> list[Model]:
    """What can be an arm: weights and servers, adapters of this study, imported models that wrote for its cases."""
    return list(
        Model.objects.filter(
            Q(kind__in=[Model.Kind.BASE, Model.Kind.ENDPOINT])
            | Q(kind=Model.Kind.ADAPTER, made_by_run__isnull=True)
            | Q(made_by_run__study=study)
            | Q(kind=Model.Kind.IMPORTED, completions__case__study=study)
        )
        .distinct()
        .order_by("kind", "name")
    )


class ArmsForm(forms.Form):
    """Up to six arms in order, the first fields of a form; ``cleaned_data["arms"]`` is the list of models."""

    def __init__(self, study: Study, *args: Any, arms_required: bool = True, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.study = study
        self.models = {model.name: model for model in models_for(study)}
        planned = analysis.plan(study).arms
        choices = [("", "–"), *[(name, f"{name} ({model.get_kind_display()})") for name, model in self.models.items()]]
        for i in range(MOST_ARMS):
            self.fields[f"arm_{i + 1}"] = forms.ChoiceField(
                choices=choices,
                required=arms_required and i == 0,
                label="First arm (usually the base model)" if i == 0 else f"Arm {i + 1}, compared with the one before",
                initial=planned[i] if i < len(planned) and planned[i] in self.models else "",
            )
        # The subclass's own fields come after the arms.
        own = [name for name in self.fields if not name.startswith("arm_")]
        self.order_fields([*[f"arm_{i + 1}" for i in range(MOST_ARMS)], *own])

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        names = [data.get(f"arm_{i + 1}") for i in range(MOST_ARMS)]
        chosen = [name for name in names if name]
        if len(set(chosen)) != len(chosen):
            raise forms.ValidationError("An arm is chosen twice. Each model can be one arm only.")
        data["arms"] = [self.models[name] for name in chosen]
        return data


class PlanForm(ArmsForm):
    """What the lead can still decide before the plan is locked."""

    primary_metric = forms.ChoiceField()
    primary_criterion = forms.ChoiceField(required=False)
    confirm = forms.BooleanField(label="I have not seen any result of this study, and lock the plan as it stands here")

    def __init__(self, study: Study, *args: Any, **kwargs: Any) -> None:
        super().__init__(study, *args, **kwargs)
        decided = analysis.plan(study)
        metric, criterion = self.fields["primary_metric"], self.fields["primary_criterion"]
        assert isinstance(metric, forms.ChoiceField)
        assert isinstance(criterion, forms.ChoiceField)
        metric.choices = [(name, analysis.METRIC_TITLES[name]) for name in analysis.METRICS[study.task]]
        metric.initial = decided.primary_metric
        names = [*study.criteria, *study.label_fields]
        criterion.choices = [("", "the metric as a whole"), *[(c["name"], c["title"]) for c in names]]
        criterion.initial = decided.primary_criterion
        criterion.label = "Primary criterion or label field"
        criterion.help_text = "A win rate has none; without a label field, every field is primary."

    def changes(self) -> dict[str, Any]:
        """What ``analysis.lock`` takes."""
        data = self.cleaned_data
        metric = data["primary_metric"]
        takes = data["primary_criterion"] in analysis.criteria_of(self.study, metric)
        return {
            "arms": [model.name for model in data["arms"]],
            "primary_metric": metric,
            "primary_criterion": data["primary_criterion"] if takes else "",
        }


class EvaluationForm(ArmsForm):
    split = forms.ChoiceField(choices=Case.Split.choices, initial=Case.Split.TEST)
    max_tokens = forms.IntegerField(
        required=False, min_value=1, max_value=8192, label="Longest output, in tokens", help_text="Empty: the default."
    )
    exclude_leaked = forms.BooleanField(
        required=False,
        label="Leave out cases that an arm was trained on",
        help_text="Cases of a group that an arm was trained on are left out with them; the report counts them.",
    )
    override = forms.CharField(
        required=False,
        label="Reason to keep such cases all the same",
        help_text="Printed in the report. Leave empty unless you must.",
    )


class ReportForm(forms.Form):
    evaluations = forms.ModelMultipleChoiceField(
        queryset=Evaluation.objects.none(), required=False, widget=forms.CheckboxSelectMultiple
    )
    campaigns = forms.ModelMultipleChoiceField(
        queryset=Campaign.objects.none(),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="Agreement is estimated for each; what concerns the evaluations' outputs is scored. "
        "Simulated judgements are never scored together with people's.",
    )

    def __init__(self, study: Study, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        evaluations, campaigns = self.fields["evaluations"], self.fields["campaigns"]
        assert isinstance(evaluations, forms.ModelMultipleChoiceField)
        assert isinstance(campaigns, forms.ModelMultipleChoiceField)
        evaluations.queryset = study.evaluations.filter(status=Status.SUCCEEDED)
        campaigns.queryset = study.campaigns.all()
        newest = evaluations.queryset.first()
        evaluations.initial = [newest.pk] if newest else []
        campaigns.initial = [campaign.pk for campaign in votes.default_campaigns(study)]


class BlindCampaignForm(forms_campaign.PlanForm):
    """A campaign on an evaluation's outputs: its cases, of all its arms or of some."""

    def __init__(self, *args: Any, evaluation: Evaluation, **kwargs: Any) -> None:
        super().__init__(*args, study=evaluation.study, **kwargs)
        self.evaluation = evaluation
        del self.fields["split"]
        kinds = campaign_kinds(evaluation.study)
        self.offer("kind", [(kind.value, forms_campaign.KINDS[kind][0]) for kind in kinds])
        self.fields["name"].initial = f"Evaluation {evaluation.pk}, {kinds[0].value}"
        arms = Model.objects.filter(pk__in=evaluation.arms.values("model"))
        self.offer_models(arms)
        self.fields["models"].initial = list(arms)
        self.fields["models"].label = "Arms"
        self.fields["models"].help_text = "Whose outputs are judged. None chosen: all of them."

    def scope(self) -> dict[str, Any]:
        return scope(self.evaluation, list(self.cleaned_data["models"]))


def campaign_kinds(study: Study) -> list[Campaign.Kind]:
    """The kinds that judge outputs of this task, the most fitting first."""
    kinds = [Campaign.Kind.COMPARISON]
    if study.task == Study.Task.REASONING:
        kinds = [Campaign.Kind.CORRECTNESS, Campaign.Kind.COMPARISON]
    elif study.task == Study.Task.SUMMARISATION and study.criteria:
        kinds = [Campaign.Kind.LIKERT, Campaign.Kind.COMPARISON]
    return kinds
