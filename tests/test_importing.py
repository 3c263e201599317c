"""Case and completion files: everything that is wrong is said with its row, and nothing is half-imported."""

import csv
import io
import json
from pathlib import Path

import pytest

from accounts.errors import UserError
from accounts.models import AuditEvent
from annotations.importing import import_cases, import_completions
from annotations.models import Case, CaseImport, Completion, Model
from annotations.parsing import PARSER_VERSION
from annotations.splitting import assign_splits
from tests.factories import make_cases, make_model, make_study

MTS = Path(__file__).resolve().parents[2] / "shared" / "data" / "mts_dialog"
pytestmark = pytest.mark.django_db


def jsonl(*rows):
    return io.BytesIO("".join(json.dumps(row) + "\n" for row in rows).encode())


def case(number, **fields):
    return {"external_id": f"c{number}", "text": f"Text {number}."} | fields


def run(study, file, filename="cases.jsonl", **options):
    return import_cases(study=study, path_or_file=file, filename=filename, **options)


def refused(study, file, filename="cases.jsonl", **options):
    """The lines of the error; nothing may have been stored."""
    before = Case.objects.count()
    with pytest.raises(UserError) as error:
        run(study, file, filename, **options)
    assert Case.objects.count() == before
    assert not CaseImport.objects.filter(filename=filename, rows__gt=0, cases=None).exists()
    return str(error.value)


def test_jsonl_becomes_cases_with_reference_and_metadata(lena):
    study = make_study()
    rows = [case(n, group=f"g{n // 2}", reference="Short.", ward={"name": "A", "beds": [1, 2.5]}) for n in range(10)]
    result = run(study, jsonl(*rows), actor=lena)
    stored = study.cases.get(external_id="c3")
    assert (stored.inputs, stored.group) == ({"text": "Text 3."}, "g1")
    assert stored.reference == {"text": "Short."}
    assert stored.metadata == {"ward": {"name": "A", "beds": [1, 2.5]}}
    assert (result.imported, result.groups, result.with_reference) == (10, 5, 10)
    assert sum(result.splits.values()) == 10
    assert "drawn by group (train 0.7, validation 0.1, test 0.2; seed 0)" in result.notes[0]
    assert result.case_import.sha256
    assert AuditEvent.objects.filter(action="import_cases", actor=lena).exists()


@pytest.mark.parametrize("form", ["csv", "semicolons", "tsv", "parquet"])
def test_tables_become_the_same_cases(form):
    study = make_study("triage")
    text = 'Line one\n"quoted", with; both\tand a tab {text}'
    row = {"ID": "7", "message": text, "patient": "p1", "personnel": "Nurse", "urgency": "", "split": "test"}
    buffer = io.BytesIO()
    if form == "parquet":
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.table({key: [value] for key, value in row.items()} | {"ID": [7.0]}), buffer)
    else:
        out = io.StringIO(newline="")
        writer = csv.DictWriter(out, row, delimiter={"csv": ",", "semicolons": ";", "tsv": "\t"}[form])
        writer.writeheader()
        writer.writerow(row)
        buffer.write(out.getvalue().encode("utf-8-sig"))
    suffix = {"semicolons": "csv"}.get(form, form)
    mapping = {"external_id": "ID", "text": "message", "group": "patient"}
    result = run(study, buffer, f"cases.{suffix}", mapping=mapping)
    stored = study.cases.get()
    assert (stored.external_id, stored.group, stored.split) == ("7", "p1", "test")
    assert stored.inputs == {"text": text}
    assert stored.reference == {"personnel": "nurse"}
    assert stored.metadata == {}
    assert result.without_reference == 1  # urgency is missing
    assert result.notes == []


def test_several_input_fields_come_from_the_template():
    study = make_study("reasoning", user_template="{text}\n\n{question}")
    run(study, jsonl(case(1, question="Why?", reference="Gout", rationale="Hot toe.")))
    stored = study.cases.get()
    assert stored.inputs == {"text": "Text 1.", "question": "Why?"}
    assert stored.reference == {"text": "Gout", "rationale": "Hot toe."}
    assert "line 1: has no “question”" in refused(study, jsonl(case(2)))


@pytest.mark.parametrize("column", ["label", "reference"])
def test_a_single_label_may_be_called_reference(column):
    study = make_study("classification")
    run(study, jsonl(case(1, **{column: " YES "}), case(2)))
    assert [c.reference for c in study.cases.all()] == [{"label": "yes"}, {}]


def test_every_problem_is_named_with_its_row():
    study = make_study("classification")
    make_cases(study, 1, external_id="old", reference={})
    lines = [
        json.dumps(case(1, label="maybe")),
        '{"external_id": "c2", "text": ',
        json.dumps(case(3)),
        json.dumps(case(3)),
        json.dumps({"external_id": "c5"}),
        "[1, 2]",
        json.dumps(case(7, text="  ")),
        json.dumps(case(8, text="a\x00b")),
        json.dumps(case(9, text="\ud800")),
        json.dumps(case(10, external_id="old")),
        json.dumps(case(11, text=["a", "list"])),
        '{"external_id": "c12", "text": "x", "score": NaN}',
        json.dumps(case(13, external_id="x" * 121)),
        json.dumps(case(14, split="dev")),
        json.dumps(case(15, note="\x00")),
    ]
    message = refused(study, io.BytesIO("\n".join(lines).encode()))
    for expected in [
        "line 1: label is “maybe”, which is no label of this study. Labels: yes, no.",
        "line 2: not JSON: Expecting value at character 30.",
        "line 4: external_id “c3” stands in line 3 already.",
        "line 5: has no “text”. It holds: external_id.",
        "line 6: holds a list",
        "line 7: text is empty.",
        "line 8: the column “text” holds a NUL character",
        "line 9: the column “text” holds half a character",
        "line 10: external_id “old” is in this study already.",
        "line 11: the column “text” holds a list",
        "line 12: not JSON that can be kept: NaN",
        "line 13: external_id has 121 characters",
        "line 14: split is “dev”; it must be one of train, validation, test.",
        "line 15: the column “note” holds a NUL",
    ]:
        assert expected in message
    assert "14 problems" in message, message


def test_at_most_fifty_problems_are_listed_and_all_are_counted():
    message = refused(make_study(), jsonl(*[case(n, text="") for n in range(80)]))
    assert "80 problems" in message
    assert "… and 30 more" in message
    assert message.count("\n") == 51


def test_a_group_in_two_splits_is_refused():
    rows = [case(1, group="p1", split="train"), case(2, group="p1", split="test")]
    expected = "line 2: group “p1” is in the split test here, but in train in line 1"
    assert expected in refused(make_study(), jsonl(*rows))


def test_a_group_keeps_the_split_it_has_in_the_study():
    study = make_study()
    make_cases(study, 1, split="test", group="p1")
    message = refused(study, jsonl(case(1, group="p1")), split="train")
    assert "line 1: group “p1” would be in the split train, but this study has it in test." in message
    result = run(study, jsonl(case(1, group="p1"), case(2)), split_fractions=(1, 0, 0))
    assert result.splits == {"train": 1, "validation": 0, "test": 1}
    assert "1 groups that were in the study already kept their split." in result.notes


def test_a_split_column_and_a_given_split_are_not_mixed():
    assert "has a column with splits" in refused(make_study(), jsonl(case(1, split="test")), split="train")
    assert "has no split, but other rows" in refused(make_study(), jsonl(case(1, split="test"), case(2)))


def test_splits_are_drawn_by_group_and_repeatably():
    sizes = {f"g{n}": 1 + n % 4 for n in range(100)}
    splits = assign_splits(sizes, fractions=(0.7, 0.1, 0.2), seed=3, fixed={})
    backwards = dict(reversed(sizes.items()))
    assert assign_splits(backwards, fractions=(0.7, 0.1, 0.2), seed=3, fixed={}) == splits
    assert assign_splits(sizes, fractions=(0.7, 0.1, 0.2), seed=4, fixed={}) != splits
    cases = {s: sum(n for g, n in sizes.items() if splits[g] == s) for s in ("train", "validation", "test")}
    assert cases == pytest.approx({"train": 175, "validation": 25, "test": 50}, abs=3)


@pytest.mark.parametrize(
    ("data", "filename", "expected"),
    [
        (b"", "cases.csv", "is empty"),
        (b"external_id,text\n", "cases.csv", "no rows below its header"),
        (b"\n\n", "cases.jsonl", "no rows"),
        (b"external_id,text\n1,caf\xe9\n", "cases.csv", "line 2, byte 22 of the file is 0xE9 (“é” in Windows-1252)"),
        ("external_id,text\n1,a\n".encode("utf-16"), "cases.csv", "UTF-16"),
        (b"external_id,text\n1,a,b\n", "cases.csv", "row 2 (ends on line 2): has 3 cells, but the header has 2"),
        (b'external_id,text\n1,"a\n2,b\n', "cases.csv", "Is a quotation mark missing?"),
        (b"external_id,text,text\n1,a,b\n", "cases.csv", "“text” more than once"),
        (b"ID,Dialogue\n1,a\n", "cases.csv", "no column “external_id”. Its columns: ID, Dialogue."),
        (b"PAR1", "cases.parquet", "can't be read as Parquet"),
        (b"{}", "cases.json", "aren't known"),
        (b"{}", "cases", "without an ending"),
    ],
)
def test_a_bad_file_says_what_is_wrong(data, filename, expected):
    assert expected in refused(make_study(), io.BytesIO(data), filename)


def test_mappings_name_fields_and_columns_that_exist():
    study = make_study()
    assert "no field “txt”" in refused(study, jsonl(case(1)), mapping={"txt": "text"})
    assert "no column “patient” in any row" in refused(study, jsonl(case(1)), mapping={"group": "patient"})


def test_completions_keep_their_samples_apart_and_are_parsed(lena):
    study = make_study("classification")
    run(study, jsonl(*[case(n) for n in range(3)]))
    rows = [
        {"external_id": "c1", "text": "Yes."},
        {"external_id": "c1", "text": "maybe"},
        {"external_id": "c2", "text": ""},
    ]
    result = import_completions(
        study=study, path_or_file=jsonl(*rows), filename="out.jsonl", model_name="elsewhere", actor=lena
    )
    assert (result.imported, result.cases, result.samples, result.empty, result.unparsed) == (3, 2, 2, 1, 2)
    assert result.notes == ["1 of 3 cases of the study got none."]
    stored = Completion.objects.order_by("pk").values_list(
        "case__external_id", "index", "text", "parsed", "parser_version"
    )
    assert list(stored) == [
        ("c1", 0, "Yes.", {"label": "yes"}, PARSER_VERSION),
        ("c1", 1, "maybe", {"label": None}, PARSER_VERSION),
        ("c2", 0, "", {"label": None}, PARSER_VERSION),
    ]
    assert Model.objects.get(name="elsewhere").kind == "imported"


def test_a_bad_completion_file_leaves_no_model_behind():
    study = make_study()
    run(study, jsonl(case(1)))
    rows = [{"external_id": "c1", "text": "Fine."}, {"external_id": "c9", "text": "Whose?"}, {"external_id": "c1"}]
    with pytest.raises(UserError) as error:
        import_completions(study=study, path_or_file=jsonl(*rows), filename="out.jsonl", model_name="elsewhere")
    assert "line 2: this study has no case “c9”." in error.value.details
    assert "line 3: has no “text”. It holds: external_id." in error.value.details
    assert not Model.objects.exists()
    assert not Completion.objects.exists()


def test_the_same_completions_are_not_imported_twice():
    study = make_study()
    run(study, jsonl(case(1)))
    row = {"external_id": "c1", "text": "Fine."}
    import_completions(study=study, path_or_file=jsonl(row), filename="out.jsonl", model_name="elsewhere")
    with pytest.raises(UserError, match="has a completion of case “c1” already"):
        import_completions(study=study, path_or_file=jsonl(row), filename="out.jsonl", model_name="elsewhere")


def test_generated_models_take_no_imports():
    study = make_study()
    make_model("base", kind="base", path="/nowhere")
    with pytest.raises(UserError, match="generated, not imported"):
        import_completions(study=study, path_or_file=jsonl({}), filename="out.jsonl", model_name="base")


@pytest.mark.skipif(not MTS.exists(), reason=f"the MTS-Dialog data is not at {MTS}")
def test_four_systems_summaries_of_mts_dialog_come_in():
    study = make_study()
    cases = {"external_id": "ID", "text": "dialogue", "reference": "section_text"}
    result = run(study, MTS / "MTS-Dialog-ValidationSet.csv", "", mapping=cases, split="test")
    assert (result.imported, result.with_reference) == (100, 100)
    assert study.cases.first().metadata == {"section_header": "GENHX"}
    result = import_completions(
        study=study,
        path_or_file=MTS / "MTS-Dialog-Automatic-Summaries-ValidationSet.csv",
        model_name="systems",
        mapping={"external_id": "ID", "text": "Automatic Summary"},
    )
    assert (result.imported, result.cases, result.samples) == (400, 100, 4)


def test_a_large_file_goes_in_by_batches(django_assert_max_num_queries):
    study = make_study()
    with django_assert_max_num_queries(40):
        assert run(study, jsonl(*[case(n) for n in range(3000)])).imported == 3000


def test_a_file_that_is_too_large_is_refused_before_it_is_read(client, adam, settings):
    settings.IMPORT_MAX_BYTES = 1000
    study = make_study()
    client.force_login(adam)
    for page in ("cases", "completions"):
        file = jsonl(*[case(n) for n in range(50)])
        file.name = "rows.jsonl"
        shown = client.post(f"/s/{study.slug}/{page}/import/", {"file": file, "model_name": "m"}).content.decode()
        assert "at most 0.000953674 MB are taken here" in shown, page
    assert not Case.objects.exists()
    assert not Model.objects.exists()


@pytest.mark.parametrize("filename", ["cases.jsonl", "cases.csv"])
def test_a_line_without_an_end_is_refused(filename):
    data = b"external_id,text\n" + b"x" * (5 * 1024 * 1024 + 1)
    assert "line 2 is longer than 5 MB" in refused(make_study(), io.BytesIO(data), filename)


def test_a_cell_over_many_lines_is_refused_when_it_does_not_end():
    data = b'external_id,text\n1,"' + (b"x" * 1023 + b"\n") * (5 * 1024 + 1)
    assert "field larger than field limit" in refused(make_study(), io.BytesIO(data), "cases.csv")


def parquet(text, **options):
    import pyarrow
    import pyarrow.parquet

    buffer = io.BytesIO()
    table = pyarrow.table({"external_id": [str(n) for n in range(len(text))], "text": text})
    pyarrow.parquet.write_table(table, buffer, compression="zstd", **options)
    return buffer


def one_text_for_all(store_schema):
    """1000 rows of one text of 300 kB; with ``store_schema`` Arrow reads them as numbers and a dictionary."""
    import pyarrow

    text = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 1000, pyarrow.int32()), ["x" * 300_000])
    buffer = parquet(text, store_schema=store_schema)
    assert buffer.getbuffer().nbytes < 10_000
    return buffer


@pytest.mark.parametrize("store_schema", [True, False])
def test_a_small_parquet_file_that_unpacks_to_much_is_refused(settings, store_schema):
    settings.IMPORT_MAX_BYTES = 200 * 1024**2
    message = refused(make_study(), one_text_for_all(store_schema), "cases.parquet")
    assert "holds more than 200 MB once it is unpacked" in message


def test_a_parquet_file_is_unpacked_a_bounded_part_at_a_time():
    import pyarrow

    usual = pyarrow.default_memory_pool()
    counting = pyarrow.proxy_memory_pool(usual)
    pyarrow.set_memory_pool(counting)
    try:
        refused(make_study(), one_text_for_all(store_schema=False), "cases.parquet")
        assert counting.max_memory() < 150_000_000
    finally:
        pyarrow.set_memory_pool(usual)


def test_a_parquet_file_whose_texts_are_distinct_comes_in_whole():
    study = make_study()
    assert run(study, parquet([f"Text {n}." * 50 for n in range(2500)]), "cases.parquet").imported == 2500


def test_metadata_nested_too_deep_is_named_with_its_row():
    deep = json.loads('{"a":' * 600 + "1" + "}" * 600)
    fine = json.loads("[" * 50 + "]" * 50)
    message = refused(make_study(), jsonl(case(1, note=fine), case(2, note=deep)))
    assert "line 2: the column “note” is nested more than 50 levels deep" in message
    assert "line 1:" not in message
