"""One row of a file → the fields of a case: which column is what, and what may stand in it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from accounts.errors import UserError
from annotations import prompts
from annotations.case_files import CaseFile, Problems, as_json, as_text
from annotations.models import Study
from annotations.parsing import normalised
from annotations.splitting import SPLITS
from annotations.studies import LABELLED

ID_LENGTH = 120


def parse_mapping(pairs: Iterable[str]) -> dict[str, str]:
    """["text=Dialogue", …] → {"text": "Dialogue"}. Raises UserError."""
    mapping = {}
    for pair in pairs:
        name, separator, column = (part.strip() for part in pair.partition("="))
        if not (separator and name and column):
            raise UserError(f"“{pair}” is no mapping. Write field=column, for example text=Dialogue.")
        if name in mapping:
            raise UserError(f"The field “{name}” is mapped twice. Map it to one column.")
        mapping[name] = column
    return mapping


@dataclass
class Columns:
    """Which column holds which field. ``required`` must stand in every row; mapped ones must occur somewhere."""

    required: list[str]
    optional: list[str]
    mapping: Mapping[str, str]
    met: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        known = self.required + self.optional
        if unknown := [name for name in self.mapping if name not in known]:
            raise UserError(f"There is no field “{unknown[0]}” to map a column to. Fields: {', '.join(known)}.")

    def column(self, name: str) -> str:
        return self.mapping.get(name, name)

    @property
    def used(self) -> set[str]:
        return {self.column(name) for name in self.required + self.optional}

    def read(self, file: CaseFile, problems: Problems) -> Iterator[tuple[str, dict[str, Any], dict[str, str]]]:
        """Every row as (place, cells, {field: text}); a row that lacks a required field is noted and left out."""
        number = 0
        for number, (where, cells) in enumerate(file.rows(problems), start=1):
            if number == 1 and file.tabular:
                self._check_header(cells, file.name)
            self.met |= cells.keys() & self.used
            values = self._values(where, cells, problems)
            if values is not None:
                yield where, cells, values
        if not number and not problems.total:
            raise UserError(f"{file.name} has no rows below its header, or nothing at all. Export it again.")
        if number and (never := [c for c in self.mapping.values() if c not in self.met]):
            raise UserError(f"{file.name} has no column “{never[0]}” in any row. Correct the mapping.")

    def _check_header(self, cells: Mapping[str, Any], name: str) -> None:
        wanted = [self.column(n) for n in self.required] + list(self.mapping.values())
        if missing := [column for column in dict.fromkeys(wanted) if column not in cells]:
            fields = [n for n in self.required + self.optional if self.column(n) == missing[0]]
            raise UserError(
                f"{name} has no column “{missing[0]}”. Its columns: {', '.join(map(str, cells))}. If another one holds "
                f"it, say so with the mapping {fields[0]}=COLUMN."
            )

    def _values(self, where: str, cells: Mapping[str, Any], problems: Problems) -> dict[str, str] | None:
        values, whole = {}, True
        for name in self.required + self.optional:
            column = self.column(name)
            try:
                text = as_text(cells.get(column))
            except ValueError as error:
                problems.add(where, f"the column “{column}” {error}.")
                whole = False
                continue
            if text is not None:
                values[name] = text
            elif name in self.required:
                problems.add(where, f"has no “{column}”. It holds: {', '.join(map(str, cells)) or 'nothing'}.")
                whole = False
        return values if whole else None


@dataclass(frozen=True)
class CaseRow:
    """A case as the file has it; ``split`` is empty where the file doesn't say."""

    where: str
    external_id: str
    group: str
    split: str
    inputs: dict[str, str]
    reference: dict[str, str]
    metadata: dict[str, Any]


class CaseReader:
    """Reads case rows for one study; one reader can read its file twice."""

    def __init__(self, study: Study, mapping: Mapping[str, str]) -> None:
        self.task = study.task
        self.inputs = prompts.input_fields(study.user_template)
        self.labels = {f["name"]: _allowed(f) for f in study.label_fields} if study.task in LABELLED else {}
        extra = [*self.labels]
        if len(self.labels) < 2:
            extra.append("reference")
        if study.task == Study.Task.REASONING:
            extra.append("rationale")
        self.columns = Columns(["external_id", *self.inputs], ["group", "split", *extra], mapping)

    def rows(self, file: CaseFile, problems: Problems) -> Iterable[CaseRow]:
        for where, cells, values in self.columns.read(file, problems):
            found = problems.total
            row = self._row(where, cells, values, problems)
            if problems.total == found:
                yield row

    def _row(self, where: str, cells: Mapping[str, Any], values: dict[str, str], problems: Problems) -> CaseRow:
        external_id = values["external_id"].strip()
        group = values.get("group", "").strip()
        if not external_id:
            problems.add(where, "external_id is empty.")
        for name, value in (("external_id", external_id), ("group", group)):
            if len(value) > ID_LENGTH:
                problems.add(where, f"{name} has {len(value)} characters; at most {ID_LENGTH} are allowed.")
        for name in self.inputs:
            if not values[name].strip():
                problems.add(where, f"{self.columns.column(name)} is empty.")
        split = values.get("split", "").strip().lower()
        if split and split not in SPLITS:
            problems.add(where, f"split is “{values['split']}”; it must be one of {', '.join(SPLITS)}.")
        return CaseRow(
            where=where,
            external_id=external_id,
            group=group or external_id,
            split=split,
            inputs={name: values[name] for name in self.inputs},
            reference=self._labels(where, values, problems) if self.labels else self._text_reference(values),
            metadata=self._metadata(where, cells, problems),
        )

    def _text_reference(self, values: Mapping[str, str]) -> dict[str, str]:
        named = {"text": values.get("reference", ""), "rationale": values.get("rationale", "")}
        return {name: value for name, value in named.items() if value.strip()}

    def _labels(self, where: str, values: Mapping[str, str], problems: Problems) -> dict[str, str]:
        labels = {}
        for name, allowed in self.labels.items():
            given = values.get(name, "").strip()
            if len(self.labels) == 1:
                other = values.get("reference", "").strip()
                if given and other and given != other:
                    problems.add(where, f"{name} is “{given}”, but reference is “{other}”. Keep one of the columns.")
                given = given or other
            if not given:
                continue
            if normalised(given) in allowed:
                labels[name] = allowed[normalised(given)]
            else:
                known = ", ".join(dict.fromkeys(allowed.values()))
                problems.add(where, f"{name} is “{given}”, which is no label of this study. Labels: {known}.")
        return labels

    def _metadata(self, where: str, cells: Mapping[str, Any], problems: Problems) -> dict[str, Any]:
        used, metadata = self.columns.used, {}
        for column, value in cells.items():
            if column in used or value is None or value == "":
                continue
            try:
                metadata[str(column)] = as_json(value)
            except ValueError as error:
                problems.add(where, f"the column “{column}” {error}.")
        return metadata


def _allowed(label_field: Mapping[str, Any]) -> dict[str, str]:
    """{value or title, normalised: value}"""
    pairs = [
        (label[key], label["value"]) for label in label_field["labels"] for key in ("title", "value") if label.get(key)
    ]
    return {normalised(name): value for name, value in pairs}
