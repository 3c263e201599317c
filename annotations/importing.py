"""Cases and completions from files: all of a file or nothing, and every problem said at once, with its row.

A case file holds ``external_id``, the input fields that the study's template asks for (``text``), and optionally
``group`` (the patient or encounter; without it every case is its own), ``split`` and the reference: ``reference`` for
summaries and answers (beside it ``rationale`` for reasoning), one column a label field for labels (where there
is one field, ``reference`` will do). Anything else is kept as metadata. ``mapping`` says {field: column} where names
differ.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import BinaryIO, TypeVar

from django.db import IntegrityError, transaction

from accounts.errors import UserError
from accounts.models import User, audit
from annotations import parsing
from annotations.case_files import CaseFile, Problems, open_file
from annotations.case_rows import CaseReader, CaseRow, Columns
from annotations.models import Case, CaseImport, Completion, Model, Study
from annotations.registering import valid_name
from annotations.splitting import DEFAULT_FRACTIONS, SPLITS, assign_splits, check_fractions
from annotations.studies import LABELLED

BATCH = 1000
T = TypeVar("T")


@dataclass(frozen=True)
class ImportedCases:
    """What came in. ``notes`` says what was decided for the person, such as the split."""

    case_import: CaseImport
    imported: int
    splits: dict[str, int]
    groups: int
    with_reference: int
    without_reference: int
    notes: list[str]


@dataclass(frozen=True)
class ImportedCompletions:
    """What came in. ``unparsed``: completions without a label in some field; ``empty``: those without a text."""

    model: Model
    imported: int
    cases: int
    samples: int
    empty: int
    unparsed: int
    notes: list[str] = field(default_factory=list)


def import_cases(
    *,
    study: Study,
    path_or_file: Path | BinaryIO,
    filename: str = "",
    mapping: Mapping[str, str] | None = None,
    split: str = "",
    split_fractions: Sequence[float] | None = None,
    seed: int = 0,
    actor: User | None = None,
) -> ImportedCases:
    """Import a case file. Splits come from its column, or are all ``split``, or are drawn by group with ``seed``.

    Raises UserError with every problem found (the first 50 in words); nothing is imported then.
    """
    if split and split not in SPLITS:
        raise UserError(f"There is no split “{split}”. Splits: {', '.join(SPLITS)}.")
    if split and split_fractions:
        raise UserError("Give either one split for all, or split fractions, not both.")
    fractions = check_fractions(split_fractions) if split_fractions else DEFAULT_FRACTIONS
    file = open_file(path_or_file, filename)
    try:
        reader = CaseReader(study, mapping or {})
        checked = _Checked.of(reader, file)
        plan = _SplitPlan(split, fractions, seed, given=bool(split_fractions))
        try:
            with transaction.atomic():
                return _store_cases(study, reader, file, checked, plan, actor)
        except IntegrityError:
            raise UserError(f"{file.name}: some of these cases were imported meanwhile. Look again.") from None
    finally:
        if isinstance(path_or_file, Path):
            file.file.close()


@dataclass
class _Checked:
    """What the first reading found: enough to place every case, without its text."""

    problems: Problems
    places: dict[str, str] = field(default_factory=dict)  # external_id → where
    groups: dict[str, tuple[str, str]] = field(default_factory=dict)  # group → (split, where first met)
    sizes: Counter[str] = field(default_factory=Counter)
    rows_with_split: int = 0

    @classmethod
    def of(cls, reader: CaseReader, file: CaseFile) -> "_Checked":
        found = cls(Problems())
        unsplit = ""
        for row in reader.rows(file, found.problems):
            found.add(row)
            unsplit = unsplit or ("" if row.split else row.where)
        if found.rows_with_split and unsplit:
            found.problems.add(unsplit, "has no split, but other rows have one. Give every row a split, or none.")
        return found

    def add(self, row: CaseRow) -> None:
        if row.external_id in self.places:
            first = self.places[row.external_id]
            self.problems.add(row.where, f"external_id “{row.external_id}” stands in {first} already.")
        self.places.setdefault(row.external_id, row.where)
        split, first = self.groups.setdefault(row.group, (row.split, row.where))
        if split and row.split and split != row.split:
            self.problems.add(
                row.where,
                f"group “{row.group}” is in the split {row.split} here, but in {split} in {first}. Choose one.",
            )
        self.sizes[row.group] += 1
        self.rows_with_split += bool(row.split)


@dataclass(frozen=True)
class _SplitPlan:
    """How cases without a split of their own get one."""

    split: str
    fractions: Sequence[float]
    seed: int
    given: bool  # the fractions were asked for

    def splits(self, checked: _Checked, existing: Mapping[str, str], filename: str) -> tuple[dict[str, str], list[str]]:
        """({group: split}, notes); a group that the study has in another split is a problem."""
        notes: list[str] = []
        if checked.rows_with_split:
            if self.split or self.given:
                raise UserError(
                    f"{filename} has a column with splits. Leave out the one you gave, or map split to another column."
                )
            wanted = {group: split for group, (split, _) in checked.groups.items()}
        elif self.split:
            wanted = dict.fromkeys(checked.groups, self.split)
        else:
            wanted = assign_splits(checked.sizes, fractions=self.fractions, seed=self.seed, fixed=existing)
            shares = ", ".join(f"{split} {share:g}" for split, share in zip(SPLITS, self.fractions, strict=True))
            notes = [f"Splits were drawn by group ({shares}; seed {self.seed})."]
            if kept := len(existing.keys() & checked.groups.keys()):
                notes.append(f"{kept} groups that were in the study already kept their split.")
        for group, split in wanted.items():
            if existing.get(group, split) != split:
                checked.problems.add(
                    checked.groups[group][1],
                    f"group “{group}” would be in the split {split}, but this study has it in {existing[group]}.",
                )
        return wanted, notes


def _store_cases(
    study: Study, reader: CaseReader, file: CaseFile, checked: _Checked, plan: _SplitPlan, actor: User | None
) -> ImportedCases:
    """Check against what the study has, then read the file again and store it."""
    Study.objects.select_for_update().get(pk=study.pk)
    for external_id in study.cases.values_list("external_id", flat=True).iterator():
        if external_id in checked.places:
            checked.problems.add(checked.places[external_id], f"external_id “{external_id}” is in this study already.")
    existing = dict(study.cases.order_by().values_list("group", "split").distinct())
    splits, notes = plan.splits(checked, existing, file.name)
    checked.problems.check(file.name)
    case_import = CaseImport.objects.create(
        study=study, filename=file.name[-255:], sha256=file.sha256, rows=len(checked.places), created_by=actor
    )
    by_split: Counter[str] = Counter()
    complete = 0
    for rows in _batches(reader.rows(file, Problems())):
        Case.objects.bulk_create([_case(study, case_import, row, splits[row.group]) for row in rows])
        by_split.update(splits[row.group] for row in rows)
        complete += sum(_has_reference(study, row) for row in rows)
    audit(actor, "import_cases", case_import, study=study.pk, rows=case_import.rows, sha256=file.sha256)
    return ImportedCases(
        case_import=case_import,
        imported=case_import.rows,
        splits={split: by_split[split] for split in SPLITS},
        groups=len(checked.groups),
        with_reference=complete,
        without_reference=case_import.rows - complete,
        notes=notes,
    )


def _case(study: Study, case_import: CaseImport, row: CaseRow, split: str) -> Case:
    return Case(
        study=study,
        imported=case_import,
        external_id=row.external_id,
        group=row.group,
        split=split,
        inputs=row.inputs,
        reference=row.reference,
        metadata=row.metadata,
    )


def _has_reference(study: Study, row: CaseRow) -> bool:
    needed = [f["name"] for f in study.label_fields] if study.task in LABELLED else ["text"]
    return all(name in row.reference for name in needed)


def import_completions(
    *,
    study: Study,
    path_or_file: Path | BinaryIO,
    model_name: str,
    filename: str = "",
    mapping: Mapping[str, str] | None = None,
    actor: User | None = None,
) -> ImportedCompletions:
    """Import outputs written elsewhere, ``external_id`` and ``text``, as completions of an imported model.

    The model is made if there is none. A case that occurs again in the file gives a further sample: index 0, 1, … in
    the order of the file. An empty text is an answer too, kept and counted. Raises UserError with every problem found.
    """
    file = open_file(path_or_file, filename)
    try:
        with transaction.atomic():
            return _store_completions(study, file, _imported_model(model_name), mapping or {}, actor)
    except IntegrityError:
        raise UserError(f"{file.name}: somebody imported some of these meanwhile. Reload and look again.") from None
    finally:
        if isinstance(path_or_file, Path):
            file.file.close()


def _imported_model(name: str) -> Model:
    model = Model.objects.filter(name=name).first()
    if model is None:
        return Model(name=valid_name(name), kind=Model.Kind.IMPORTED)
    if model.kind != Model.Kind.IMPORTED:
        raise UserError(
            f"“{name}” is a model of the kind {model.get_kind_display()}: its completions are generated, not imported. "
            "Choose another name."
        )
    return model


def _store_completions(
    study: Study, file: CaseFile, model: Model, mapping: Mapping[str, str], actor: User | None
) -> ImportedCompletions:
    problems = Problems()
    columns = Columns(["external_id", "text"], [], mapping)
    cases = dict(study.cases.values_list("external_id", "pk"))
    have = set(model.completions.filter(case__study=study).values_list("case_id", flat=True)) if model.pk else set()
    samples: Counter[int] = Counter()
    empty = unparsed = 0
    for rows in _batches(columns.read(file, problems)):
        batch = []
        for where, _, values in rows:
            external_id = values["external_id"].strip()
            case_id = cases.get(external_id)
            if case_id is None:
                problems.add(where, f"this study has no case “{external_id}”.")
            elif case_id in have:
                problems.add(where, f"“{model.name}” has a completion of case “{external_id}” already.")
            else:
                parsed = parsing.parse(study, values["text"])
                batch.append(_completion(case_id, model, values["text"], samples[case_id], parsed, actor))
                samples[case_id] += 1
                empty += not values["text"].strip()
                unparsed += None in parsed.values()
        if not problems.total:
            if model.pk is None:
                model.save()
            Completion.objects.bulk_create(batch)
    problems.check(file.name)
    imported = samples.total()
    audit(actor, "import_completions", model, study=study.pk, rows=imported, sha256=file.sha256)
    notes = (
        [f"{len(cases) - len(samples)} of {len(cases)} cases of the study got none."]
        if len(samples) < len(cases)
        else []
    )
    return ImportedCompletions(
        model=model,
        imported=imported,
        cases=len(samples),
        samples=max(samples.values()),
        empty=empty,
        unparsed=unparsed,
        notes=notes,
    )


def _completion(
    case_id: int, model: Model, text: str, index: int, parsed: dict[str, str | None], actor: User | None
) -> Completion:
    return Completion(
        case_id=case_id,
        model=model,
        text=text,
        index=index,
        key="imported",  # one import a case and model: with the index, the database refuses a second
        parsed=parsed,
        parser_version=parsing.PARSER_VERSION if parsed else None,
        created_by=actor,
    )


def _batches(rows: Iterable[T]) -> Iterator[list[T]]:
    iterator = iter(rows)
    while batch := list(islice(iterator, BATCH)):
        yield batch
