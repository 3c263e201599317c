'''Creating a study from its configuration.

The configuration is TOML; every key is optional but the labels of a classification or triage study:

    title = "Portal messages"
    description = "Who should answer, and how soon?"
    instructions = """What annotators read before judging (Markdown)."""
    synthetic = false                   # true: cases written for demonstration, said wherever they show
    system_prompt = """You sort patients' messages…"""       # sent as it is
    user_template = """{text}"""        # {name} stands for an input field of the case; {{ and }} are braces

    [[label_fields]]                    # classification: one; triage: one or more
    name = "urgency"                    # the column of the case file, and the name a model writes before its label
    title = "Urgency"
    level = "ordinal"                   # or "nominal" (the default); ordinal labels are listed from low to high
    labels = ["routine", { value = "soon", title = "Within 2 days", help = "Can't wait for a week." }, "urgent"]
    positive = "urgent"                 # for binary F1: the label that counts as positive

    reason_chips = ["invents a finding", "leaves out something important"]    # above the tables; [] for none
                                        # reasons to choose with one touch, up to 60 characters; each task has defaults

    [[criteria]]                        # rated one by one in likert campaigns; each task has defaults
    name = "faithful"
    title = "Faithful"
    question = "Is everything it says in the source?"
    anchors = ["…", "…", "…", "…", "…"]      # 3 to 7, the worst first: five anchors make a scale of 1–5

    [analysis]                          # the analysis plan (C12), locked before anything is unblinded
    primary_metric = "f1"
'''

import re
import tomllib
from collections.abc import Sequence
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

from django.db import transaction

from accounts.errors import UserError
from accounts.models import User, audit
from annotations import prompts
from annotations.models import Study
from annotations.parsing import normalised

TEXTS = ("title", "description", "instructions", "system_prompt", "user_template")
KEYS = {*TEXTS, "synthetic", "label_fields", "criteria", "reason_chips", "analysis"}
SLUG = re.compile(r"[a-z0-9][a-z0-9_-]{0,59}")
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}")
# Columns of a case file with a meaning of their own.
RESERVED = {"external_id", "group", "split", "reference", "rationale", "text"}
LABELLED = (Study.Task.CLASSIFICATION, Study.Task.TRIAGE)

# Points of a scale: fewer than three are no scale, more than seven can't be told apart.
POINTS = range(3, 8)
MAX_CHIP, MAX_CHIPS = 60, 12

Table = dict[str, Any]


def create_study(*, slug: str, task: str, config: Table | None = None, actor: User | None = None) -> Study:
    """A study with what ``config`` (see above) says and the task's defaults for the rest. Raises UserError."""
    config = dict(config or {})
    if not SLUG.fullmatch(slug) or slug == "new":
        raise UserError(
            f"“{slug}” can't be the name of a study in addresses and commands. Use up to 60 lower-case letters, "
            "digits, - and _, beginning with a letter or digit, for example “portal-triage”."
        )
    if task not in Study.Task.values:
        raise UserError(f"There is no task “{task}”. Tasks: {', '.join(Study.Task.values)}.")
    if Study.objects.filter(slug=slug).exists():
        raise UserError(f"There is a study “{slug}” already. Choose another name.")
    fields = study_fields(task=Study.Task(task), config=config)
    fields["title"] = fields["title"] or slug.replace("-", " ").replace("_", " ").capitalize()
    with transaction.atomic():
        study = Study.objects.create(slug=slug, task=task, created_by=actor, **fields)
        audit(actor, "create_study", study, slug=slug, task=task)
    return study


def read_config(path: Path) -> Table:
    """The configuration in a file. Raises UserError that says where it is wrong."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror}.") from None
    return parse_config(data, str(path))


def parse_config(data: bytes, where: str) -> Table:
    """The configuration in ``data``. Raises UserError; ``where`` names the source in its message."""
    try:
        return tomllib.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise UserError(f"{where} is not UTF-8 (byte {error.start}). Save it as UTF-8.") from None
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{where} is not valid TOML: {error}.") from None


def study_fields(*, task: Study.Task, config: Table) -> Table:
    """Values of the study's columns, checked and complete. Raises UserError."""
    if unknown := sorted(set(config) - KEYS):
        raise UserError(f"The configuration has unknown keys: {', '.join(unknown)}. Known: {', '.join(sorted(KEYS))}.")
    texts = {key: _text(config, key, "the configuration") for key in TEXTS}
    label_fields = [_label_field(field, number) for number, field in enumerate(_tables(config, "label_fields"), 1)]
    criteria = [_criterion(row, number) for number, row in enumerate(_tables(config, "criteria"), 1)]
    _check_label_fields(task, label_fields)
    _unique("criteria", [row["name"] for row in criteria])
    texts["user_template"] = texts["user_template"] or DEFAULT_TEMPLATES[task]
    asked = prompts.input_fields(texts["user_template"])
    if leaks := [name for name in asked if name in RESERVED - {"text"} or name in [f["name"] for f in label_fields]]:
        raise UserError(
            f"user_template asks for {{{leaks[0]}}}, which is no input of the case: it would tell a model the "
            "answer, or means something else in a case file. Use other names for input fields."
        )
    if not asked:
        raise UserError("user_template has no placeholder, so all cases would get the same prompt. Write {text} in it.")
    texts["system_prompt"] = texts["system_prompt"] or default_system_prompt(task, label_fields)
    synthetic = config.get("synthetic", False)
    if not isinstance(synthetic, bool):
        raise UserError(f"synthetic is {synthetic!r}; write true or false.")
    analysis = config.get("analysis", {})
    if not isinstance(analysis, dict):
        raise UserError("analysis must be a table: write [analysis] and its keys below.")
    return {
        **texts,
        "synthetic": synthetic,
        "label_fields": label_fields,
        "criteria": criteria or DEFAULT_CRITERIA[task],
        "reason_chips": check_chips(config.get("reason_chips", DEFAULT_CHIPS[task]), "reason_chips"),
        "analysis": _json_ready(analysis, "analysis"),
    }


def _label_field(table: Table, number: int) -> Table:
    where = f"label_fields {number}"
    _known(table, {"name", "title", "level", "labels", "positive"}, where)
    name = _name(table, where)
    if name in RESERVED:
        raise UserError(f"{where}: “{name}” is a column of the case file with another meaning. Choose another name.")
    level = table.get("level", "nominal")
    if level not in ("nominal", "ordinal"):
        raise UserError(f"{where} ({name}): level is {level!r}; write “nominal” or “ordinal”.")
    labels = table.get("labels")
    if not isinstance(labels, list) or len(labels) < 2:
        raise UserError(f"{where} ({name}): labels must list at least two labels.")
    labels = [_label(label, f"{where} ({name}), label {position}") for position, label in enumerate(labels, 1)]
    _unique(f"labels of {name}", [label["value"] for label in labels], normalised)
    for label in labels:
        clash = [o["value"] for o in labels if o is not label and normalised(o["value"]) == normalised(label["title"])]
        if clash:
            raise UserError(f"{where} ({name}): the title “{label['title']}” is another label’s value. Rename one.")
    _unique(f"titles of the labels of {name}", [label["title"] for label in labels], normalised)
    positive = table.get("positive")
    if positive is not None and positive not in [label["value"] for label in labels]:
        raise UserError(f"{where} ({name}): positive is {positive!r}, which is none of its labels.")
    title = _text(table, "title", where) or name.replace("_", " ").capitalize()
    return {"name": name, "title": title, "level": level, "labels": labels, "positive": positive}


def _label(label: Any, where: str) -> Table:
    table = {"value": label} if isinstance(label, str) else label
    if not isinstance(table, dict):
        raise UserError(f'{where} is {label!r}; write a text, or {{ value = "…", title = "…", help = "…" }}.')
    _known(table, {"value", "title", "help"}, where)
    value = _text(table, "value", where).strip()
    if not normalised(value):
        raise UserError(f"{where} has no value with letters or digits in it.")
    if len(value) > 80 or "\n" in value:
        raise UserError(f"{where}: a label is at most 80 characters on one line.")
    title = _text(table, "title", where).strip() or value.replace("_", " ")
    return {"value": value, "title": title, "help": _text(table, "help", where)}


def _criterion(table: Table, number: int) -> Table:
    where = f"criteria {number}"
    _known(table, {"name", "title", "question", "anchors"}, where)
    name = _name(table, where)
    anchors = table.get("anchors")
    if not isinstance(anchors, list) or len(anchors) not in POINTS or not all(isinstance(a, str) for a in anchors):
        raise UserError(f"{where} ({name}): anchors must list 3 to 7 texts, one for each point, the worst first.")
    title = _text(table, "title", where) or name.replace("_", " ").capitalize()
    return {"name": name, "title": title, "question": _text(table, "question", where), "anchors": anchors}


def check_chips(chips: Any, where: str) -> list[str]:
    """Reasons to choose from, stripped. Raises UserError for what is no list of a few short, different texts."""
    if not isinstance(chips, Sequence) or isinstance(chips, str) or not all(isinstance(chip, str) for chip in chips):
        raise UserError(f'{where} must be a list of texts, as ["invents a finding", "too long"].')
    texts = [" ".join(chip.split()) for chip in chips]
    if not all(texts):
        raise UserError(f"{where}: a reason is empty. Leave it out.")
    if long := [text for text in texts if len(text) > MAX_CHIP]:
        raise UserError(
            f"{where}: “{long[0]}” has {len(long[0])} characters, and a reason to choose from has at most {MAX_CHIP}."
        )
    if len(texts) > MAX_CHIPS:
        raise UserError(f"{where}: {len(texts)} reasons are more than anybody looks through. Keep at most {MAX_CHIPS}.")
    _unique(where, texts, str.casefold)
    return texts


def _check_label_fields(task: Study.Task, label_fields: list[Table]) -> None:
    if task not in LABELLED and label_fields:
        raise UserError(f"A {task} study has no label_fields: they are for classification and triage.")
    if task in LABELLED and not label_fields:
        raise UserError(
            f"A {task} study needs its labels. Give a configuration with [[label_fields]], for example: "
            '[[label_fields]] name = "label" labels = ["yes", "no"] (each key on a line of its own).'
        )
    if task == Study.Task.CLASSIFICATION and len(label_fields) > 1:
        raise UserError("A classification study has one label field. For several, make a triage study.")
    _unique("label_fields", [field["name"] for field in label_fields])
    _unique("label_fields", [field["title"] for field in label_fields], normalised)


def _tables(config: Table, key: str) -> list[Table]:
    value = config.get(key, [])
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise UserError(f"{key} must be tables: write [[{key}]] and its keys below.")
    return value


def _text(table: Table, key: str, where: str) -> str:
    value = table.get(key, "")
    if not isinstance(value, str):
        raise UserError(f"{where}: {key} is {value!r}; it must be a text in quotes.")
    return value


def _name(table: Table, where: str) -> str:
    name = _text(table, "name", where)
    if not NAME.fullmatch(name):
        raise UserError(f"{where}: name is {name!r}; use letters, digits and _, beginning with a letter.")
    return name


def _known(table: Table, keys: set[str], where: str) -> None:
    if unknown := sorted(set(table) - keys):
        raise UserError(f"{where} has unknown keys: {', '.join(unknown)}. Known: {', '.join(sorted(keys))}.")


def _unique(what: str, names: list[str], key: Any = str) -> None:
    seen: dict[str, str] = {}
    for name in names:
        if (first := seen.setdefault(key(name), name)) is not name:
            raise UserError(f"{what}: “{first}” and “{name}” can't be told apart. Rename one of them.")


def _json_ready(value: Any, where: str) -> Any:
    """``value``, if JSON can hold it: TOML has dates, which it can't."""
    if isinstance(value, (datetime, date, time)):
        raise UserError(f"{where} is a date; put it in quotes.")
    if isinstance(value, dict):
        return {key: _json_ready(inner, f"{where}.{key}") for key, inner in value.items()}
    if isinstance(value, list):
        return [_json_ready(inner, where) for inner in value]
    return value


# --- the task's defaults


def default_system_prompt(task: Study.Task, label_fields: list[Table]) -> str:
    """Says what to do and how to write the answer, so that ``parsing.parse`` reads it back."""
    if task == Study.Task.SUMMARISATION:
        return (
            "You are a careful clinician. Summarise the text for the patient's record. State only what the text says, "
            "leave out nothing of clinical importance, and be brief."
        )
    if task == Study.Task.REASONING:
        return (
            "You are a careful clinician. Read the case, reason briefly, and end with one line that begins with "
            "“Answer:” and gives your final answer."
        )
    lists = [f"{field['name']}: {', '.join(label['value'] for label in field['labels'])}" for field in label_fields]
    if len(label_fields) == 1:
        choices = lists[0].split(": ", 1)[1]
        return (
            f"You are a careful clinician. Read the text and choose one label for {label_fields[0]['title']}. "
            f"Labels: {choices}. Reply with the label only."
        )
    lines = "\n".join(lists)
    return (
        "You are a careful clinician. Read the patient's message and choose one label for each of the following.\n"
        f"{lines}\nReply with one line for each, in this form and with nothing else:\n"
        + "\n".join(f"{field['name']}: <label>" for field in label_fields)
    )


DEFAULT_TEMPLATES: dict[Study.Task, str] = {
    Study.Task.CLASSIFICATION: "{text}",
    Study.Task.TRIAGE: "{text}",
    Study.Task.REASONING: "{text}",
    Study.Task.SUMMARISATION: "{text}",
}
_LABELLED_CHIPS = ["doesn't follow from the text", "overlooks something in the text", "more than one label fits"]
DEFAULT_CHIPS: dict[Study.Task, list[str]] = {
    Study.Task.CLASSIFICATION: _LABELLED_CHIPS,
    Study.Task.TRIAGE: [*_LABELLED_CHIPS, "would delay urgent care", "would burden the wrong person"],
    Study.Task.REASONING: [
        *(
            "wrong conclusion",
            "right conclusion for a wrong reason",
            "misreads the case",
            "misses a diagnosis to exclude",
        ),
        *("outdated or against guidelines", "unsafe advice", "unclear"),
    ],
    Study.Task.SUMMARISATION: [
        *(
            "invents a finding",
            "leaves out something important",
            "wrong dose, time or number",
            "wrong side, person or negation",
        ),
        *("too long", "hard to follow", "clinically useful"),
    ],
}
DEFAULT_CRITERIA: dict[Study.Task, list[Table]] = {
    Study.Task.CLASSIFICATION: [],
    Study.Task.TRIAGE: [],
    Study.Task.REASONING: [
        {
            "name": "correctness",
            "title": "Correctness",
            "question": "Is the final answer right?",
            "anchors": [
                "wrong, or unsafe to act on",
                "incomplete, or right with an error beside it",
                "correct",
            ],
        }
    ],
    Study.Task.SUMMARISATION: [
        {
            "name": "faithful",
            "title": "Faithful",
            "question": "Is everything in the summary supported by the source?",
            "anchors": [
                "contains statements that could harm the patient",
                "several statements are wrong or invented",
                "one statement of some importance is wrong",
                "only trifles are wrong",
                "everything is supported",
            ],
        },
        {
            "name": "complete",
            "title": "Complete",
            "question": "Is everything of clinical importance there?",
            "anchors": [
                "what matters most is missing",
                "several important points are missing",
                "one important point is missing",
                "only trifles are missing",
                "nothing of importance is missing",
            ],
        },
        {
            "name": "concise",
            "title": "Concise",
            "question": "Is it as short and clear as it should be?",
            "anchors": [
                "unusable: far too long, or repeats itself",
                "much that doesn't belong there",
                "some that doesn't belong there",
                "nearly as short and clear as could be",
                "short, clear, ready for the record",
            ],
        },
    ],
}
