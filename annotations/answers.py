"""What an answer is: its parts, what is missing or wrong in it, and which of it is kept. Nothing here writes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from annotations import ideals
from annotations.models import Campaign, Completion, Item, Revision
from annotations.sentences import sentences

Outcome = Revision.Outcome
PREFERENCES = (Outcome.PREFER_A, Outcome.PREFER_B)
COMPARISON_OUTCOMES = (*PREFERENCES, Outcome.TIE, Outcome.BOTH_UNACCEPTABLE)
ANY_KIND = (Outcome.CANNOT_JUDGE, Outcome.DEFECTIVE)
CORRECTNESS = ("correct", "partly", "incorrect")
# A criterion of a comparison: 1 A clearly, 2 A slightly, 3 no difference, 4 B slightly, 5 B clearly.
COMPARED = (1, 2, 3, 4, 5)
MARK_KINDS = ("correct", "wrong", "omission")
MARK_SEVERITIES = ("minor", "major", "dangerous")
MAX_REASON = 10_000  # characters


@dataclass(frozen=True)
class Ideal:
    """An output as the annotator would have it: ``output`` is "a" or "b" in the item's fixed order."""

    output: str
    text: str


@dataclass(frozen=True)
class Answer:
    """What an annotator says. In a comparison a and b follow the item's fixed order, never the sides."""

    outcome: str
    strength: str = ""
    cannot_judge: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""
    chips: Sequence[str] = ()
    marks: Sequence[Mapping[str, Any]] = ()  # as in Revision.marks
    ideal: Ideal | None = None
    flagged: bool = False


def from_side(side: str, a_is_left: bool | None) -> Outcome:
    """The preference for the output shown at ``side`` ("left" or "right"), in the item's fixed order."""
    return Outcome.PREFER_A if (side == "left") == (a_is_left is not False) else Outcome.PREFER_B


def to_side(outcome: str, a_is_left: bool | None) -> str:
    """Where the preferred output was shown: the inverse of ``from_side``."""
    return side_of("a" if outcome == Outcome.PREFER_A else "b", a_is_left)


def side_of(output: str, a_is_left: bool | None) -> str:
    """Where output "a" or "b" was shown; a single output is on the left."""
    return "left" if (output == "a") == (a_is_left is not False) else "right"


def turned(points: int) -> int:
    """A comparison's points with A and B the other way round.

    >>> [turned(points) for points in (1, 2, 3, 4, 5)]
    [5, 4, 3, 2, 1]
    """
    return COMPARED[0] + COMPARED[-1] - points


def output_of(item: Item, output: str) -> Completion | None:
    """The completion that "a" or "b" stands for; None where the item has none."""
    return {"a": item.completion_a, "b": item.completion_b}.get(output)


# --- what is missing or wrong


def problems(answer: Answer, kind: str, rubric: Mapping[str, Any], item: Item | None = None) -> dict[str, str]:
    """What is missing or wrong, by the part of the answer it concerns; empty where the answer is whole.

    Whether marks and a correction are about sentences and outputs that exist can only be said with the ``item``.
    """
    found: dict[str, str] = {}
    comparison = kind == Campaign.Kind.COMPARISON
    allowed = (*(COMPARISON_OUTCOMES if comparison else (Outcome.JUDGED,)), *ANY_KIND)
    if answer.outcome not in allowed:
        found["choice"] = "Choose A, B, tie or both unacceptable." if comparison else "Answer, or say why you can't."
    if answer.outcome in PREFERENCES and answer.strength not in Revision.Strength.values:
        found["strength"] = "Say how much better it is: slightly or clearly."
    if answer.outcome == Outcome.CANNOT_JUDGE and answer.cannot_judge not in Revision.CannotJudge.values:
        found["cannot_judge"] = "Say why you can't judge this item."
    if answer.outcome in (*COMPARISON_OUTCOMES, Outcome.JUDGED) and answer.outcome in allowed:
        found |= _value_problems(answer.values, kind, rubric)
    if rubric.get("reason") == "required" and not answer.reason.strip() and not answer.chips:
        found["reason"] = "This campaign asks for a reason with every answer."
    if strange := [chip for chip in answer.chips if chip not in rubric.get("chips", ())]:
        found["chips"] = f"This campaign has no reason “{strange[0]}” to choose."
    if what := _mark_problem(answer.marks, rubric, item):
        found["marks"] = what
    if what := _ideal_problem(answer.ideal, rubric, item):
        found["ideal"] = what
    return found | too_long(answer.reason, answer.ideal.text if answer.ideal else "")


def too_long(reason: str, ideal: str = "") -> dict[str, str]:
    """What is longer than any clinician writes, a reason or a corrected output; empty where nothing is."""
    found = {}
    for name, what, text, most in (
        ("reason", "The reason", reason, MAX_REASON),
        ("ideal", "The corrected text", ideal, ideals.MAX_IDEAL),
    ):
        if len(text) > most:
            found[name] = f"{what} has {len(text):,} characters, and {most:,} are kept at most: shorten it."
    return found


def _value_problems(values: Mapping[str, Any], kind: str, rubric: Mapping[str, Any]) -> dict[str, str]:
    scales = allowed_values(kind, rubric)
    found = {name: "Choose one of the answers." for name, allowed in scales.items() if values.get(name) not in allowed}
    # A comparison without criteria asks for no values and keeps none (``as_kept``).
    for name in sorted(set(values) - set(scales)) if scales else []:
        found[name] = f"This campaign doesn't ask for “{name}”."
    return found


def allowed_values(kind: str, rubric: Mapping[str, Any]) -> dict[str, list[Any]]:
    """{what is asked besides the choice: the values it may take}; empty for a comparison without criteria."""
    if kind == Campaign.Kind.LIKERT:
        return {c["name"]: list(range(1, len(c["anchors"]) + 1)) for c in rubric["criteria"]}
    if kind == Campaign.Kind.COMPARISON:
        return {c["name"]: list(COMPARED) for c in rubric.get("criteria", ())}
    if kind == Campaign.Kind.LABEL:
        return {f["name"]: [label["value"] for label in f["labels"]] for f in rubric["label_fields"]}
    if kind == Campaign.Kind.CORRECTNESS:
        return {"correctness": list(CORRECTNESS)}
    return {}


def _mark_problem(marks: Iterable[Mapping[str, Any]], rubric: Mapping[str, Any], item: Item | None) -> str:
    seen = set()
    for mark in marks:
        if not rubric.get("marks"):
            return "This campaign doesn't ask for marks on sentences."
        output, number = mark.get("output"), mark.get("sentence")
        kind, severity = mark.get("kind"), mark.get("severity", "")
        if kind not in MARK_KINDS:
            return f"A mark says correct, wrong or omission, not “{kind}”."
        if kind == "correct" and severity:
            return "A sentence marked correct has no severity."
        if kind != "correct" and severity not in MARK_SEVERITIES:
            return f"Say how severe it is: {', '.join(MARK_SEVERITIES)}."
        if output not in ("a", "b") or not isinstance(number, int) or isinstance(number, bool) or number < 0:
            return "A mark is about a sentence of an output; load the page again."
        if (output, number) in seen:
            return "A sentence is marked twice; load the page again."
        seen.add((output, number))
        if item is not None and number >= len(_sentences(item, output)):
            return "A mark is about a sentence that isn't there; load the page again."
    return ""


def _sentences(item: Item, output: str) -> list[str]:
    completion = output_of(item, output)
    return sentences(completion.text) if completion else []


def sentence_of(item: Item, output: str, number: Any) -> str | None:
    """Sentence ``number`` of an output; None where there is none."""
    found = _sentences(item, output)
    return found[number] if isinstance(number, int) and 0 <= number < len(found) else None


def _ideal_problem(ideal: Ideal | None, rubric: Mapping[str, Any], item: Item | None) -> str:
    if ideal is None:
        return ""
    if not rubric.get("ideal"):
        return "This campaign doesn't ask for corrected outputs."
    if not ideal.text.strip():
        return "The corrected text is empty. Write what the output should say, or take the correction back."
    if ideal.output not in ("a", "b") or (item is not None and output_of(item, ideal.output) is None):
        return "The correction is of an output that isn't there; load the page again."
    return ""


# --- what is kept


def as_kept(answer: Answer, item: Item, rubric: Mapping[str, Any] | None = None) -> Answer:
    """The answer as it is stored: without what doesn't belong to its outcome or campaign, marks with their sentences.

    Two answers that say the same are the same after this. ``rubric`` is the one in force unless another is given.
    """
    rubric = item.campaign.rubric if rubric is None else rubric
    opinion = answer.outcome in (*COMPARISON_OUTCOMES, Outcome.JUDGED)
    scales = allowed_values(item.campaign.kind, rubric) if opinion else {}
    return replace(
        answer,
        strength=answer.strength if answer.outcome in PREFERENCES else "",
        cannot_judge=answer.cannot_judge if answer.outcome == Outcome.CANNOT_JUDGE else "",
        values={name: value for name, value in answer.values.items() if name in scales},
        reason="" if rubric.get("reason") == "none" else answer.reason.strip(),
        chips=[chip for chip in rubric.get("chips", ()) if chip in answer.chips],
        marks=_marks_kept(answer.marks, item) if rubric.get("marks") else [],
        ideal=_ideal_kept(answer.ideal, item) if rubric.get("ideal") else None,
    )


def _marks_kept(marks: Iterable[Mapping[str, Any]], item: Item) -> list[dict[str, Any]]:
    """Marks in the order of the sentences, each with its sentence, so that the record can be read by itself."""
    texts = {output: _sentences(item, output) for output in sorted({mark["output"] for mark in marks})}
    return [
        {
            "output": mark["output"],
            "sentence": mark["sentence"],
            "quote": texts[mark["output"]][mark["sentence"]],
            "kind": mark["kind"],
            "severity": mark.get("severity", ""),
        }
        for mark in sorted(marks, key=lambda mark: (mark["output"], mark["sentence"]))
    ]


def _ideal_kept(ideal: Ideal | None, item: Item) -> Ideal | None:
    """None where the text is what the output says already: that is no correction."""
    corrected = output_of(item, ideal.output) if ideal else None
    if ideal is None or corrected is None or not ideals.differs(ideal.text, corrected):
        return None
    return Ideal(ideal.output, ideals.tidied(ideal.text))


def answer_of(revision: Revision) -> Answer:
    """What a revision says, as the answer that was kept."""
    ideal = revision.ideal
    edited_b = ideal is not None and ideal.edited_from_id == revision.judgement.item.completion_b_id
    return Answer(
        outcome=revision.outcome,
        strength=revision.strength,
        cannot_judge=revision.cannot_judge,
        values=revision.values,
        reason=revision.reason,
        chips=revision.chips,
        marks=revision.marks,
        ideal=Ideal("b" if edited_b else "a", ideal.text) if ideal else None,
        flagged=revision.flagged,
    )
