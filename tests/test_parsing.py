import itertools

import pytest

from annotations.models import Study
from annotations.parsing import parse, same_answer
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
        ("It may be yes, or so I think</think>no", "no"),
        ("yes <think>really?</think>", "yes"),
        ("<think>It may be yes", None),
        ("Hardly yes", None),
        ("It is impossible to answer yes", None),
        ("I doubt the answer is yes", None),
        ("I'm unsure whether the answer is: yes", None),
        ("The answer is yes, no doubt about it.", "yes"),
        ("yes?", None),
        ("Is it yes? I think no.", "no"),
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
        ("no urgent need", None),
        ("This is less urgent", None),
        ("hardly urgent", None),
        ("This is no longer urgent", None),
        ("It would be wrong to call this urgent", None),
        ("Routine follow-up would be dangerous here", None),
        ("urgent?", None),
        ("Urgency: urgent?", None),
        ("Is this urgent?", None),
        ("Is this urgent? Yes.", "urgent"),
        ("Without a doubt urgent", "urgent"),
        ("Urgent because the pain is not relieved", "urgent"),
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
        ("Personnel: nurse. I doubt that the urgency is soon", "nurse", None),
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
        ("Answer: C\nI doubt that the answer is B", "C"),
        ("<think>Answer: gout", None),
        ("It is gout.", None),
    ],
)
def test_reasoning_takes_the_last_marked_answer(text, expected):
    assert parse(REASONING, text) == {"answer": expected}


def test_a_summary_has_nothing_to_parse():
    assert parse(Study(task="summarisation"), "Answer: yes") == {}


def test_a_label_that_is_a_question_is_still_read():
    study = Study(task="classification", label_fields=[field("label", "sepsis?", "clear")])
    assert parse(study, "sepsis?") == {"label": "sepsis?"}


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("HIV-", "hiv −."),
        ("O+", "o +"),
        ("< 5", "<5"),
        ("≥ 1.5 %", ">=1.5%"),
        (".5", "0.5"),
        ("Beta-blocker", "beta blocker"),
        ("**Gout.**", "gout"),
        ("5–10 mg", "5-10 mg"),
        ("B - aspirin", "B: aspirin"),
    ],
)
def test_the_same_answer_written_differently_is_the_same(a, b):
    assert same_answer(a, b)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("HIV-", "HIV+"),
        ("O+", "O-"),
        ("< 5", "> 5"),
        ("-2", "2"),
        ("1.5", "15"),
        ("1.5", "1 5"),
        ("5", "5%"),
        ("—", ""),
    ],
)
def test_signs_and_the_decimal_point_tell_answers_apart(a, b):
    assert not same_answer(a, b)
