"""A report's files: report.json with everything, CSV tables, and an HTML page with its figures beside it."""

import csv
import io
import json
import shutil
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from django.contrib.staticfiles import finders
from django.template.loader import render_to_string

from accounts.errors import UserError
from reports import harm, remarks
from reports.models import Report
from reports.presentation import layout

FORMATS = ("html", "csv", "json")
LATER = ("pdf", "docx")
CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".csv": "text/csv; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}


def check_formats(names: Sequence[str]) -> list[str]:
    """The formats, or a UserError for one that there is not (yet)."""
    unknown = [name for name in names if name not in FORMATS]
    if unknown:
        later = [name for name in unknown if name in LATER]
        why = f"{', '.join(later)}: not yet, see README. " if later else ""
        raise UserError(f"{why}Formats: {', '.join(FORMATS)}; not {', '.join(unknown)}.")
    return list(dict.fromkeys(names)) or list(FORMATS)


def write(document: dict[str, Any], tables: dict[str, list[dict[str, Any]]], directory: Path) -> None:
    """Write all formats into ``directory``, which already holds the figures."""
    text = json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False)
    (directory / "report.json").write_text(text + "\n", encoding="utf-8")
    for name, (columns, rows) in (_summaries(document) | _listed(tables)).items():
        (directory / f"{name}.csv").write_text(_csv(columns, rows), encoding="utf-8")
    stylesheet = finders.find("reports/report.css")
    assert isinstance(stylesheet, str)
    shutil.copyfile(stylesheet, directory / "report.css")
    page = render_to_string("reports/standalone.html", {**layout(document), "files": ""})
    (directory / "report.html").write_text(page, encoding="utf-8")


Table = tuple[list[str], list[dict[str, Any]]]


def _summaries(document: dict[str, Any]) -> dict[str, Table]:
    arms = [
        {"arm": arm, **entry, "metric": key, "left_out": _counts(entry["left_out"])}
        for arm, measured in document["arms"].items()
        for key, entry in measured.items()
    ]
    agreement = [
        {
            "campaign": campaign,
            "criterion": criterion,
            **entry,
            **{name: entry["alpha"][name] for name in ("low", "high", "method", "note")},
            "alpha": entry["alpha"]["value"],
            "percent_agreement": entry["percent_agreement"]["value"],
        }
        for campaign, criteria in document["agreement"].items()
        for criterion, entry in criteria.items()
    ]
    blinding = [row for campaign, entry in document["blinding"].items() for row in _guesses(campaign, entry)]
    contrasts = [{**row, **_flat(row)} for row in document["contrasts"]]
    return {
        "arms": (["arm", "metric", "title", "value", "low", "high", "n", "left_out", "method", "note"], arms),
        "contrasts": (CONTRAST_COLUMNS, contrasts),
        "agreement": (AGREEMENT_COLUMNS, agreement),
        "blinding": (BLINDING_COLUMNS, blinding),
        "warnings": (["code", "about", "text"], document["warnings"]),
        "harm": (harm.COLUMNS, harm.table(document)),
        "reasons": (["campaign", "about", "reason", "n", "judgements"], document["remarks"]["reasons"]),
        "marks": (["campaign", "arm", "mark", "n", "readings", "per_100"], remarks.marks_table(document)),
        "annotators": (["annotator", "specialty", "judgements", "median_active_seconds"], document["annotators"]),
    }


CONTRAST_COLUMNS = [
    *("evaluation", "metric", "criterion", "first", "second", "effect", "low", "high", "p_value", "p_adjusted"),
    *("planned", "null", "n", "statistic", "rank_biserial", "second_preferred", "tie", "both_unacceptable"),
    *("first_preferred", "cannot_judge", "defective", "method", "effect_method", "note"),
]
AGREEMENT_COLUMNS = [
    *("campaign", "criterion", "level", "alpha", "low", "high", "percent_agreement", "n_items", "n_annotators"),
    *("n_judgements", "n_cannot_judge", "n_defective_left_out", "n_surplus", "method", "note"),
]


BLINDING_COLUMNS = [
    *("campaign", "arm", "words", "statistic", "value", "low", "high", "chance", "guesses", "right", "wrong"),
    *("dont_know", "annotators_asked", "after_closing", "method", "note"),
]


def _guesses(campaign: str, entry: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of the blinding check: two shares over all arms, then Bang's index of each arm."""
    if not entry["asked"]:
        return [{"campaign": campaign, "note": "annotators were not asked to guess the arms"}]
    whole = {"campaign": campaign, **entry}
    rows = [{**whole, "statistic": name, **entry[name]} for name in ("share_right", "share_right_of_all")]
    for arm, own in entry["arms"].items():
        rows.append({"campaign": campaign, "arm": arm, **own, "statistic": "bang", "chance": 0, **(own["bang"] or {})})
    return rows


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    counts = row.get("counts", {})
    flat = {
        name: counts.get(name, 0 if counts else None)
        for name in ("tie", "both_unacceptable", "cannot_judge", "defective")
    }
    preferred = {f"{side}_preferred": counts.get(side, 0 if counts else None) for side in ("second", "first")}
    return {**flat, **preferred, "rank_biserial": row.get("rank_biserial", {}).get("value")}


def _listed(tables: dict[str, list[dict[str, Any]]]) -> dict[str, Table]:
    columns = {
        "scores": ["evaluation", "case", "group", "arm", "metric", "score"],
        "exclusions": ["where", "reason", "case"],
    }
    return {name: (columns[name], rows) for name, rows in tables.items()}


def _counts(counts: dict[str, int]) -> str:
    return "; ".join(f"{reason}: {n}" for reason, n in counts.items())


def _csv(columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(row.get(column)) for column in columns] for row in rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    """Text that a spreadsheet would run as a formula gets an apostrophe before it."""
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{value}"
    return value


# Reading a frozen report


def document(report: Report) -> dict[str, Any]:
    """What the report says. UserError where its file is gone."""
    try:
        found: dict[str, Any] = json.loads((report.path / "report.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(
            f"The files of {report} are no longer where they were written. Make the report again."
        ) from None
    return found


def file_names(report: Report) -> list[str]:
    """Every file of the report, as a path below its directory."""
    return sorted(path.relative_to(report.path).as_posix() for path in report.path.rglob("*") if path.is_file())


def archive(report: Report) -> bytes:
    """All files in one ZIP, for reading elsewhere."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archived:
        for name in file_names(report):
            archived.write(report.path / name, f"{report.path.name}/{name}")
    return packed.getvalue()


def copy(report: Report, target: Path, formats: Sequence[str]) -> list[str]:
    """Copy the report's files of these formats into ``target``; returns their names."""
    wanted = set()
    for name in file_names(report):
        suffix = Path(name).suffix.removeprefix(".")
        if suffix in formats or (suffix in ("svg", "css") and "html" in formats):
            wanted.add(name)
    try:
        for name in sorted(wanted):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(report.path / name, target / name)
    except OSError as error:
        raise UserError(f"The report could not be written to {target}: {error.strerror}.") from error
    return sorted(wanted)
