"""Judgement files, CSV and JSONL, read and written alike: what is written here is read here unchanged."""

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

from accounts.errors import UserError
from annotations.exporting import COLUMNS, Row

FORMATS = (".csv", ".jsonl")
# A spreadsheet would run a text that begins like a formula: such a text gets an apostrophe in front, and loses it
# again when the file is read. (A text with apostrophes before the sign gets one more, so nothing is ambiguous.)
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_ESCAPED = re.compile(r"'+[=+\-@\t\r]")


def write(path: Path, rows: Iterable[Row]) -> int:
    """Write a file whose name says its format; returns the number of rows. An existing file is replaced."""
    suffix = _format(path)
    with path.open("w", encoding="utf-8", newline="") as file:
        return write_csv(file, rows) if suffix == ".csv" else _write_jsonl(file, rows)


def write_csv(file: TextIO, rows: Iterable[Row]) -> int:
    writer = csv.DictWriter(file, COLUMNS)
    writer.writeheader()
    n = 0
    for row in rows:
        writer.writerow({name: _cell(value) for name, value in row.items()})
        n += 1
    return n


def csv_lines(rows: Iterable[Row]) -> Iterator[str]:
    """The same file a line at a time, for a streamed download."""
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, COLUMNS)
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _cell(value) for name, value in row.items()})
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue()


def _write_jsonl(file: TextIO, rows: Iterable[Row]) -> int:
    n = 0
    for row in rows:
        file.write(json.dumps({name: row[name] for name in COLUMNS}, ensure_ascii=False) + "\n")
        n += 1
    return n


def _cell(value: Any) -> Any:
    """A value in a CSV: lists as JSON, a flag as 1; what is not there is empty."""
    if isinstance(value, str):
        return f"'{value}" if _FORMULA.match(value) else value
    if isinstance(value, list):
        return json.dumps(value, ensure_ascii=False) if value else ""
    return int(value) or "" if isinstance(value, bool) else value


def _text(value: Any) -> str:
    """A value of a JSON object as the text that a CSV has in its place."""
    if isinstance(value, list | bool):
        return str(_cell(value))
    return "" if value is None else str(value)


def _unescape(value: str) -> str:
    return value[1:] if _ESCAPED.match(value) else value


def _format(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise UserError(f"“{path.name}” is neither .csv nor .jsonl; a judgement file's name says its format.")
    return suffix


def read(path: Path) -> list[tuple[int, dict[str, str]]]:
    """(line number, {column: text}) of every row; a column that is left out is absent. Raises UserError."""
    suffix = _format(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"“{path}” can't be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UserError(
            f"“{path.name}” is not UTF-8: line {line} has a byte that can't be read. Save it as UTF-8."
        ) from None
    rows = list(_csv_rows(text) if suffix == ".csv" else _jsonl_rows(text))
    if not rows:
        raise UserError(f"“{path.name}” has no rows.")
    return rows


def _csv_rows(text: str) -> Iterator[tuple[int, dict[str, str]]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        header = list(reader.fieldnames or [])
        _check_columns(header, 1)
        for row in reader:
            if None in row or None in row.values():
                raise UserError(f"Line {reader.line_num}: the header has {len(header)} columns, this row has not.")
            yield reader.line_num, {name: _unescape(value) for name, value in row.items()}
    except csv.Error as error:
        raise UserError(f"Line {reader.line_num}: not CSV ({error}).") from None


def _jsonl_rows(text: str) -> Iterator[tuple[int, dict[str, str]]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise UserError(f"Line {number}: not JSON ({error}).") from None
        if not isinstance(row, dict):
            raise UserError(f"Line {number}: not a JSON object.")
        _check_columns(list(row), number)
        yield number, {name: _text(value) for name, value in row.items()}


def _check_columns(names: list[str], line: int) -> None:
    unknown = [name for name in names if name not in COLUMNS]
    if len(names) == 1 and (";" in names[0] or "\t" in names[0]):
        raise UserError(f"Line {line}: the columns are separated by semicolons or tabs. Save it as CSV with commas.")
    if unknown:
        raise UserError(
            f"Line {line}: unknown column {', '.join(f'“{name}”' for name in unknown)}. Columns: {', '.join(COLUMNS)}."
        )
