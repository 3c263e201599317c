"""The form of a new campaign: what it offers in a study, and what was said. ``planning`` says what can be."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from django.db.models import QuerySet
from django.forms.boundfield import BoundField
from django.http import QueryDict

from accounts.errors import UserError
from accounts.models import User
from annotations import access, known_answers, plan_words, planning
from annotations.designs import FREE_TEXT, Design, PlanError, Source
from annotations.fields_campaign import KINDS, ONLY_FOR, Kind, PlanFields
from annotations.models import Campaign, Model, Study

METADATA_SEEN = 5000  # cases whose metadata is looked through for columns to route by
Made = TypeVar("Made")


@dataclass(frozen=True)
class Entry:
    """A field of a group, with the kinds of campaign that it is for; empty: all."""

    field: BoundField
    kinds: str


@dataclass(frozen=True)
class Group:
    title: str
    hint: str
    entries: list[Entry]
    open: bool


class PlanForm(PlanFields):
    """What a lead says of a new campaign. What is left empty, or isn't sent, takes its default."""

    def __init__(self, *args: Any, study: Study, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.label_suffix = ""
        self.study = study
        self.known: Source | None = None
        self.offer("kind", [(kind, title) for kind, (title, _) in KINDS.items() if self._is_possible(kind)])
        written = Model.objects.exclude(kind=Model.Kind.IDEAL)  # what an annotator corrected is no model's output
        self.offer_models(written.filter(completions__case__study=study).distinct())
        members = User.objects.filter(memberships__in=access.members(study), is_active=True)
        self._query("annotators", members.order_by("username"))
        rules = [(rule.value, str(rule.label)) for rule in Campaign.Consensus]
        self.offer("consensus", [("", "As usual: the mean of points, for all else the majority"), *rules])
        self.fields["chips"].initial = "\r\n".join(study.reason_chips)  # as a browser sends lines
        self.offer("known_from", [("", "There are none"), *self._sources()])
        self.offer("route_by", [("", "None: anybody judges any case"), *((name, name) for name in self._columns())])
        self._leave_out_what_the_study_has_no_use_for()

    def _is_possible(self, kind: str) -> bool:
        lacking = {Kind.LIKERT: not self.study.criteria, Kind.LABEL: not self.study.label_fields}
        return not lacking.get(Kind(kind), False)

    def offer(self, name: str, choices: Iterable[tuple[str, str]]) -> None:
        """Choices of a field; the first is chosen to begin with."""
        self.fields[name].choices = list(choices)  # type: ignore[attr-defined]
        self.fields[name].initial = self._choices(name)[0][0]

    def offer_models(self, models: QuerySet[Model]) -> None:
        self._query("models", models)
        only = [(model.name, f"Only {model.name} with each of the others") for model in models]
        self.offer("against", [("", "Every model with every other"), *only])

    def _choices(self, name: str) -> list[tuple[str, str]]:
        return list(self.fields[name].choices)  # type: ignore[attr-defined]

    def _query(self, name: str, rows: QuerySet[Any]) -> None:
        self.fields[name].queryset = rows  # type: ignore[attr-defined]

    def _sources(self) -> list[tuple[str, str]]:
        closed = self.study.campaigns.filter(closed_at__isnull=False).order_by("-pk")
        return [
            ("file", "The file below"),
            *([("references", "The cases' references")] if self.study.label_fields else []),
            *((f"campaign:{row.name}", f"What “{row}” agreed on ({row.get_kind_display()})") for row in closed),
        ]

    def _columns(self) -> list[str]:
        rows = self.study.cases.values_list("metadata", flat=True)[:METADATA_SEEN]
        return sorted({name for metadata in rows for name in metadata})

    def _leave_out_what_the_study_has_no_use_for(self) -> None:
        useless = {
            "criteria": not self.study.criteria,
            "ideal": self.study.task not in FREE_TEXT,
            "route_by": len(self._choices("route_by")) == 1,
        }
        for name, is_useless in useless.items():
            if is_useless:
                del self.fields[name]

    # --- for the page

    @property
    def kind_cards(self) -> list[tuple[Any, str]]:
        """(radio button, sentence)"""
        return [(radio, KINDS[str(radio.data["value"])][1]) for radio in self["kind"]]

    @property
    def essentials(self) -> list[Entry]:
        return [self._entry(name) for name in ("models", "split", "annotators") if name in self.fields]

    @property
    def groups(self) -> list[Group]:
        """Closed unless there is something in them that isn't as it was, or that is wrong."""
        touched = {*self.errors, *(self.changed_data if self.is_bound else ())}
        sent = touched & {*self.errors, *self.data}
        return [
            Group(title, hint, [self._entry(name) for name in names if name in self.fields], open=bool(sent & {*names}))
            for title, hint, names in self.GROUPS
        ]

    def _entry(self, name: str) -> Entry:
        return Entry(self[name], " ".join(ONLY_FOR.get(name, ())))

    # --- what was said

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        if data.get("against") and (data.get("pairs") or "").strip():
            self.add_error("pairs", "Choose either one model that all others are compared with, or a list of pairs.")
        try:
            self.known = self._known(data)
        except UserError as error:
            self.add_error("known_file", [error.message, *error.details])
        return data

    def _known(self, data: Mapping[str, Any]) -> Source | None:
        """A file that was sent is kept in the page, so that it needn't be chosen again after the preview."""
        chosen, sent = data.get("known_from") or "", data.get("known_file")
        if chosen not in ("", "file"):
            return known_answers.source(chosen)
        name, content = data.get("known_name") or "", (data.get("known_text") or "").encode()
        if sent is not None:
            name, content = sent.name, sent.read()
        elif not chosen:
            return None
        if not content:
            if chosen == "file":
                raise UserError("Choose the file that holds the known answers.")
            return None
        source = known_answers.from_upload(name, content)
        kept = QueryDict(mutable=True)
        kept.update(self.data)
        kept["known_from"], kept["known_name"], kept["known_text"] = "file", name, content.decode("utf-8-sig")
        self.data = kept
        return source

    def scope(self) -> dict[str, Any]:
        """Which outputs of which cases: what ``plan_campaign`` is told of them."""
        is_label = self.cleaned_data["kind"] == Kind.LABEL
        return {
            "models": [] if is_label else list(self.cleaned_data["models"]),
            "split": self.cleaned_data["split"],
        }

    def chosen(self) -> dict[str, Any]:
        """The form's answers as ``plan_campaign`` takes them."""
        data = self.cleaned_data
        annotators = list(data["annotators"])
        return {
            "name": data["name"],
            "kind": data["kind"],
            "annotators": annotators,
            "overlap": data["overlap"] or min(2, len(annotators)),
            "seed": self._number("seed", 1),
            "reason": data["reason"] or "optional",
            "show_reference": {"yes": True, "no": False}.get(data["show_reference"]),
            "design": self.design(),
            **self.scope(),
        }

    def _number(self, name: str, default: int) -> int:
        value = self.cleaned_data.get(name)
        return default if value is None else int(value)

    def _asked(self, name: str) -> Any:
        """What a field says, if it concerns this kind of campaign."""
        concerned = self.cleaned_data["kind"] in ONLY_FOR.get(name, (self.cleaned_data["kind"],))
        return self.cleaned_data.get(name) if concerned else None

    def design(self) -> Design:
        data = self.cleaned_data
        return Design(
            pairs=_lines(self._asked("pairs")) or ([data["against"]] if self._asked("against") else []),
            overlap_share=self._number("overlap_share", 100) / 100,
            consensus=data["consensus"],
            criteria=bool(self._asked("criteria")),
            chips=self._chips(),
            marks=bool(self._asked("marks")),
            ideal=bool(self._asked("ideal")),
            max_per_annotator=data["max_per_annotator"],
            route_by=data.get("route_by") or "",
            apart=self._number("apart", 5),
            known_answers=self.known,
            training_items=self._number("training_items", 0),
            training_pass_mark=self._number("training_pass_mark", 80) / 100,
            gold_rate=self._number("gold_rate", 0) / 100,
            repeat_rate=self._number("repeat_rate", 0) / 100,
            blinding_items=self._asked("blinding_items") or 0,
            blinding_arms=_wordings(self._asked("blinding_arms")),
            leave_out_named=bool(self._asked("leave_out_named")),
        )

    def _chips(self) -> list[str] | None:
        """None, the study's reasons, where the field wasn't sent or doesn't concern this kind."""
        chips = self._asked("chips")
        return None if chips is None or "chips" not in self.data else _lines(chips)

    def show(self, error: UserError) -> None:
        """Put a UserError where it belongs: at its field, or above them all."""
        field = error.field if isinstance(error, PlanError) else None
        if field == "known_answers":
            field = "known_file" if self.known is not None and self.known.kind == "file" else "known_from"
        elif field == "pairs" and self.cleaned_data.get("against"):
            field = "against"
        self.add_error(field if field in self.fields else None, [error.message, *error.details])


def tried(form: PlanForm, make: Callable[..., Made]) -> Made | None:
    """What ``make`` (``plan_campaign`` or ``work_out``) makes of the form; None, and the form says why, if nothing."""
    if not form.is_valid():
        return None
    try:
        return make(study=form.study, **form.chosen())
    except UserError as error:
        form.show(error)
        return None


def previewed(form: PlanForm) -> dict[str, Any]:
    """What the page shows of the campaign as it would be; nothing, and the form says why, where it can't be."""
    plan = tried(form, planning.work_out)
    if plan is None:
        return {}
    return {"preview": plan, "preview_lines": plan_words.lines(plan), "preview_warnings": plan_words.warnings(plan)}


def _lines(text: str | None) -> list[str]:
    return [line.strip() for line in (text or "").splitlines() if line.strip()]


def _wordings(text: str | None) -> dict[str, str]:
    """{model's name: wording}; a line without a sign of equality is a name that is no model's, and planning says so."""
    pairs = (line.partition("=") for line in _lines(text))
    return {name.strip(): wording.strip() for name, _, wording in pairs}
