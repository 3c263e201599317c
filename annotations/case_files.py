"""Reading a case file or a completion file, JSON Lines, CSV or Parquet, a row at a time, so that 100 000 rows fit.

Every row comes with its place, said as a person would look it up: the line of a JSON Lines file, the row of a
spreadsheet (row 1 is the header) or the row of a Parquet file. What is wrong with one row is noted in ``Problems`` and
reading goes on, so that all of it can be mended at once; what is wrong with the whole file raises UserError.
"""

import csv
import hashlib
import io
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

from django.conf import settings

from accounts.errors import UserError

SHOWN = 50
LINE_BYTES = 5 * 1024 * 1024  # of a line or a cell; the longest record of a patient has a tenth of it
PARQUET_BATCH_BYTES = 64 * 1024 * 1024
DEPTH = 50  # of metadata
FORMATS = "JSON Lines (.jsonl), CSV (.csv) or Parquet (.parquet)"
csv.field_size_limit(LINE_BYTES)

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

Row = tuple[str, dict[str, Any]]


@dataclass
class Problems:
    """What is wrong with a file, row by row; the first ``SHOWN`` are kept in words."""

    lines: list[str] = field(default_factory=list)
    total: int = 0

    def add(self, where: str, what: str) -> None:
        self.total += 1
        if len(self.lines) < SHOWN:
            self.lines.append(f"{where}: {what}")

    def check(self, filename: str) -> None:
        """Raises UserError with everything found, if anything was."""
        if not self.total:
            return
        more = [f"… and {self.total - SHOWN} more"] if self.total > SHOWN else []
        noun = "1 problem" if self.total == 1 else f"{self.total} problems"
        raise UserError(f"{filename} was not imported: {noun}. Correct the file and try again.", self.lines + more)


@dataclass(frozen=True)
class CaseFile:
    """An open file, its format known from its name; ``rows`` can be read more than once.

    ``tabular``: every row has the same columns, which a JSON Lines file needn't have.
    """

    file: BinaryIO
    name: str
    tabular: bool
    read: Callable[[BinaryIO, str, Problems], Iterator[Row]]
    sha256: str

    def rows(self, problems: Problems) -> Iterator[Row]:
        self.file.seek(0)
        return self.read(self.file, self.name, problems)


def open_file(source: Path | BinaryIO, filename: str = "") -> CaseFile:
    """The file, hashed and checked for its encoding. Raises UserError. The caller closes ``.file``."""
    name = filename or (source.name if isinstance(source, Path) else "the file")
    suffix = Path(name).suffix.lower()
    readers = {".jsonl": _jsonl, ".ndjson": _jsonl, ".csv": _csv, ".tsv": _csv, ".parquet": _parquet, ".pq": _parquet}
    if suffix not in readers:
        raise UserError(f"{name}: files named {suffix or 'without an ending'} aren't known. Use {FORMATS}.")
    try:
        file = source.open("rb") if isinstance(source, Path) else source
    except OSError as error:
        raise UserError(f"{source} can't be read: {error.strerror}. Check the path.") from None
    digest, size = hashlib.sha256(), 0
    file.seek(0)
    while chunk := file.read(1 << 20):
        digest.update(chunk)
        size += len(chunk)
    if not size:
        raise UserError(f"{name} is empty: 0 bytes. Export it again.")
    if readers[suffix] is not _parquet:
        _check_encoding(file, name)
    return CaseFile(
        file=file, name=name, tabular=readers[suffix] is not _jsonl, read=readers[suffix], sha256=digest.hexdigest()
    )


def _check_encoding(file: BinaryIO, name: str) -> None:
    """Raises UserError at the first line that is not UTF-8: where that is, and what it may be."""
    file.seek(0)
    head = file.read(4)
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise UserError(f"{name} is in UTF-16. Save it as UTF-8 (in Excel: “CSV UTF-8”) and try again.")
    file.seek(0)
    offset = 0
    for number, line in enumerate(_lines(file, name), start=1):
        try:
            line.decode("utf-8")
        except UnicodeDecodeError as error:
            byte = line[error.start : error.start + 1]
            raise UserError(
                f"{name} is not UTF-8: line {number}, byte {offset + error.start} of the file is "
                f"0x{byte.hex().upper()} (“{byte.decode('cp1252', 'replace')}” in Windows-1252). "
                "Save it as UTF-8 (in Excel: “CSV UTF-8”)."
            ) from None
        offset += len(line)


def _lines(file: BinaryIO, name: str) -> Iterator[bytes]:
    """The lines as they stand. Raises UserError at one that is too long, before it is held in memory."""
    number = 0
    while line := file.readline(LINE_BYTES + 1):
        number += 1
        if len(line) > LINE_BYTES:
            raise UserError(
                f"{name}: line {number} is longer than {_megabytes(LINE_BYTES)}. "
                "Is a line break missing? Each case needs a line of its own."
            )
        yield line


def _megabytes(size: int) -> str:
    return f"{size / 1024**2:.3g} MB"


def _jsonl(file: BinaryIO, name: str, problems: Problems) -> Iterator[Row]:
    for number, raw in enumerate(_lines(file, name), start=1):
        line = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
        where = f"line {number}"
        if not line:
            continue
        try:
            value = json.loads(line, parse_constant=_no_constant)
        except json.JSONDecodeError as error:
            problems.add(where, f"not JSON: {error.msg} at character {error.colno}.")
        except (ValueError, RecursionError) as error:
            problems.add(where, f"not JSON that can be kept: {error}.")
        else:
            if isinstance(value, dict):
                yield where, value
            else:
                problems.add(where, f"holds a {_kind(value)}, but each line must be one object: {{…}}.")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")


def _kind(value: Any) -> str:
    kinds = {list: "list", str: "text", bool: "true or false", int: "number", float: "number", type(None): "null"}
    return kinds.get(type(value), "value")


def _csv(file: BinaryIO, name: str, problems: Problems) -> Iterator[Row]:
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    try:
        yield from _csv_rows(text, name, problems)
    finally:
        text.detach()  # the wrapper would close the caller's file


def _csv_rows(text: io.TextIOWrapper, name: str, problems: Problems) -> Iterator[Row]:
    first = text.readline()
    text.seek(0)
    reader = csv.reader(text, delimiter=max(",;\t", key=first.count), strict=True)
    header: list[str] = []
    number = 0
    try:
        for number, cells in enumerate(reader, start=1):
            if not any(cells):
                continue
            if not header:
                header = _header(cells, name)
            elif len(cells) != len(header):
                problems.add(
                    f"row {number} (ends on line {reader.line_num})",
                    f"has {len(cells)} cells, but the header has {len(header)}. Is a quotation mark missing?",
                )
            else:
                yield f"row {number}", dict(zip_longest(header, cells))
    except csv.Error as error:
        problems.add(
            f"row {number + 1} (from line {reader.line_num})", f"not CSV: {error}. Is a quotation mark missing?"
        )


def _header(cells: list[str], name: str) -> list[str]:
    header = [cell.strip() for cell in cells]
    if twice := sorted({cell for cell in header if header.count(cell) > 1}):
        raise UserError(f"{name}: the header has the column “{twice[0]}” more than once. Rename or remove one.")
    return header


def _parquet(file: BinaryIO, name: str, problems: Problems) -> Iterator[Row]:
    import pyarrow
    import pyarrow.parquet

    number = size = 0
    try:
        table = pyarrow.parquet.ParquetFile(file)
        for batch in table.iter_batches(batch_size=_rows_at_once(table, name)):
            # Read as plain text: a value that the file holds once, and a million rows refer to, counts every time.
            size += sum(_plain_size(column) for column in batch.columns)
            _check_unpacked(size, name)
            for value in batch.to_pylist():
                number += 1
                yield f"row {number}", value
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{name} can't be read as Parquet after row {number}: {error}. Export it again.") from None


def _rows_at_once(table: "ParquetFile", name: str) -> int:
    """So many that a batch fits into memory even where each row holds all that its row group does."""
    groups = [table.metadata.row_group(index).total_byte_size for index in range(table.num_row_groups)]
    _check_unpacked(sum(groups), name)
    return max(1, min(1000, PARQUET_BATCH_BYTES // max(groups, default=1)))


def _plain_size(column: Any) -> int:
    """Bytes of an Arrow column once no value stands for several rows."""
    import pyarrow

    return int((column.dictionary_decode() if pyarrow.types.is_dictionary(column.type) else column).nbytes)


def _check_unpacked(size: int, name: str) -> None:
    if size > settings.IMPORT_MAX_BYTES:
        raise UserError(
            f"{name} holds more than {_megabytes(settings.IMPORT_MAX_BYTES)} once it is unpacked. "
            "Split it into several files and import one after another."
        )


# --- values


def as_text(value: Any) -> str | None:
    """A cell as text; None where there is none. Raises ValueError that says what is wrong with it."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, (list, dict, bytes, set, tuple)):
        raise ValueError(f"holds a {_kind(value)}, but must hold a text")
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # identifiers that went through a spreadsheet or pandas
    text = str(value)
    if "\x00" in text:
        raise ValueError("holds a NUL character. Remove it")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("holds half a character (a lone surrogate). Export the file again") from None
    return text


def as_json(value: Any, depth: int = 0) -> Any:
    """A cell of metadata as JSON can hold it: dates and decimals as text, nan as null. Raises ValueError."""
    if depth > DEPTH:
        raise ValueError(f"is nested more than {DEPTH} levels deep. Flatten it")
    if isinstance(value, dict):
        return {as_text(key) or "": as_json(inner, depth + 1) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(inner, depth + 1) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return as_text(value.isoformat() if hasattr(value, "isoformat") else value)
