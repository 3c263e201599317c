"""How a campaign is designed: what a lead decides besides items and people, each choice checked and with a default."""

import itertools
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from accounts.errors import UserError
from annotations import naming
from annotations.models import Campaign, Model, Study
from annotations.studies import check_chips

Kind = Campaign.Kind
Consensus = Campaign.Consensus
REASONS = ("optional", "required", "none")
FREE_TEXT = (Study.Task.SUMMARISATION, Study.Task.REASONING)
MAX_WORDING = 60
WORDINGS: dict[str, str] = {
    Model.Kind.BASE: "the original model",
    Model.Kind.ADAPTER: "a fine-tuned model",
    Model.Kind.IDEAL: "a clinician",
}
ANOTHER = "another model"


class PlanError(UserError):
    """A UserError about one of the plan's choices, so that a form can show it there: ``field`` is its keyword."""

    def __init__(self, field: str, message: str, details: Sequence[str] = ()) -> None:
        super().__init__(message, details)
        self.field = field


@dataclass(frozen=True)
class Source:
    """Where known answers come from: a judgement file, the cases' references, or an earlier campaign."""

    kind: str  # "file", "references" or "campaign"
    name: str = ""  # of the file or of the campaign
    sha256: str = ""  # of the file
    rows: Sequence[tuple[int, dict[str, str]]] = ()  # of the file: (line, {column: text})

    def record(self) -> dict[str, str]:
        return {"from": self.kind, "name": self.name, "sha256": self.sha256}


@dataclass(frozen=True)
class Design:
    """Shares and rates lie between 0 and 1. What is left out is as plain as can be: no gold, no repeats, no training.

    Known answers are needed for gold and training items, which are outside overlap, consensus and estimates.
    """

    # "A:B" compares two models, "A" alone compares A with each of the others; empty: every pair.
    pairs: Sequence[str] = ()
    overlap_share: float = 1.0  # of the items, stratified, that the overlap is for; the rest is judged once
    consensus: str = ""  # empty: mean for Likert, else majority
    criteria: bool = False  # in a comparison: A against B on each of the study's criteria too
    chips: Sequence[str] | None = None  # None: the study's
    marks: bool = False
    ideal: bool = False
    max_per_annotator: int | None = None
    route_by: str = ""
    apart: int = 5
    known_answers: Source | None = None
    training_items: int = 0
    training_pass_mark: float | None = 0.8
    gold_rate: float = 0.0
    repeat_rate: float = 0.0
    blinding_items: int = 0
    blinding_arms: Mapping[str, str] = field(default_factory=dict)  # {model's name: neutral wording}
    leave_out_named: bool = False  # the cases of outputs that name who wrote them

    @classmethod
    def from_mapping(cls, given: Mapping[str, Any]) -> "Design":
        """From a TOML table or a program; raises PlanError naming the key and what it should be."""
        from annotations.known_answers import source

        known = {row.name for row in fields(cls)}
        if unknown := sorted(set(given) - known):
            raise UserError(f"The design has unknown keys: {', '.join(unknown)}. Known: {', '.join(sorted(known))}.")
        values = {name: _typed(name, value) for name, value in given.items()}
        if isinstance(text := values.get("known_answers"), str):
            values["known_answers"] = source(text) if text else None
        return cls(**values)

    def record(self) -> dict[str, Any]:
        """What was asked for, JSON-ready, with names in place of ids."""
        asked = asdict(self) | {"pairs": list(self.pairs), "blinding_arms": dict(self.blinding_arms)}
        asked["chips"] = None if self.chips is None else list(self.chips)
        asked["known_answers"] = self.known_answers.record() if self.known_answers else None
        return asked


DEFAULT = Design()
TEXT_LISTS = ("pairs", "chips")
TYPES: dict[str, tuple[type | tuple[type, ...], str]] = {
    **dict.fromkeys(TEXT_LISTS, ((list, tuple), "a list of texts")),
    **dict.fromkeys(("consensus", "route_by", "known_answers"), (str, "a text in quotes")),
    **dict.fromkeys(("criteria", "marks", "ideal", "leave_out_named"), (bool, "true or false")),
    **dict.fromkeys(("max_per_annotator", "apart", "training_items", "blinding_items"), (int, "a whole number")),
    **dict.fromkeys(("overlap_share", "training_pass_mark", "gold_rate", "repeat_rate"), ((int, float), "a number")),
    "blinding_arms": (dict, "a table of names and wordings"),
}


def read(path: Path) -> dict[str, Any]:
    """The table in a TOML file whose keys are a Design's fields. Raises UserError that says where it is wrong."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror}.") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"{path} is not valid TOML: {error}.") from None


def _typed(name: str, value: Any) -> Any:
    wanted, text = TYPES[name]
    fits = isinstance(value, wanted) and (wanted is bool or not isinstance(value, bool))
    if fits and name in TEXT_LISTS:
        fits = all(isinstance(part, str) for part in value)
    if fits and name == "blinding_arms":
        fits = all(isinstance(part, str) for part in value.values())
    if name == "known_answers" and isinstance(value, Source):
        return value
    if not fits:
        raise PlanError(name, f"{name} is {value!r}; it must be {text}.")
    return value


def check(design: Design, *, study: Study, kind: str, models: Sequence[Model], overlap: int) -> None:
    """Raise PlanError for what can't be, before looking at cases."""
    _check_numbers(design)
    _check_consensus(design, kind)
    _check_questions(design, study, kind)
    _check_known_answers(design)
    if design.overlap_share < 1 and overlap == 1:
        raise PlanError(
            "overlap_share",
            f"{design.overlap_share:.0%} of the items shall have the overlap, but the overlap is 1, as for all the "
            "others. Raise the overlap or give all items the same.",
        )
    compared(design, kind=kind, models=models)
    arms(design, kind=kind, models=models)


def _check_numbers(design: Design) -> None:
    for name in ("gold_rate", "repeat_rate"):
        value = getattr(design, name)
        if not 0 <= value <= 0.5:
            raise PlanError(
                name, f"{name} is {value:g}; it is a share from 0 to 0.5 (more than half of the work would be checks)."
            )
    if not 0 < design.overlap_share <= 1:
        raise PlanError(
            "overlap_share", f"overlap_share is {design.overlap_share:g}; it is a share above 0, up to 1 for all items."
        )
    for name in ("apart", "training_items", "blinding_items"):
        if getattr(design, name) < 0:
            raise PlanError(name, f"{name} is {getattr(design, name)}; it can't be less than 0.")
    if design.max_per_annotator is not None and design.max_per_annotator < 1:
        raise PlanError("max_per_annotator", "The most items for one annotator must be at least 1; empty: no limit.")
    mark = design.training_pass_mark
    if design.training_items and mark is None:
        raise PlanError("training_pass_mark", "A training round needs a pass mark: the share to get right, as 0.8.")
    if mark is not None and not (0 <= mark <= 1 and math.isfinite(mark)):
        raise PlanError("training_pass_mark", f"The pass mark is {mark:g}; it is a share from 0 to 1, as 0.8.")


def _check_consensus(design: Design, kind: str) -> None:
    if design.consensus and design.consensus not in Consensus.values:
        raise PlanError("consensus", f"There is no rule “{design.consensus}”. Rules: {', '.join(Consensus.values)}.")
    if design.consensus == Consensus.MEAN and kind != Kind.LIKERT:
        raise PlanError("consensus", f"Only points have a mean: a {kind} campaign can be decided by majority.")


def _check_questions(design: Design, study: Study, kind: str) -> None:
    if design.criteria and kind != Kind.COMPARISON:
        raise PlanError("criteria", "Comparing A and B on each criterion is for comparisons; leave it out here.")
    if design.criteria and not study.criteria:
        raise PlanError("criteria", "This study has no criteria to compare A and B on. Leave it out.")
    try:
        check_chips(design.chips or [], "chips")
    except UserError as error:
        raise PlanError("chips", error.message) from None
    if kind == Kind.LABEL and design.marks:
        raise PlanError("marks", "A label campaign shows no output whose sentences could be marked.")
    if kind == Kind.LABEL and design.ideal:
        raise PlanError("ideal", "A label campaign shows no output that could be edited.")
    if design.ideal and study.task not in FREE_TEXT:
        raise PlanError("ideal", f"Outputs of a {study.task} study are labels, not texts to edit. Leave it out.")


def _check_known_answers(design: Design) -> None:
    wanted = [name for name in ("training_items", "gold_rate") if getattr(design, name)]
    if design.known_answers is None and wanted:
        raise PlanError(
            wanted[0],
            "Training and gold items need known answers: a judgement file, an earlier closed campaign or, where cases "
            "are labelled, their references.",
        )
    if design.known_answers is not None and not wanted:
        raise PlanError(
            "known_answers", "Known answers are given, but nothing uses them: ask for training items or a gold rate."
        )


def consensus_of(design: Design, kind: str) -> str:
    return design.consensus or (Consensus.MEAN if kind == Kind.LIKERT else Consensus.MAJORITY)


def compared(design: Design, *, kind: str, models: Sequence[Model]) -> set[frozenset[int]] | None:
    """Which models are compared, by their ids; None for every pair. Raises PlanError."""
    if not design.pairs:
        return None
    if kind != Kind.COMPARISON or len(models) < 2:
        raise PlanError("pairs", "Pairs are chosen in a comparison of several models; leave them out here.")
    by_name = {model.name: model for model in models}
    chosen: set[frozenset[int]] = set()
    for text in design.pairs:
        for left, right in _pairs_of(text.strip(), list(by_name)):
            chosen.add(frozenset((by_name[left].pk, by_name[right].pk)))
    if idle := [name for name, model in by_name.items() if not any(model.pk in pair for pair in chosen)]:
        raise PlanError(
            "pairs", f"{', '.join(idle)} is in no pair. Add a pair with it, or don't choose it.", list(design.pairs)
        )
    return chosen


def _pairs_of(text: str, names: list[str]) -> list[tuple[str, str]]:
    if text in names:
        return [(text, other) for other in names if other != text]
    found = [pair for pair in itertools.permutations(names, 2) if ":".join(pair) == text]
    if len(found) != 1:
        raise PlanError(
            "pairs",
            f"“{text}” is no pair of the chosen models. Write A:B, or a model's name alone to compare it with each of "
            f"the others. Models: {', '.join(names)}.",
        )
    return found


def arms(design: Design, *, kind: str, models: Sequence[Model]) -> dict[str, str]:
    """{str(model id): what annotators are told when they guess who wrote an output}; empty where nobody is asked."""
    if not design.blinding_items:
        return {}
    if kind == Kind.LABEL or len(models) < 2:
        raise PlanError("blinding_items", "Who wrote an output can be guessed only where there are two models or more.")
    names = [model.name for model in models]
    if unknown := sorted(set(design.blinding_arms) - set(names)):
        raise PlanError("blinding_arms", f"{', '.join(unknown)} is not a model of this campaign ({', '.join(names)}).")
    given = {model: design.blinding_arms.get(model.name, "").strip() for model in models}
    wordings = {model: text or WORDINGS.get(model.kind, ANOTHER) for model, text in given.items()}
    numbered = _numbered(wordings)
    for model, text in numbered.items():
        if len(text) > MAX_WORDING:
            raise PlanError("blinding_arms", f"“{text}” is longer than {MAX_WORDING} characters: shorten it.")
        if named := naming.names_in(text, names):
            raise PlanError(
                "blinding_arms",
                f"The wording “{text}” of {model.name} contains the name {named[0]}, which annotators must not learn.",
            )
    if len({text.casefold() for text in numbered.values()}) < len(numbered):
        raise PlanError("blinding_arms", "Two models have the same wording, so nobody could choose between them.")
    return {str(model.pk): text for model, text in numbered.items()}


def _numbered(wordings: Mapping[Model, str]) -> dict[Model, str]:
    """Wordings that are alike get numbers, in the order of the models."""
    alike = {text: [m for m in wordings if wordings[m] == text] for text in wordings.values()}
    return {
        model: text if len(alike[text]) == 1 else f"{text} {alike[text].index(model) + 1}"
        for model, text in wordings.items()
    }


def rubric_for(
    study: Study,
    kind: str,
    design: Design = DEFAULT,
    *,
    show_reference: bool | None = None,
    reason: str = "optional",
) -> dict[str, Any]:
    """What annotators are shown, frozen: later edits of the study don't change a campaign that has begun."""
    if reason not in REASONS:
        raise PlanError("reason", f"reason is “{reason}”; it must be one of {', '.join(REASONS)}.")
    # The study's reasons are about outputs, and a label campaign shows none.
    chips = design.chips if design.chips is not None else [] if kind == Kind.LABEL else study.reason_chips
    return {
        "instructions": study.instructions,
        "criteria": study.criteria if kind == Kind.LIKERT or design.criteria else [],
        "label_fields": study.label_fields if kind == Kind.LABEL else [],
        "show_reference": kind == Kind.CORRECTNESS if show_reference is None else show_reference,
        "reason": reason,
        "chips": [] if reason == "none" else check_chips(chips, "chips"),
        "marks": design.marks,
        "ideal": design.ideal,
    }
