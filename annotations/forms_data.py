"""Forms for studies, cases, completions and models. What answers mean is checked by the functions they feed."""

from typing import Any

from django import forms
from django.conf import settings
from django.core.files.uploadedfile import UploadedFile

from accounts.errors import UserError
from annotations.case_rows import parse_mapping
from annotations.generation.queue import WRITTEN_ELSEWHERE
from annotations.models import Case, Model, Study
from annotations.splitting import parse_fractions
from annotations.studies import parse_config

EVERY_SPLIT = [("", "Every split"), *Case.Split.choices]
MAPPING_HELP = "One line for each field whose column has another name, for example <code>text=Dialogue</code>."


def show(form: forms.Form, error: UserError) -> None:
    """Put a UserError above the form's fields, one line a finding."""
    form.add_error(None, [error.message, *error.details])


class StudyForm(forms.Form):
    slug = forms.CharField(
        label="Name in addresses", max_length=60, help_text="Lower-case letters, digits, - and _, as portal-triage."
    )
    task = forms.ChoiceField(choices=Study.Task.choices)
    title = forms.CharField(max_length=200)
    description = forms.CharField(required=False, widget=forms.Textarea(attrs={"rows": 2}))
    instructions = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 5}),
        help_text="What annotators read before judging. Markdown.",
    )
    config = forms.CharField(
        label="Configuration",
        required=False,
        widget=forms.Textarea(attrs={"rows": 12, "class": "mono", "spellcheck": "false"}),
        help_text="Labels, criteria and prompt, in TOML. Leave it empty for the task's defaults.",
    )

    def study_config(self) -> dict[str, Any]:
        """The configuration, with the texts of the form. Raises UserError."""
        config = parse_config(self.cleaned_data["config"].encode(), "The configuration")
        texts = {name: self.cleaned_data[name] for name in ("title", "description", "instructions")}
        return config | {name: text for name, text in texts.items() if text}


class MappingField(forms.CharField):
    widget = forms.Textarea(attrs={"rows": 3, "class": "mono", "spellcheck": "false"})

    def clean(self, value: Any) -> dict[str, str]:
        lines = (super().clean(value) or "").splitlines()
        try:
            return parse_mapping(line for line in lines if line.strip())
        except UserError as error:
            raise forms.ValidationError(error.message) from None


class ImportFileField(forms.FileField):
    """A file of at most ``settings.IMPORT_MAX_BYTES``."""

    def clean(self, data: Any, initial: Any = None) -> UploadedFile:
        file: UploadedFile = super().clean(data, initial)
        if (file.size or 0) > settings.IMPORT_MAX_BYTES:
            size, most = ((n or 0) / 1024**2 for n in (file.size, settings.IMPORT_MAX_BYTES))
            raise forms.ValidationError(
                f"{file.name} has {size:.1f} MB; at most {most:g} MB are taken here. "
                "Split it into several files and import one after another."
            )
        return file


class CaseImportForm(forms.Form):
    file = ImportFileField(help_text="JSON Lines (.jsonl), CSV or Parquet.")
    mapping = MappingField(label="Columns", required=False, help_text=MAPPING_HELP)
    split = forms.ChoiceField(
        required=False,
        choices=[("", "From the file, or drawn by group"), *Case.Split.choices],
        help_text="Training reads train and validation cases; only test cases are evaluated.",
    )
    fractions = forms.CharField(
        label="Shares of a drawn split",
        required=False,
        help_text="Train, validation, test, for example 0.7,0.1,0.2 (the default). All cases of a group stay together.",
    )
    seed = forms.IntegerField(min_value=0, initial=0, required=False, help_text="Of the draw.")

    def clean_fractions(self) -> tuple[float, ...] | None:
        try:
            return parse_fractions(self.cleaned_data["fractions"]) if self.cleaned_data["fractions"] else None
        except UserError as error:
            raise forms.ValidationError(error.message) from None


class CompletionImportForm(forms.Form):
    file = ImportFileField(help_text="JSON Lines (.jsonl), CSV or Parquet with external_id and text.")
    model_name = forms.CharField(
        label="Model", max_length=120, help_text="Whose outputs these are. A new name makes a new imported model."
    )
    mapping = MappingField(label="Columns", required=False, help_text=MAPPING_HELP)


class GenerationForm(forms.Form):
    model = forms.ModelChoiceField(Model.objects.exclude(kind__in=WRITTEN_ELSEWHERE))
    split = forms.ChoiceField(choices=EVERY_SPLIT, required=False)
    n = forms.IntegerField(label="Completions a case", min_value=1, initial=1)
    temperature = forms.FloatField(initial=0, help_text="0 always takes the likeliest word; 0.8 varies.")
    max_tokens = forms.IntegerField(label="Longest answer, in tokens", min_value=1)
    seed = forms.IntegerField(min_value=0, initial=0)
    limit = forms.IntegerField(label="Only the first cases", min_value=1, required=False)

    def chosen(self) -> dict[str, Any]:
        """The answers as ``queue_generation`` takes them."""
        data = dict(self.cleaned_data)
        sampling = {name: data.pop(name) for name in ("temperature", "max_tokens", "seed")}
        return data | {"sampling": sampling}


class ModelForm(forms.Form):
    KINDS = [
        ("path", "Weights in a directory"),
        ("url", "A model on a server"),
        ("adapter", "An adapter on a base model"),
    ]

    name = forms.CharField(max_length=120, help_text="Unique; without spaces and commas.")
    kind = forms.ChoiceField(choices=KINDS)
    path = forms.CharField(
        label="Directory", required=False, help_text="On this machine and the workers'. For weights and adapters."
    )
    url = forms.CharField(label="Address", required=False, help_text="As http://127.0.0.1:8001/v1. For a server.")
    served_name = forms.CharField(
        label="Name on the server", required=False, help_text="Needed where the server serves several models."
    )
    base = forms.ModelChoiceField(
        Model.objects.filter(kind=Model.Kind.BASE), label="Base model", required=False, help_text="For an adapter."
    )

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        needed = {"path": ["path"], "url": ["url"], "adapter": ["path", "base"]}.get(data.get("kind", ""), [])
        for name in needed:
            if not data.get(name):
                self.add_error(name, "This is needed for the kind of model you chose.")
        return data
