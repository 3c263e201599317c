"""report.json laid out in rows for a page: what templates can't say themselves. Reads the document only."""

from collections.abc import Iterator
from typing import Any

from reports.analysis import METRIC_TITLES
from reports.remarks import MARK_NAMES

Row = dict[str, Any]
SECTIONS = {"arms": "arms", "confusion": "arms", "likert": "arms", "contrasts": "contrasts", "wins": "contrasts"}


def layout(document: dict[str, Any]) -> dict[str, Any]:
    """The template context of a report."""
    subjects = {*document["arms"], *(about(row) for row in document["contrasts"])}
    planned = [row for row in document["contrasts"] if row["planned"]]
    return {
        "report": document,
        "notes": [caution for caution in document["warnings"] if caution["about"] not in subjects],
        "planned": [_with_cautions(row, document) for row in planned],
        "explored": [_with_cautions(row, document) for row in document["contrasts"] if not row["planned"]],
        "metrics": list(_metrics(document)),
        "arm_notes": [caution for caution in document["warnings"] if caution["about"] in document["arms"]],
        "agreement": list(_agreement(document)),
        "blinding": list(_blinding(document)),
        "harm": _harm(document.get("harm")),
        "remarks": document.get("remarks", {}),
        "mark_names": MARK_NAMES,
        "flow": list(_flow(document["flow"])),
        "models": list(_models(document["lineage"])),
        "figures": _figures(document["figures"]),
        "primary": METRIC_TITLES[document["plan"]["primary_metric"]],
    }


def about(row: Row) -> str:
    """How a warning names a contrast."""
    return f"{row['second']} − {row['first']}"


def _with_cautions(row: Row, document: dict[str, Any]) -> Row:
    found = [caution["text"] for caution in document["warnings"] if caution["about"] == about(row)]
    counts = row.get("counts", {})
    names = {"second": row["second"], "first": row["first"], "tie": "tie, both good"}
    order = ["second", "tie", "both_unacceptable", "first", "cannot_judge", "defective"]
    said = [f"{names.get(key, key.replace('_', ' '))}: {counts[key]}" for key in order if key in counts]
    return {
        **row,
        "said": said,
        "name": about(row) if row["metric"] != "win_rate" else f"{row['second']} against {row['first']}",
        "cautions": found,
    }


def _metrics(document: dict[str, Any]) -> Iterator[Row]:
    """One row a metric: its estimate for each arm, in the arms' order."""
    plan, arms = document["plan"], document["arms"]
    described = {key: entry for measured in arms.values() for key, entry in measured.items()}
    for key, about_it in described.items():
        title, metric, criterion = about_it["title"], about_it["metric"], about_it["criterion"]
        cells = [measured.get(key) for measured in arms.values()]
        primary = metric == plan["primary_metric"] and plan["primary_criterion"] in ("", criterion)
        notes = _notes({arm: entry["note"] for arm, entry in zip(arms, cells, strict=True) if entry})
        methods = dict.fromkeys(entry["method"] for entry in cells if entry)
        yield {"title": title, "primary": primary, "cells": cells, "notes": notes, "methods": list(methods)}


def _notes(by_arm: dict[str, str]) -> list[str]:
    """What is said of every arm once, and what is said of some with their names."""
    arms_of: dict[str, list[str]] = {}
    for arm, note in by_arm.items():
        for part in note.split("; ") if note else []:
            arms_of.setdefault(part, []).append(arm)
    return [part if len(arms) == len(by_arm) else f"{', '.join(arms)}: {part}" for part, arms in arms_of.items()]


def _agreement(document: dict[str, Any]) -> Iterator[Row]:
    for campaign, criteria in document["agreement"].items():
        for entry in criteria.values():
            yield {"campaign": campaign, **entry, "campaign_flow": document["flow"]["campaigns"][campaign]}


def _blinding(document: dict[str, Any]) -> Iterator[Row]:
    """One row a campaign with the arms below it. A report frozen by an earlier version says nothing of it."""
    for campaign, entry in document.get("blinding", {}).items():
        yield {"campaign": campaign, "campaign_flow": document["flow"]["campaigns"][campaign], **entry}


def _harm(harm: Row | None) -> Row | None:
    """Rows of the section on harm; None for a report frozen before there was one."""
    if harm is None:
        return None
    arms = [
        {"arm": arm, **entry, "severities": _severities(entry["by_worst_severity"])}
        for arm, entry in harm["arms"].items()
    ]
    apart = {name: {**harm[name], "severities": _severities(harm[name]["by_severity"])} for name in APART}
    return {"arms": arms, **apart}


APART = ("about_cases", "known_answers")


def _severities(counts: dict[str, int]) -> str:
    return ", ".join(f"{n} {name.replace('_', '-')}" for name, n in counts.items() if n)


def _flow(flow: dict[str, Any]) -> Iterator[Row]:
    """What came in, what was left out and why, a step a row."""
    imported = flow["imported"]
    splits = ", ".join(f"{split} {n}" for split, n in imported["by_split"].items())
    text = f"{_count(imported['cases'], 'case')} of {_count(imported['groups'], 'group')} ({splits or 'none'})"
    yield {"step": "Imported", "what": text, "left_out": []}
    for pk, entry in flow["evaluations"].items():
        what = f"{entry['cases']} of {entry['cases_in_split']} {entry['split']} cases, {len(entry['arms'])} arms"
        later = _reasons({"imported later": entry.get("imported_later", 0)})
        yield {"step": f"Evaluation {pk}", "what": what, "left_out": _reasons(entry["excluded"]) + later}
        for arm, counts in entry["arms"].items():
            left = _reasons({**counts["skipped"], "no output": counts["no_output"]})
            left += [f"{n} unparsed ({field}), counted as wrong" for field, n in counts["unparsed"].items() if n]
            # A report frozen by an earlier version has no such counts.
            left += [f"{counts['cut_off']} cut off at max_tokens, kept"] if counts.get("cut_off") else []
            yield {"step": f"Outputs of {arm}", "what": f"{counts['outputs']}", "left_out": left}
    for name, entry in flow["campaigns"].items():
        what = (
            f"{_count(entry['items'], 'item')} of {_count(entry['cases'], 'case')}: "
            f"{entry['judged_in_full']} judged in full, {entry['judged_in_part']} in part, {entry['not_judged']} not; "
            f"{_count(entry['judgements'], 'judgement')}"
        )
        if entry.get("left_open"):
            what += f"; {entry['left_open']} left open by the rule, {entry['adjudicated']} of them decided by a lead"
        kinds = ("surplus", "cannot_judge", "defective", "withdrawn", "skipped")
        left = _reasons(entry["not_planned"]) + _reasons({kind: entry[kind] for kind in kinds})
        left += _reasons({"harm reports": entry.get("harm_reports", 0)})
        left += _reasons({f"not scored, {reason}": n for reason, n in entry.get("not_scored", {}).items()})
        yield {"step": f"Campaign “{name}”", "what": what, "left_out": left}


def _reasons(counts: dict[str, int]) -> list[str]:
    return [f"{n} {reason.replace('_', ' ')}" for reason, n in counts.items() if n]


def _count(n: int, one: str) -> str:
    return f"{n} {one}{'' if n == 1 else 's'}"


def _models(lineage: dict[str, Any]) -> Iterator[Row]:
    for pk, evaluation in lineage["evaluations"].items():
        for arm, entry in evaluation["arms"].items():
            model = entry["model"]
            runs = [{**run, "judgements": len(run["dataset"]["judgement_ids"])} for run in model.get("runs", [])]
            yield {"evaluation": pk, "arm": arm, **model, "runs": runs, "completions": len(entry["completion_ids"])}


def _figures(figures: list[dict[str, str]]) -> dict[str, list[dict[str, str]]]:
    """By section of the page."""
    found: dict[str, list[dict[str, str]]] = {"arms": [], "contrasts": [], "agreement": []}
    for figure in figures:
        stem = figure["file"].removeprefix("figures/").partition(".")[0].partition("-")[0]
        found[SECTIONS.get(stem, stem)].append(figure)
    return found
