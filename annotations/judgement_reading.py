"""What a judgement file's rows say: each matched to its item, gathered into revisions, checked like an answer."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils import timezone
from django.utils.dateparse import parse_datetime

from accounts.errors import UserError
from annotations import judging
from annotations.exporting import GOLD, PREFERENCE, REPEAT, TRAINING, criteria_in, models_of
from annotations.judging import Answer, Ideal, Outcome
from annotations.models import Campaign, Item

MAX_FINDINGS = 50
WITHOUT_VALUE = (Outcome.CANNOT_JUDGE, Outcome.DEFECTIVE, Outcome.WITHDRAWN)
FLIPPED = {Outcome.PREFER_A: Outcome.PREFER_B, Outcome.PREFER_B: Outcome.PREFER_A}
TURNED = {"a": "b", "b": "a"}
Rubric = tuple[int, Mapping[str, Any]]  # a version's number and content


@dataclass
class Given:
    """One revision as the file has it, gathered from its rows."""

    line: int
    item: Item
    annotator: str
    number: int
    a_is_left: bool | None
    answer: Answer
    rubric: Rubric
    rows: int
    started: datetime | None
    submitted: datetime | None


class Findings:
    """What is wrong with the file, a line each; raised together so that one look mends all."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, line: int, what: str) -> None:
        self.lines.append(f"Line {line}: {what}")

    def raise_any(self) -> None:
        if not self.lines:
            return
        shown = self.lines[:MAX_FINDINGS]
        if len(self.lines) > MAX_FINDINGS:
            shown.append(f"… and {len(self.lines) - MAX_FINDINGS} more")
        raise UserError(f"The file has {len(self.lines)} problem(s), so nothing was imported.", shown)


def left_out(campaign: Campaign, line: int, row: dict[str, str]) -> str:
    """Why a row is no judgement of a regular item of the campaign; empty where it is one."""
    if row.get("campaign", campaign.name) not in ("", campaign.name):
        return "other_campaign"
    kind = row.get("item", "").strip()
    if kind not in ("", REPEAT, GOLD, TRAINING):
        raise UserError(f"Line {line}: item “{kind}” is not one of {REPEAT}, {GOLD} and {TRAINING}, and not empty.")
    return kind


def gather(campaign: Campaign, rows: Iterable[tuple[int, dict[str, str]]]) -> list[Given]:
    findings = Findings()
    items = _Items(campaign)
    only = campaign.annotators.first() if campaign.annotators.count() == 1 else None
    groups: dict[tuple[int, str, int], list[tuple[int, dict[str, str], bool]]] = defaultdict(list)
    for line, row in rows:
        annotator = row.get("annotator", "").strip() or (only.username if only else "")
        number = row.get("revision", "").strip() or "1"
        if not annotator:
            findings.add(line, "no annotator.")
        elif not number.isdecimal() or int(number) < 1:
            findings.add(line, f"revision “{number}” is not a number from 1.")
        else:
            try:
                item, flipped = items.find(row)
            except UserError as error:
                findings.add(line, error.message)
            else:
                groups[item.pk, annotator, int(number)].append((line, row, flipped))
    given = []
    rubrics = {row.number: row.content for row in campaign.rubric_versions.all()}
    rubrics |= {campaign.rubric_version: campaign.rubric}
    for (item_id, name, revision), group in groups.items():
        try:
            rubric = _rubric(campaign, rubrics, group[0][1])
            given.append(_revision(items.by_pk[item_id], name, revision, rubric, group))
        except UserError as error:
            findings.add(group[0][0], error.message)
    findings.raise_any()
    return given


class _Items:
    """Finds the item a row is about by its case and models."""

    def __init__(self, campaign: Campaign) -> None:
        self.campaign = campaign
        rows = campaign.items.filter(repeat_of__isnull=True, gold__isnull=True)
        rows = rows.select_related("case", "completion_a__model", "completion_b__model")
        self.by_pk = {item.pk: item for item in rows}
        self.by_case: dict[str, list[Item]] = defaultdict(list)
        for item in self.by_pk.values():
            item.campaign = campaign
            self.by_case[item.case.external_id].append(item)

    def find(self, row: dict[str, str]) -> tuple[Item, bool]:
        """The item, and whether the row names its models the other way round."""
        name = row.get("case", "").strip()
        candidates = self.by_case.get(name, [])
        if not candidates:
            raise UserError(f"the campaign has no item of case “{name}”.")
        wanted = tuple(row.get(column, "").strip() for column in ("model_a", "model_b"))
        straight = [item for item in candidates if _matches(wanted, models_of(item))]
        if len(straight) > 1:
            raise UserError(f"case “{name}” has {len(straight)} such items, so the row must name the models.")
        if straight:
            return straight[0], False
        flipped = [item for item in candidates if wanted[1] and _matches(wanted[::-1], models_of(item))]
        if len(flipped) == 1:
            return flipped[0], True
        known = "; ".join(" and ".join(filter(None, models_of(item))) for item in candidates)
        raise UserError(f"case “{name}” has no item of {' and '.join(filter(None, wanted))}; it has {known or 'none'}.")


def _matches(wanted: Sequence[str], models: tuple[str, str]) -> bool:
    return all(not name or name == model for name, model in zip(wanted, models, strict=True))


def _rubric(campaign: Campaign, rubrics: dict[int, Mapping[str, Any]], row: dict[str, str]) -> Rubric:
    """The version that a judgement was given under; the one in force where the file doesn't say."""
    text = row.get("rubric", "").strip() or str(campaign.rubric_version)
    if not text.isdecimal() or int(text) not in rubrics:
        known = ", ".join(map(str, sorted(rubrics)))
        raise UserError(
            f"rubric “{text}” is not a version of this campaign's ({known}). Leave it empty for the one in force."
        )
    return int(text), rubrics[int(text)]


def _revision(
    item: Item, annotator: str, number: int, rubric: Rubric, group: list[tuple[int, dict[str, str], bool]]
) -> Given:
    """One answer from the rows of its criteria."""
    line, first, flipped = group[0]
    if any(row[2] != flipped for row in group):
        raise UserError("the rows of one judgement name its two models in different orders: name them alike.")
    criteria = criteria_in(item.campaign.kind, rubric[1])
    said: dict[str, str] = {}
    for _, row, _ in group:
        name = row.get("criterion", "").strip() or (criteria[0] if len(criteria) == 1 else "")
        if name not in criteria:
            raise UserError(f"criterion “{name}” is not one of this campaign's ({', '.join(criteria)}).")
        if name in said:
            raise UserError(f"criterion “{name}” is given twice for one judgement.")
        said[name] = row.get("value", "").strip()
    if missing := [name for name in criteria if name not in said]:
        raise UserError(f"no value for {', '.join(missing)}.")
    answer = _answer(item, rubric[1], said, first, flipped)
    if answer.outcome != Outcome.WITHDRAWN:
        _require_whole(answer, item, rubric[1], said)
    return Given(
        line=line,
        item=item,
        annotator=annotator,
        number=number,
        a_is_left=_side(item, first.get("shown_left", "").strip(), flipped),
        answer=answer,
        rubric=rubric,
        rows=len(group),
        started=_time(first.get("started", ""), "started"),
        submitted=_time(first.get("submitted", ""), "submitted"),
    )


def _require_whole(answer: Answer, item: Item, rubric: Mapping[str, Any], said: dict[str, str]) -> None:
    """Like the page, but for what another tool may not have asked: a reason, and how much better."""
    found = judging.problems(answer, item.campaign.kind, {**rubric, "reason": "optional"}, item)
    if not answer.strength:
        found.pop("strength", None)
    besides = [found.pop(name) for name in ("reason", "chips", "marks", "ideal") if name in found]
    if besides:
        raise UserError(" ".join(besides))
    if found:
        values = ", ".join(f"“{value}”" for value in dict.fromkeys(said.values()))
        raise UserError(f"value {values} can't be read here. {' '.join(found.values())}")


def _answer(item: Item, rubric: Mapping[str, Any], said: dict[str, str], row: dict[str, str], flipped: bool) -> Answer:
    outcome, _, why = said.get(PREFERENCE, next(iter(said.values()))).partition(":")
    besides: dict[str, Any] = {
        "reason": row.get("reason", ""),
        "chips": _json_list(row, "chips"),
        "marks": _marks(item, row, flipped),
        "flagged": _flag(row),
    }
    if outcome in WITHOUT_VALUE:
        if len(set(said.values())) > 1:
            raise UserError(f"“{outcome}” is said of all criteria of a judgement or of none.")
        return Answer(outcome, cannot_judge=why, ideal=_ideal(item, row, flipped, ""), **besides)
    compared = item.campaign.kind == Campaign.Kind.COMPARISON
    values = {}
    for name, allowed in judging.allowed_values(item.campaign.kind, rubric).items():
        by_text = {str(value): value for value in allowed}
        if said[name] not in by_text:
            raise UserError(f"{name}: “{said[name]}” is not one of {', '.join(by_text)}.")
        values[name] = judging.turned(by_text[said[name]]) if compared and flipped else by_text[said[name]]
    if not compared:
        return Answer(Outcome.JUDGED, values=values, ideal=_ideal(item, row, flipped, ""), **besides)
    if flipped:
        outcome = FLIPPED.get(outcome, outcome)  # type: ignore[call-overload]
    strength = row.get("strength", "").strip()
    return Answer(outcome, strength, values=values, ideal=_ideal(item, row, flipped, outcome), **besides)


def _json_list(row: dict[str, str], column: str) -> list[Any]:
    text = row.get(column, "").strip()
    try:
        found = json.loads(text or "[]")
    except ValueError:
        found = None
    if not isinstance(found, list):
        raise UserError(f"{column} “{text}” is not a JSON list.")
    return found


def _marks(item: Item, row: dict[str, str], flipped: bool) -> list[dict[str, Any]]:
    """Marks of a file, their outputs in the item's order; a quote must be the sentence that it stands for."""
    marks = _json_list(row, "marks")
    turned = []
    for mark in marks:
        if not isinstance(mark, dict):
            raise UserError(f"marks has “{mark}”, which is not a JSON object.")
        output = str(mark.get("output", "a"))
        output = TURNED.get(output, output) if flipped else output
        number, quote = mark.get("sentence"), mark.get("quote")
        if quote is not None and quote != judging.sentence_of(item, output, number):
            raise UserError(f"the output's sentence {number} is not the marked one, “{quote}”.")
        turned.append(
            {"output": output, "sentence": number, "kind": mark.get("kind"), "severity": mark.get("severity", "")}
        )
    return turned


def _ideal(item: Item, row: dict[str, str], flipped: bool, outcome: str) -> Ideal | None:
    """The corrected output. Which one it is of may be left out where there is one only, or one is preferred."""
    text, output = row.get("ideal", ""), row.get("ideal_of", "").strip()
    if not text.strip():
        return None
    if output not in ("", "a", "b"):
        raise UserError(f"ideal_of is “{output}”, not a or b.")
    if output:
        return Ideal(TURNED[output] if flipped else output, text)
    if item.completion_b is not None and outcome not in FLIPPED:
        raise UserError("the row has a corrected output, but ideal_of doesn't say of which: a or b.")
    return Ideal("b" if outcome == Outcome.PREFER_B else "a", text)


def _flag(row: dict[str, str]) -> bool:
    text = row.get("flagged", "").strip().lower()
    if text not in ("", "0", "1", "false", "true"):
        raise UserError(f"flagged is “{text}”, not 1 or empty.")
    return text in ("1", "true")


def _side(item: Item, shown_left: str, flipped: bool) -> bool | None:
    """Whether A was on the left; None where the file doesn't say (then it is unknown, not drawn)."""
    if item.completion_b is None or not shown_left:
        return None
    a, b = models_of(item)
    if shown_left in ("a", "b"):
        return (shown_left == "a") != flipped
    if a == b or shown_left not in (a, b):
        raise UserError(f"shown_left is “{shown_left}”, not one of “{a}”, “{b}”, “a” and “b”.")
    return shown_left == a


def _time(text: str, column: str) -> datetime | None:
    if not text.strip():
        return None
    try:
        moment = parse_datetime(text.strip())
    except ValueError:
        moment = None
    if moment is None:
        raise UserError(f"{column} “{text}” is not a time like 2026-01-31T09:30:00+00:00.")
    return moment if timezone.is_aware(moment) else timezone.make_aware(moment)
