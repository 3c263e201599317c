import itertools

import pytest

from annotations.models import Study
from annotations.parsing import parse
from annotations.prompts import render_labels


def field(name, *values, title=""):
    labels = [{"value": v, "title": v.replace("_", " ").title(), "help": ""} for v in values]
    return {"name": name, "title": title or name.title(), "level": "nominal", "labels": labels, "positive": None}


YES_NO = Study(task="classification", label_fields=[field("label", "yes", "no")])
WHEN = Study(task="classification", label_fields=[field("urgency", "routine", "soon", "urgent", "non_urgent")])
LETTERS = Study(task="classification", label_fields=[field("label", "A", "B", "C")])
TRIAGE = Study(
    task="triage",
    label_fields=[field("personnel", "physician", "nurse", "billing"), field("urgency", "routine", "soon", "urgent")],
)
REASONING = Study(task="reasoning")


@pytest.mark.parametrize("study", [YES_NO, WHEN, LETTERS, TRIAGE])
def test_parse_inverts_render_labels(study):
    names = [f["name"] for f in study.label_fields]
    for values in itertools.product(*[[label["value"] for label in f["labels"]] for f in study.label_fields]):
        labels = dict(zip(names, values, strict=True))
        assert parse(study, render_labels(study, labels)) == labels


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Yes.", "yes"),
        ("**YES**", "yes"),
        (" yes\n\nThere is no other explanation.", "yes"),
        ("Yes, no doubt.", "yes"),
        ("The answer is: no.", "no"),
        ("Final answer: yes", "yes"),
        ('{"label": "no"}', "no"),
        ("Answer:\nno", "no"),
        ("<think>yes or no?</think> no", "no"),
        ("The choices are yes and no. Answer: yes", "yes"),
        ("There is no fever.", None),
        ("yes and no", None),
        ("yes or no.", None),
        ("Yes. No wait, no.", None),
        ("yes\nno", None),
        ("Answer: yes\nAnswer: no", None),
        ("The answer is not yes", None),
        ("", None),
        ("maybe", None),
        ("yesterday", None),
    ],
)
def test_yes_and_no(text, expected):
    assert parse(YES_NO, text) == {"label": expected}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("This message is urgent.", "urgent"),
        ("Non-urgent", "non_urgent"),
        ("This is non urgent, I think", "non_urgent"),
        ("It is not urgent but routine.", "routine"),
        ("not urgent", None),
        ("neither urgent nor routine", None),
        ("It isn't routine or urgent", None),
        ("urgent? no", None),
        ("urgent rather than routine", "urgent"),
        ("urgent or routine", None),
        ("Call back soon after lunch", None),
        ("urgent\nA routine review would be too late.", "urgent"),
        ("Urgency: soon (not urgent)", "soon"),
        ("Urgency: dentist. I considered routine", None),
    ],
)
def test_denied_and_double_labels_are_not_guessed(text, expected):
    assert parse(WHEN, text) == {"urgency": expected}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(B)", "B"),
        ("B. Because a patient…", "B"),
        ("The answer is C", "C"),
        ("A patient with vitamin C deficiency", None),
        ("A or B", None),
    ],
)
def test_single_letters_are_not_words(text, expected):
    assert parse(LETTERS, text) == {"label": expected}


@pytest.mark.parametrize(
    ("text", "personnel", "urgency"),
    [
        ("Personnel: Nurse\nUrgency: URGENT.", "nurse", "urgent"),
        ("**Urgency**: soon, **Personnel**: physician", "physician", "soon"),
        ('{"personnel": "billing", "urgency": "routine"}', "billing", "routine"),
        ("physician, urgent", "physician", "urgent"),
        ("personnel: nurse", "nurse", None),
        ("personnel: nurse or physician\nurgency: soon", None, "soon"),
        ("personnel: nurse\nurgency: soon\nA physician may follow; not urgent.", "nurse", "soon"),
        ("personnel: nurse\npersonnel: billing\nurgency: soon", None, "soon"),
        ("A nurse should ring soon.", None, None),
    ],
)
def test_several_fields_are_read_a_line_at_a_time(text, personnel, urgency):
    assert parse(TRIAGE, text) == {"personnel": personnel, "urgency": urgency}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hot toe, so\nAnswer: Gout", "Gout"),
        ("Answer: gout? No.\n**Final answer:** pseudogout", "pseudogout"),
        ("The answer is **warfarin**", "warfarin"),
        ("Answer:\n\n  Gout", "Gout"),
        ("Answer:", None),
        ("It is gout.", None),
    ],
)
def test_reasoning_takes_the_last_marked_answer(text, expected):
    assert parse(REASONING, text) == {"answer": expected}


def test_a_summary_has_nothing_to_parse():
    assert parse(Study(task="summarisation"), "Answer: yes") == {}
