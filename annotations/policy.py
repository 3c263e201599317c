"""What counts when judgements become training rows: one stated policy, from a form or a TOML file."""

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from accounts.errors import UserError
from annotations.models import Campaign, Study

Kind = Campaign.Kind
Task = Study.Task

# What rows of a kind can come from, by task, in the order in which they are taken: of two equal rows the first stays.
SOURCES: dict[str, dict[str, tuple[str, ...]]] = {
    "preference": {
        Task.CLASSIFICATION: ("comparisons", "labels", "references"),
        Task.TRIAGE: ("comparisons", "labels", "references"),
        Task.REASONING: ("comparisons", "ideals", "correctness", "references"),
        Task.SUMMARISATION: ("comparisons", "ideals", "references"),
    },
    "sft": {
        Task.CLASSIFICATION: ("labels", "references"),
        Task.TRIAGE: ("labels", "references"),
        Task.REASONING: ("ideals", "references"),
        Task.SUMMARISATION: ("ideals", "references"),
    },
}
# A reference is better than some output of a summary, not than every one: asked for, never assumed.
NOT_BY_DEFAULT = {("preference", Task.SUMMARISATION, "references")}

# The campaigns a source reads. Ideals come from campaigns of any kind: wherever somebody corrected an output.
CAMPAIGN_KIND: dict[str, str] = {"comparisons": Kind.COMPARISON, "labels": Kind.LABEL, "correctness": Kind.CORRECTNESS}

CHOICES: dict[str, tuple[str, ...]] = {
    "consensus": ("campaign", "majority", "unanimous", "adjudicated"),
    "min_strength": ("slightly", "clearly"),
}

# Why something didn't become a row, for people.
REASONS: dict[str, str] = {
    "test_split": "the case is in the test split, which is never trained on",
    "not_judged": "nobody judged the item yet",
    "surplus": "a judgement beyond the item's overlap, which counts for agreement only",
    "repeat": "a judgement of a hidden repeat, which counts for agreement only",
    "gold": "a judgement of a test item whose answer was known",
    "earlier_vote": "the annotator judged the same again in another campaign, and the later answer was taken",
    "source_not_used": "judged in a campaign that no source of the policy reads",
    "ideal_not_used": "an output that an annotator corrected, and the policy doesn't take corrections",
    "ideal_unsure": "a correction by somebody who says that they can't judge the item, or that it is defective",
    "cannot_judge": "everybody said that they can't judge it",
    "too_few_annotators": "fewer answers than the policy's minimum",
    "no_consensus": "the annotators don't agree",
    "tie": "a tie, both good",
    "both_unacceptable": "both unacceptable",
    "defective": "a defective item",
    "weak_strength": "preferred only slightly, and the policy asks for clearly",
    "partly": "partly correct, which the policy counts as neither right nor wrong",
    "no_contrast": "all outputs of the case are correct, or all are wrong",
    "no_output": "no model output for the case to set against its reference",
    "output_not_judged": "an output that the correctness campaigns didn't ask about",
    "output_correct": "the output is correct, so there is nothing to reject",
    "unparsed": "no label or answer could be read from the output",
    "answer_unclear": "the answer resembles the reference, but isn't the same",
    "reference_despite_no_consensus": "the annotators don't agree on a label, so the reference was taken",
    "reference_despite_cannot_judge": "everybody said that they can't judge the case, so the reference was taken",
    "reference_despite_too_few_annotators": "fewer labels than the policy's minimum, so the reference was taken",
    "reference_overruled": "clinicians agreed on another label than the reference, and theirs was taken",
    "no_reference": "the case has no (complete) reference",
    "empty_text": "an empty text",
    "identical_texts": "both texts are the same",
    "too_long": "longer than the policy's limit",
    "duplicate": "the same row is there already",
    "contradiction": "the same two texts were preferred in opposite ways",
}


@dataclass(frozen=True)
class Policy:
    """``sources`` empty means the task's defaults; ``resolved`` fills them in: a manifest says what was used."""

    sources: tuple[str, ...] = ()
    # "campaign": each campaign's own rule, the strictest where judgements of several come together.
    consensus: str = "campaign"
    min_annotators: int = 1
    # "clearly": at least half of those who preferred the chosen completion preferred it clearly.
    min_strength: str = "slightly"
    # An output without a readable label or answer is a wrong one, as it is in the metrics.
    unparsed_as_wrong: bool = True
    # A partly correct answer counts as a wrong one, as it does in accuracy.
    partly_as_wrong: bool = True
    # Longest row in characters, prompt and longer answer together; the recipe's max_length counts tokens.
    max_chars: int | None = None

    @classmethod
    def from_mapping(cls, given: Mapping[str, Any]) -> "Policy":
        """Checked; raises UserError naming the key, what it was and what is allowed."""
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(given) - known):
            raise UserError(
                f"The policy has no {_quoted(unknown)}. Known keys: {', '.join(sorted(known))}. "
                "Correct the name or leave it out."
            )
        return cls(**{name: _checked(name, value) for name, value in given.items()})

    @classmethod
    def from_toml(cls, path: Path) -> "Policy":
        try:
            given = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UserError(f"There is no file {path}. Give the path of a TOML file with the policy.") from None
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise UserError(f"{path} can't be read as TOML: {error}.") from error
        return cls.from_mapping(given)

    def resolved(self, study: Study, kind: str) -> "Policy":
        """With its sources filled in and checked against the study's task."""
        if kind not in SOURCES:
            raise UserError(f"Datasets of kind “{kind}” can't be made yet. Choose one of: {', '.join(SOURCES)}.")
        possible = SOURCES[kind][study.task]
        if unknown := [source for source in self.sources if source not in possible]:
            raise UserError(
                f"{kind} rows of a {study.task} study can't come from {_quoted(unknown)}. "
                f"Possible sources: {', '.join(possible)}."
            )
        default = tuple(source for source in possible if (kind, study.task, source) not in NOT_BY_DEFAULT)
        return replace(self, sources=tuple(source for source in possible if source in (self.sources or default)))

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; ``from_mapping`` reads it back."""
        return asdict(self) | {"sources": list(self.sources)}


def campaign_kinds(task: str, sources: tuple[str, ...]) -> set[str]:
    """The kinds of campaign that rows from ``sources`` read."""
    kinds = {CAMPAIGN_KIND[source] for source in sources if source in CAMPAIGN_KIND}
    # Whether an answer was wrong enough to reject is better known from clinicians than from an exact match.
    return kinds | {Kind.CORRECTNESS} if task == Task.REASONING and "references" in sources else kinds


def _checked(name: str, value: Any) -> Any:
    if name == "sources":
        if not isinstance(value, (list, tuple)) or not all(isinstance(source, str) for source in value):
            raise UserError(f'The policy\'s sources are {value!r}; give a list of names, for example ["comparisons"].')
        return tuple(value)
    if name in CHOICES:
        if value not in CHOICES[name]:
            raise UserError(f"The policy's {name} is {value!r}; it must be one of {', '.join(CHOICES[name])}.")
        return value
    if name in ("unparsed_as_wrong", "partly_as_wrong"):
        if not isinstance(value, bool):
            raise UserError(f"The policy's {name} is {value!r}; it must be true or false.")
        return value
    if value is None and name == "max_chars":
        return value
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UserError(f"The policy's {name} is {value!r}; it must be a whole number from 1 up.")
    return value


def _quoted(names: list[str]) -> str:
    return ", ".join(f"“{name}”" for name in names)
