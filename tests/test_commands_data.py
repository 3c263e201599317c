"""Contract C9's commands from a study to its completions: what they accept, print and refuse."""

import json
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from accounts.errors import UserError
from annotations import parsing, prompts
from annotations.models import Case, Completion, Generation, Membership, Model, Status, Study, Worker
from annotations.studies import create_study
from tests.factories import make_cases, make_model, make_study

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.django_db

TRIAGE = """
title = "Portal messages"
description = "Who, and how soon?"
synthetic = true
user_template = "From: {sender}\\n{text}"

[[label_fields]]
name = "personnel"
labels = ["nurse", "billing"]

[[label_fields]]
name = "urgency"
title = "How soon"
level = "ordinal"
labels = ["routine", { value = "urgent", title = "Today", help = "Can't wait." }]
positive = "urgent"

[analysis]
primary_metric = "f1"
contrasts = [["base", "sft"]]
"""


@pytest.fixture
def run(capsys):
    """A command with --json: its standard output is one JSON object and nothing else."""

    def call(*arguments):
        capsys.readouterr()
        call_command(*map(str, arguments), "--json")
        return json.loads(capsys.readouterr().out)

    return call


def refused(*arguments):
    with pytest.raises(CommandError) as error:
        call_command(*map(str, arguments), "--json")
    assert error.value.returncode == 1
    return str(error.value)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    from training.recipes import tiny as recipe

    return recipe.build(tmp_path_factory.mktemp("models") / "tiny")


# --- create_study


def test_a_study_is_made_from_toml(run, tmp_path):
    (tmp_path / "study.toml").write_text(TRIAGE, encoding="utf-8-sig")
    result = run("create_study", "portal", "--task", "triage", "--config", tmp_path / "study.toml")
    assert (result["study"], result["label_fields"]) == ("portal", ["personnel", "urgency"])
    study = Study.objects.get(pk=result["id"])
    assert (study.title, study.synthetic, study.analysis["contrasts"]) == ("Portal messages", True, [["base", "sft"]])
    assert study.label_field("urgency") == {
        "name": "urgency",
        "title": "How soon",
        "level": "ordinal",
        "labels": [
            {"value": "routine", "title": "routine", "help": ""},
            {"value": "urgent", "title": "Today", "help": "Can't wait."},
        ],
        "positive": "urgent",
    }


@pytest.mark.parametrize("task", Study.Task.values)
def test_defaults_ask_for_answers_that_parse(task):
    fields = [{"name": "urgency", "labels": ["routine", "urgent"]}] if task in ("classification", "triage") else []
    config = {"label_fields": fields}
    study = create_study(slug="s", task=task, config=config)
    assert study.title == "S"
    assert prompts.input_fields(study.user_template) == ["text"]
    if fields:
        assert "routine, urgent" in study.system_prompt
        assert parsing.parse(study, prompts.render_labels(study, {"urgency": "urgent"})) == {"urgency": "urgent"}
    expected = {"summarisation": ["faithful", "complete", "concise"], "reasoning": ["correctness"]}
    assert [criterion["name"] for criterion in study.criteria] == expected.get(task, [])
    assert study.reason_chips
    assert all(len(chip) <= 60 for chip in study.reason_chips)
    if task == "summarisation":
        assert all(len(criterion["anchors"]) == 5 for criterion in study.criteria)
    if task == "reasoning":
        assert "Answer:" in study.system_prompt


LABELS = [{"name": "label", "labels": ["yes", "no"]}]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, "needs its labels"),
        ({"label_fields": LABELS * 2}, "has one label field"),
        ({"label_fields": LABELS, "colour": 1}, "unknown keys: colour"),
        ({"label_fields": "yes"}, r"write \[\[label_fields\]\]"),
        ({"label_fields": [{"name": "a b", "labels": ["x", "y"]}]}, "use letters, digits and _"),
        ({"label_fields": [{"name": "split", "labels": ["x", "y"]}]}, "another meaning"),
        ({"label_fields": [{"name": "x", "labels": ["x"]}]}, "at least two labels"),
        ({"label_fields": [{"name": "x", "labels": ["Non-urgent", "non urgent"]}]}, "can't be told apart"),
        ({"label_fields": [{"name": "x", "labels": ["a", {"value": "b", "title": "A"}]}]}, "another label’s value"),
        ({"label_fields": [{"name": "x", "labels": ["a", 1]}]}, "label 2 is 1"),
        ({"label_fields": [{**LABELS[0], "positive": "maybe"}]}, "none of its labels"),
        ({"label_fields": [{**LABELS[0], "level": "interval"}]}, "nominal"),
        ({"label_fields": LABELS, "criteria": [{"name": "x", "anchors": ["one"]}]}, "3 to 7 texts"),
        ({"label_fields": LABELS, "criteria": [{"name": "x", "anchors": ["a", "b"]}]}, "3 to 7 texts"),
        ({"label_fields": LABELS, "criteria": [{"name": "x", "anchors": list("abcdefgh")}]}, "3 to 7 texts"),
        ({"label_fields": LABELS, "reason_chips": "too long"}, "must be a list of texts"),
        ({"label_fields": LABELS, "reason_chips": ["x" * 61]}, "at most 60"),
        ({"label_fields": LABELS, "reason_chips": ["a", "A"]}, "can't be told apart"),
        ({"label_fields": LABELS, "reason_chips": [" "]}, "a reason is empty"),
        ({"label_fields": LABELS, "user_template": "Same for all"}, "no placeholder"),
        ({"label_fields": LABELS, "user_template": "{text.upper}"}, "no field name"),
        ({"label_fields": LABELS, "user_template": "{text} {label}"}, "tell a model the answer"),
        ({"label_fields": LABELS, "user_template": "{text} {reference}"}, "tell a model the answer"),
        ({"label_fields": LABELS, "title": 5}, "must be a text"),
        ({"label_fields": LABELS, "synthetic": "yes"}, "true or false"),
        ({"label_fields": LABELS, "analysis": {"locked": date(2026, 1, 1)}}, r"analysis\.locked is a date"),
    ],
)
def test_a_wrong_configuration_says_where(config, expected):
    with pytest.raises(UserError, match=expected):
        create_study(slug="s", task="classification", config=config)
    assert not Study.objects.exists()


def test_a_study_is_not_made_twice_or_under_a_bad_name(tmp_path):
    make_study(slug="taken")
    assert "“taken” already" in refused("create_study", "taken", "--task", "summarisation")
    assert "can't be the name" in refused("create_study", "A study", "--task", "summarisation")
    assert "can't be read" in refused("create_study", "x", "--task", "reasoning", "--config", tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("title = ")
    assert "not valid TOML" in refused("create_study", "x", "--task", "reasoning", "--config", tmp_path / "bad.toml")


# --- people and models


def test_a_person_gets_a_role_and_a_pseudonym(run, anna):
    study = make_study()
    result = run("add_member", study.slug, "anna", "--role", "annotator", "--specialty", "Cardiology,nephrology")
    assert result["specialty"] == "Cardiology, nephrology"
    assert result["pseudonym"] == Membership.objects.get(study=study, user=anna, role="annotator").pseudonym
    assert "There is no person who signs in as “nobody”" in refused(
        "add_member", study.slug, "nobody", "--role", "lead"
    )
    assert "There is no study “none”" in refused("add_member", "none", "anna", "--role", "lead")


def test_models_are_registered_by_directory(run, tiny):
    result = run("add_model", "tiny", "--path", tiny)
    assert result["sha256"] == Model.objects.get(name="tiny", kind="base").sha256 != ""
    assert "is not a directory" in refused("add_model", "x", "--path", "/nowhere/at/all")
    assert "needs --base" in refused("add_model", "x", "--adapter", tiny)
    assert "--base goes with --adapter" in refused("add_model", "x", "--path", tiny, "--base", "tiny")
    assert "doesn't answer" in refused("add_model", "x", "--url", "http://127.0.0.1:9/v1")


# --- import


def test_cases_and_completions_are_imported_with_mappings(run, tmp_path):
    study = make_study()
    (tmp_path / "cases.csv").write_text("ID,Dialogue,Note\n1,Cough.,Cough\n2,Fever.,\n")
    options = ("--map", "external_id=ID", "text=Dialogue", "--map", "reference=Note", "--split", "test")
    result = run("import_cases", study.slug, tmp_path / "cases.csv", *options)
    assert (result["imported"], result["with_reference"], result["splits"]["test"]) == (2, 1, 2)
    assert len(result["sha256"]) == 64
    (tmp_path / "out.csv").write_text("ID,Automatic Summary\n1,A\n1,B\n2,C\n")
    result = run(
        *("import_completions", study.slug, tmp_path / "out.csv", "--model", "system"),
        *("--map", "external_id=ID", "text=Automatic Summary"),
    )
    assert (result["imported"], result["cases"], result["samples"]) == (3, 2, 2)


def test_splits_are_drawn_as_asked(run, tmp_path):
    study = make_study()
    rows = "".join(json.dumps({"external_id": n, "text": "x"}) + "\n" for n in range(20))
    (tmp_path / "cases.jsonl").write_text(rows)
    result = run("import_cases", study.slug, tmp_path / "cases.jsonl", "--split-fractions", "0.5,0,0.5", "--seed", "7")
    assert result["splits"] == {"train": 10, "validation": 0, "test": 10}
    assert "seed 7" in result["notes"][0]
    arguments = ("import_cases", study.slug, tmp_path / "cases.jsonl", "--split-fractions", "0.5,0.6,0.1")
    assert "add up to 1" in refused(*arguments)


def test_a_broken_file_ends_with_status_one_and_its_rows(tmp_path):
    study = make_study()
    (tmp_path / "cases.jsonl").write_text('{"external_id": "a", "text": "x"}\n{"external_id": "a"\n')
    message = refused("import_cases", study.slug, tmp_path / "cases.jsonl")
    assert "line 2: not JSON" in message
    assert "can't be read" in refused("import_cases", study.slug, tmp_path / "none.jsonl")
    assert not Case.objects.exists()


# --- generate


def test_generate_here_does_the_work(run, tiny):
    study = make_study("classification")
    make_cases(study, 2, split="test", reference={})
    make_cases(study, 1, split="train", reference={})
    run("add_model", "tiny", "--path", tiny)
    arguments = ("generate", study.slug, "--model", "tiny", "--split", "test", "--max-tokens", "3", "--here")
    result = run(*arguments)
    assert (result["status"], result["requested"], result["written"], result["dropped"]) == ("succeeded", 2, 2, {})
    assert result["sampling"] == {"temperature": 0.0, "top_p": 1.0, "max_tokens": 3, "seed": 0}
    again = run(*arguments)
    assert (again["written"], again["already_there"]) == (0, 2)
    several = (
        "generate",
        study.slug,
        "--model",
        "tiny",
        "--n",
        "2",
        "--temperature",
        "0.8",
        "--seed",
        "5",
        "--limit",
        "1",
    )
    assert run(*several, "--max-tokens", "3", "--here")["written"] == 2
    assert Completion.objects.count() == 4


def test_generate_queues_and_returns(run):
    study = make_study()
    make_cases(study, 1)
    make_model("base", kind="base", path="/nowhere")
    result = run("generate", study.slug, "--model", "base")
    assert result["status"] == "queued"
    assert Generation.objects.get(pk=result["generation"]).sampling["max_tokens"] == 128


def test_generate_wait_fails_at_once_without_a_worker():
    study = make_study()
    make_cases(study, 1)
    make_model("base", kind="base", path="/nowhere")
    assert "No worker is serving" in refused("generate", study.slug, "--model", "base", "--wait")
    assert not Generation.objects.exists()


def test_generate_wait_says_how_it_failed(monkeypatch):
    study = make_study()
    make_cases(study, 1)
    make_model("base", kind="base", path="/nowhere")
    Worker.objects.create(name="w", queues="generation", heartbeat_at=timezone.now())

    def fail(row, queue, progress):
        row.transition(Status.FAILED, error="It is gone.")
        raise UserError(f"{row} ended failed. It is gone.")

    monkeypatch.setattr("annotations.doorbell.wait_for", fail)
    assert "It is gone." in refused("generate", study.slug, "--model", "base", "--wait")


def test_generate_names_what_is_wrong():
    study = make_study()
    make_cases(study, 1)
    make_model("base", kind="base", path="/nowhere/at/all")
    assert "Models: base" in refused("generate", study.slug, "--model", "none")
    assert "/nowhere/at/all doesn't exist" in refused("generate", study.slug, "--model", "base", "--here")
    assert "identical" in refused("generate", study.slug, "--model", "base", "--n", "2")


@pytest.mark.parametrize(
    "arguments",
    [
        ["create_study", "x", "--task", "poetry"],
        ["add_model", "x", "--path", "a", "--url", "b"],
        ["generate", "x", "--model", "m", "--wait", "--here"],
    ],
)
def test_bad_use_ends_with_status_two(arguments):
    done = subprocess.run([sys.executable, "manage.py", *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert "usage:" in done.stderr
