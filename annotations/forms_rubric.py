"""The form that changes a campaign's wording: one field for each text that annotators read."""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django import forms
from django.forms.boundfield import BoundField

from annotations.designs import FREE_TEXT
from annotations.fields_campaign import REASON_CHOICES
from annotations.models import Campaign
from annotations.rubrics import MAX_REASON, TITLES


@dataclass(frozen=True)
class Section:
    title: str
    fields: list[BoundField]


class RubricForm(forms.Form):
    instructions = forms.CharField(
        required=False,
        strip=True,
        widget=forms.Textarea(attrs={"rows": 8}),
        label=TITLES["instructions"],
        help_text="Markdown.",
    )
    reason = forms.ChoiceField(choices=REASON_CHOICES, label=TITLES["reason"])
    chips = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 5}),
        label=TITLES["chips"],
        help_text="One a line, up to 60 characters.",
    )
    marks = forms.BooleanField(required=False, label="Let annotators mark sentences")
    ideal = forms.BooleanField(required=False, label="Let annotators edit an output to what it should be")
    why = forms.CharField(
        max_length=MAX_REASON,
        label="Why is the wording changed?",
        help_text="Kept with the new version, and shown beside it.",
    )

    def __init__(self, *args: Any, campaign: Campaign, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.label_suffix = ""
        self.campaign = campaign
        rubric = campaign.rubric
        self.initial = {
            **{name: rubric.get(name) for name in ("instructions", "reason", "marks", "ideal")},
            "chips": "\n".join(rubric.get("chips", [])),
        }
        if campaign.kind == Campaign.Kind.LABEL:
            del self.fields["marks"]
        if campaign.kind == Campaign.Kind.LABEL or campaign.study.task not in FREE_TEXT:
            del self.fields["ideal"]
        for text in _texts(rubric):
            self.fields[text.field] = forms.CharField(
                required=text.required, label=text.label, initial=text.value, widget=_widget(text.value)
            )

    @property
    def sections(self) -> list[Section]:
        general = [name for name in ("instructions", "reason", "chips", "marks", "ideal") if name in self.fields]
        by_title = {"In general": [self[name] for name in general]}
        for text in _texts(self.campaign.rubric):
            by_title.setdefault(text.section, []).append(self[text.field])
        return [Section(title, fields) for title, fields in by_title.items()]

    def content(self) -> dict[str, Any]:
        """The rubric with the texts of the form in it."""
        data = self.cleaned_data
        rubric: dict[str, Any] = copy.deepcopy(self.campaign.rubric)
        rubric |= {"instructions": data["instructions"], "reason": data["reason"]}
        rubric["chips"] = [line.strip() for line in data["chips"].splitlines() if line.strip()]
        rubric |= {name: data[name] for name in ("marks", "ideal") if name in data}
        for text in _texts(rubric):
            *path, last = text.path
            where: Any = rubric
            for step in path:
                where = where[step]
            where[last] = data[text.field]
        return rubric


@dataclass(frozen=True)
class Text:
    """A text somewhere in a rubric, and the field that changes it."""

    path: tuple[str | int, ...]
    section: str
    label: str
    value: str
    required: bool = True

    @property
    def field(self) -> str:
        return "-".join(str(step) for step in self.path)


def _texts(rubric: Mapping[str, Any]) -> Iterator[Text]:
    for n, criterion in enumerate(rubric["criteria"]):
        at, section = ("criteria", n), f"Criterion “{criterion['name']}”"
        yield Text((*at, "title"), section, "Title", criterion["title"])
        yield Text((*at, "question"), section, "Question", criterion["question"], required=False)
        for place, anchor in enumerate(criterion["anchors"]):
            yield Text((*at, "anchors", place), section, f"What {place + 1} means", anchor)
    for n, field in enumerate(rubric["label_fields"]):
        at, section = ("label_fields", n), f"Label field “{field['name']}”"
        yield Text((*at, "title"), section, "Title", field["title"])
        for place, label in enumerate(field["labels"]):
            path = (*at, "labels", place)
            yield Text((*path, "title"), section, f"What “{label['value']}” is called", label["title"])
            yield Text((*path, "help"), section, f"Help for “{label['value']}”", label.get("help", ""), required=False)


def _widget(value: str) -> forms.Widget:
    return forms.Textarea(attrs={"rows": 2}) if len(value) > 80 else forms.TextInput()
