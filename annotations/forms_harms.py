"""The form of a harm report. What a report needs is checked by ``harms``."""

from typing import Any

from django import forms

from annotations import harms
from annotations.models import Assignment, HarmReport


class HarmForm(forms.Form):
    id = forms.UUIDField(widget=forms.HiddenInput)
    about = forms.ChoiceField(label="What is it about?", widget=forms.RadioSelect, required=False)
    severity = forms.ChoiceField(
        label="How bad could it be?",
        widget=forms.RadioSelect,
        choices=[(value, title.capitalize()) for value, title in HarmReport.Severity.choices],
        required=False,
    )
    quote = forms.CharField(
        label="The passage",
        help_text="Word for word, if there is one.",
        widget=forms.Textarea(attrs={"rows": 2}),
        required=False,
    )
    description = forms.CharField(
        label="What could happen to the patient?", widget=forms.Textarea(attrs={"rows": 3}), required=False
    )

    def __init__(self, assignment: Assignment, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.label_suffix = ""
        self.assignment = assignment
        sides = [about for about in harms.texts(assignment) if about != harms.ABOUT_CASE]
        letters = ("Output A", "Output B") if len(sides) > 1 else ("The output",) * len(sides)
        choices = [*zip(sides, letters, strict=True), (harms.ABOUT_CASE, "The case itself")]
        self.fields["about"].choices = choices  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        given = {name: self.cleaned_data.get(name, "") for name in ("about", "severity", "quote", "description")}
        for name, what in harms.problems(self.assignment, **given).items():
            if name not in self.errors:
                self.add_error(name, what)
        return self.cleaned_data

    def by_field(self) -> dict[str, str]:
        """{field: what is wrong}, as the rating page shows it; "" for what concerns the form as a whole."""
        visible = {field.name for field in self.visible_fields()}
        return {name if name in visible else "": str(found[0]) for name, found in self.errors.items()}


class ResolutionForm(forms.Form):
    resolution = forms.CharField(
        label="What was done about it", widget=forms.Textarea(attrs={"rows": 2}), required=False
    )
