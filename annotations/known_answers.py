"""Known answers, for training and gold items: from a judgement file, the cases' references, or an earlier campaign."""

import hashlib
import tempfile
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

from accounts.errors import UserError
from annotations import consensus, judgement_files, judging, naming
from annotations.designs import Design, PlanError, Source
from annotations.exporting import PREFERENCE
from annotations.judging import Answer, Outcome
from annotations.models import Adjudication, Campaign, Model, Revision, Study
from annotations.slots import Layout, Slot, lay_out

REFERENCES, CAMPAIGN, FILE = "references", "campaign", "file"
MAX_FINDINGS = 50
MAX_BYTES = 2_000_000
FLIPPED: dict[str, str] = {Outcome.PREFER_A: Outcome.PREFER_B, Outcome.PREFER_B: Outcome.PREFER_A}
NOT_KNOWN = (Outcome.CANNOT_JUDGE, Outcome.WITHDRAWN)
# A comparison on a criterion: 1 = A clearly … 5 = B clearly.
MIRROR = 6
REFERENCE_FEEDBACK = "This is the case's reference."


@dataclass(frozen=True)
class Known:
    """A slot whose answer is known; ``gold`` is what an item keeps of it."""

    slot: Slot
    gold: dict[str, Any]


def gold(answer: Answer, feedback: str) -> dict[str, Any]:
    return {
        "outcome": str(answer.outcome),
        "strength": answer.strength,
        "values": dict(answer.values),
        "feedback": feedback.strip(),
    }


# --- where they come from


def source(text: str) -> Source:
    """From a command or a TOML file: "references", "campaign:NAME", or the path of a judgement file."""
    if text == REFERENCES:
        return Source(REFERENCES)
    kind, _, name = text.partition(":")
    if kind == CAMPAIGN and name:
        return Source(CAMPAIGN, name.strip())
    return _from_file(Path(text))


def _from_file(path: Path, name: str = "") -> Source:
    rows = judgement_files.read(path)
    return Source(FILE, name or path.name, hashlib.sha256(path.read_bytes()).hexdigest(), rows)


def from_upload(name: str, data: bytes) -> Source:
    """The same of a file that a browser sent."""
    if len(data) > MAX_BYTES:
        raise UserError(
            f"“{name}” is larger than {MAX_BYTES // 1_000_000} MB. Keep only the rows of the known answers."
        )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"known{Path(name).suffix}"
        path.write_bytes(data)
        try:
            return _from_file(path, name)
        except UserError as error:
            raise UserError(error.message.replace(path.name, name), error.details) from None


# --- a judgement file


class FileAnswers:
    """The known answers of a judgement file; rows of one slot make one answer, ``reason`` is its feedback."""

    def __init__(self, source: Source, *, kind: str, rubric: Mapping[str, Any], model_names: Mapping[int, str]) -> None:
        self.source = source
        self.kind = kind
        self.rubric = rubric
        self.model_names = model_names
        self.findings: list[str] = []

    def cases(self) -> set[str]:
        return {row.get("case", "").strip() for _, row in self.source.rows}

    def answers(self, slots: Sequence[Slot]) -> list[Known]:
        """The answer of each slot that the file names. Raises PlanError with a line for each thing that is wrong."""
        by_case: dict[str, list[Slot]] = defaultdict(list)
        for slot in slots:
            by_case[slot.case.external_id].append(slot)
        groups: dict[Slot, list[tuple[int, dict[str, str], bool]]] = defaultdict(list)
        for line, row in self.source.rows:
            try:
                slot, flipped = self._find(row, by_case)
            except UserError as error:
                self.findings.append(f"Line {line}: {error.message}")
            else:
                groups[slot].append((line, row, flipped))
        known = []
        for slot, rows in groups.items():
            try:
                known.append(self._answer(slot, rows))
            except UserError as error:
                self.findings.append(f"Line {rows[0][0]}: {error.message}")
        self._raise_any()
        return known

    def _raise_any(self) -> None:
        if not self.findings:
            return
        more = len(self.findings) - MAX_FINDINGS
        shown = [*self.findings[:MAX_FINDINGS], *([f"… and {more} more"] if more > 0 else [])]
        raise PlanError("known_answers", f"“{self.source.name}” can't be used as known answers.", shown)

    def _names(self, slot: Slot) -> tuple[str, str]:
        a, b = (self.model_names[completion.model_id] if completion else "" for completion in (slot.a, slot.b))
        return a, b

    def _find(self, row: Mapping[str, str], by_case: Mapping[str, Sequence[Slot]]) -> tuple[Slot, bool]:
        """The slot a row is about, and whether it names the models the other way round."""
        name = row.get("case", "").strip()
        slots = by_case.get(name, [])
        if not slots:
            raise UserError(f"there is nothing to judge of case “{name}” (no such case, or no output of its models).")
        wanted = (row.get("model_a", "").strip(), row.get("model_b", "").strip())
        ways = [(False, wanted), (True, wanted[::-1])] if self.kind == Campaign.Kind.COMPARISON else [(False, wanted)]
        for flipped, pair in ways:
            found = [slot for slot in slots if _matches(pair, self._names(slot))]
            if len(found) > 1:
                raise UserError(f"case “{name}” has {len(found)} such items, so the row must name the models.")
            if found:
                return found[0], flipped
        raise UserError(f"case “{name}” has no item of {' and '.join(filter(None, wanted))}.")

    def _answer(self, slot: Slot, rows: Sequence[tuple[int, dict[str, str], bool]]) -> Known:
        said: dict[str, str] = {}
        scales = judging.allowed_values(self.kind, self.rubric)
        comparison = self.kind == Campaign.Kind.COMPARISON
        asked = [*scales, *([PREFERENCE] if comparison else [])]
        for line, row, _ in rows:
            # Of a comparison the preference is what must be known; its criteria may be.
            name = row.get("criterion", "").strip() or (asked[-1] if comparison or len(asked) == 1 else "")
            if name not in asked:
                raise UserError(f"criterion “{name}” is not asked for in this campaign ({', '.join(asked)}).")
            if name in said:
                raise UserError(f"“{name}” of case “{slot.case.external_id}” is answered a second time in line {line}.")
            said[name] = row.get("value", "").strip()
        flipped = rows[0][2]
        if any(row[2] != flipped for row in rows):
            raise UserError("the rows of one judgement name its two models in different orders: name them alike.")
        outcome = said.pop(PREFERENCE, "") if comparison else _common(said)
        if outcome.partition(":")[0] in NOT_KNOWN:
            raise UserError(f"“{outcome}” is no answer that can be known.")
        values = {} if outcome == Outcome.DEFECTIVE else _values(said, scales, mirrored=flipped)
        strengths = [row.get("strength", "").strip() for _, row, _ in rows]
        answer = Answer(
            outcome=FLIPPED.get(outcome, outcome) if flipped else outcome or Outcome.JUDGED,
            strength=next(filter(None, strengths), ""),
            values=values,
        )
        self._require_whole(answer, said)
        return Known(slot, gold(answer, next(filter(None, (row.get("reason", "").strip() for _, row, _ in rows)), "")))

    def _require_whole(self, answer: Answer, said: Mapping[str, str]) -> None:
        """Like the page, but how much better, and the criteria of a comparison, need not be known."""
        rubric = {**self.rubric, "reason": "optional"}
        if self.kind == Campaign.Kind.COMPARISON and not answer.values:
            rubric["criteria"] = []
        found = judging.problems(answer, self.kind, rubric)
        if not answer.strength:
            found.pop("strength", None)
        if found:
            given = ", ".join(f"“{value}”" for value in dict.fromkeys((answer.outcome, *said.values())))
            raise UserError(f"value {given} can't be read here. {' '.join(found.values())}")


def _matches(wanted: Sequence[str], names: Sequence[str]) -> bool:
    return all(not name or name == model for name, model in zip(wanted, names, strict=True))


def _common(said: Mapping[str, str]) -> str:
    """ "defective" and the like, where every row says so; else nothing: the values are the answer."""
    values = set(said.values())
    only = values.pop() if len(values) == 1 else ""
    return only if only.partition(":")[0] in (*NOT_KNOWN, Outcome.DEFECTIVE) else ""


def _values(said: Mapping[str, str], scales: Mapping[str, Sequence[Any]], *, mirrored: bool) -> dict[str, Any]:
    values = {}
    for name, text in said.items():
        by_text = {str(value): value for value in scales[name]}
        if text not in by_text:
            raise UserError(f"{name}: “{text}” is not one of {', '.join(by_text)}.")
        value = by_text[text]
        values[name] = MIRROR - value if mirrored and isinstance(value, int) else value
    return values


# --- the cases' references


def references(study: Study, slots: Iterable[Slot]) -> list[Known]:
    """The slots of a label campaign whose case has a valid reference for every label field."""
    allowed = {field["name"]: {label["value"] for label in field["labels"]} for field in study.label_fields}
    known = []
    for slot in slots:
        values = {name: slot.case.reference.get(name) for name in allowed}
        if all(values[name] in allowed[name] for name in allowed):
            rationale = str(slot.case.reference.get("rationale") or "")
            known.append(Known(slot, gold(Answer(Outcome.JUDGED, values=values), rationale or REFERENCE_FEEDBACK)))
    return known


# --- an earlier campaign


def earlier_campaigns(study: Study, kind: str) -> list[Campaign]:
    return list(study.campaigns.filter(kind=kind, closed_at__isnull=False).order_by("-pk"))


def agreed(study: Study, name: str, *, kind: str, rubric: Mapping[str, Any]) -> list[Known]:
    """What the annotators of a closed campaign agreed on: two or more of them, or its lead's decision.

    Items whose answer doesn't fit what this campaign asks for (another set of criteria) are no known answers here.
    """
    row = study.campaigns.filter(name=name).first()
    if row is None or row.kind != kind or row.is_open:
        fitting = ", ".join(f"“{campaign}”" for campaign in earlier_campaigns(study, kind)) or "none yet"
        raise PlanError(
            "known_answers", f"“{name}” is no closed {kind} campaign of this study. Closed ones: {fitting}."
        )
    items = row.items.regular().select_related("case", "completion_a", "completion_b")
    said: dict[int, list[Revision]] = defaultdict(list)
    for revision in judging.current_revisions(row):
        said[revision.judgement.item_id].append(revision)
    decided = {d.item_id: d for d in Adjudication.objects.filter(item__campaign=row, is_current=True)}
    found = [_agreed(decided.get(item.pk), said[item.pk], kind) for item in items]
    open_rubric = {**rubric, "reason": "optional"}
    if kind == Campaign.Kind.COMPARISON:
        open_rubric["criteria"] = []
    return [
        Known(Slot(item.case, item.completion_a, item.completion_b), gold(*answer))
        for item, answer in zip(items, found, strict=True)
        if answer is not None and not set(judging.problems(answer[0], kind, open_rubric)) - {"strength"}
    ]


def _agreed(decision: Adjudication | None, revisions: Sequence[Revision], kind: str) -> tuple[Answer, str] | None:
    """The agreed answer of an item with what to tell an annotator of it; None where there is none."""
    own = _agreed_by(revisions, kind)
    if own is None and decision is not None:  # it settles what they left open, and never overrules what they agree on
        values = decision.values if decision.outcome == Outcome.JUDGED else {}
        return Answer(decision.outcome, strength=decision.strength, values=values), decision.reason
    return own


def _agreed_by(revisions: Sequence[Revision], kind: str) -> tuple[Answer, str] | None:
    outcomes = [revision.outcome for revision in revisions]
    feedback = f"{len(revisions)} annotators judged it in an earlier campaign, and this is what they agreed on."
    if len(outcomes) < 2:
        return None
    if kind == Campaign.Kind.COMPARISON:
        outcome = consensus.comparison(outcomes)
        return None if outcome is None or consensus.is_defective(outcomes) else (Answer(outcome), feedback)
    judged = [revision.values for revision in revisions if revision.outcome == Outcome.JUDGED]
    if 2 * len(judged) <= len(outcomes) or len(judged) < 2:
        return None
    values = {name: consensus.majority(value.get(name) for value in judged) for name in judged[0]}
    return None if None in values.values() else (Answer(Outcome.JUDGED, values=values), feedback)


# --- which of them a campaign uses


def choose(
    campaign: Campaign,
    design: Design,
    layout: Layout,
    *,
    models: Sequence[Model],
    n_people: int,
    pairs: Collection[frozenset[int]] | None,
) -> list[Known]:
    """The slots whose known answers the campaign will use, in the order of their lots. Raises PlanError.

    A file's are used all, as somebody chose them; of references and agreed answers as many as are needed.
    """
    given = design.known_answers
    if given is None:
        return []
    if given.kind == FILE:
        known = sorted(_of_file(given, campaign, layout, models, pairs), key=lambda row: _lot(campaign, row))
        _require_blind(known, models)
        return known
    if given.kind == CAMPAIGN:
        known = agreed(campaign.study, given.name, kind=campaign.kind, rubric=campaign.rubric)
        found = f"“{given.name}” has {len(known)} items with an agreed answer"
    elif campaign.kind == Campaign.Kind.LABEL:
        known = references(campaign.study, layout.slots)
        found = f"{len(known)} of these cases have a whole reference"
    else:
        raise PlanError("known_answers", "A reference is a label's known answer; it isn't one for judging outputs.")
    needed = ceil(campaign.overlap * len(layout.slots) / n_people * design.gold_rate / (1 - design.gold_rate))
    if len(known) < design.training_items + min(1, needed):
        raise PlanError(
            "known_answers",
            f"{found}, and {design.training_items} training items{' and gold items' if needed else ''} are asked for. "
            "Ask for fewer, or give a file with more known answers.",
        )
    known = sorted(known, key=lambda row: _lot(campaign, row))[: design.training_items + needed]
    _require_blind(known, models)
    return known


def _require_blind(known: Iterable[Known], models: Sequence[Model]) -> None:
    """Raise PlanError where what annotators are told after a training item names a model (C6)."""
    names = [model.name for model in models]
    telling = [
        f"{row.slot.case.external_id}: {', '.join(told)}"
        for row in known
        if (told := naming.names_in(row.gold["feedback"], names))
    ]
    if telling:
        raise PlanError(
            "known_answers", "The feedback of these answers names a model, which annotators must not learn.", telling
        )


def _lot(campaign: Campaign, row: Known) -> bytes:
    return campaign.draw("known answer", *row.slot.key)


def _of_file(
    given: Source,
    campaign: Campaign,
    layout: Layout,
    models: Sequence[Model],
    pairs: Collection[frozenset[int]] | None,
) -> list[Known]:
    names = {model.pk: model.name for model in models}
    file = FileAnswers(given, kind=campaign.kind, rubric=campaign.rubric, model_names=names)
    # A training item may lie outside what is estimated, in another split for example.
    elsewhere = file.cases() - {slot.case.external_id for slot in layout.slots}
    ids = list(campaign.study.cases.filter(external_id__in=elsewhere).values_list("pk", flat=True))
    more = lay_out(study=campaign.study, kind=campaign.kind, models=models, case_ids=ids, pairs=pairs)
    return file.answers([*layout.slots, *more.slots])


def shared_out(known: Sequence[Known], design: Design) -> tuple[Sequence[Known], Sequence[Known]]:
    """Training items, then gold items. Raises PlanError where there are too few or too many."""
    n, rest = design.training_items, len(known) - design.training_items
    if rest < 0 or (design.gold_rate and not rest):
        raise PlanError(
            "training_items",
            f"There are {len(known)} known answers, and {n} training items{' and gold items' * bool(design.gold_rate)} "
            "are asked for. Ask for fewer training items, or give more known answers.",
        )
    if rest and not design.gold_rate:
        raise PlanError(
            "gold_rate",
            f"There are {len(known)} known answers; {n} are for training, and with a gold rate of 0 the other {rest} "
            f"would never be shown. Set a gold rate, or ask for {len(known)} training items.",
        )
    return known[:n], known[n:]
