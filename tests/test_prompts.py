import pytest

from accounts.errors import UserError
from annotations import prompts
from annotations.models import Case, Study
from tests.factories import make_study


def study(task="summarisation", **fields):
    fields.setdefault("system_prompt", "Summarise.")
    return Study(slug="s", title="S", task=task, **fields)


def field(name, *values):
    return {
        "name": name,
        "title": name.title(),
        "level": "nominal",
        "labels": [{"value": v, "title": v, "help": ""} for v in values],
        "positive": None,
    }


def test_a_prompt_is_one_system_and_one_user_message():
    messages = prompts.messages(study(user_template="Note:\n{text}"), Case(inputs={"text": "Cough."}))
    assert messages == [{"role": "system", "content": "Summarise."}, {"role": "user", "content": "Note:\nCough."}]


def test_braces_in_clinical_text_survive_untouched():
    text = "BP {text} {0} {{x}} {question} 100% \\1 {text.__class__}"
    case = Case(inputs={"text": text, "question": "{text}?"})
    assert prompts.messages(study(user_template="{text}|{question}"), case)[1]["content"] == text + "|{text}?"


def test_doubled_braces_in_a_template_are_braces():
    assert prompts.fill('Reply {{"label": …}} to {text}', {"text": "x"}) == 'Reply {"label": …} to x'


def test_an_unknown_placeholder_names_the_input_fields():
    with pytest.raises(UserError, match=r"“\{question\}”.*input fields: text"):
        prompts.messages(study(user_template="{text} {question}"), Case(inputs={"text": "x"}))


@pytest.mark.parametrize("template", ["{text.__class__}", "{text!r}", "{text:>9}", "{}", "{0}", "{a b}"])
def test_a_placeholder_is_a_plain_name(template):
    with pytest.raises(UserError, match="double them"):
        prompts.input_fields(template)


def test_input_fields_are_listed_once_in_order():
    assert prompts.input_fields("{question} {text} {{no}} {question}") == ["question", "text"]


def test_the_prompt_hash_tells_apart_what_differs():
    def message(role, content):
        return {"role": role, "content": content}

    base = prompts.prompt_sha256([message("system", "a"), message("user", "b")])
    assert base == prompts.prompt_sha256([message("system", "a"), message("user", "b")])
    assert base != prompts.prompt_sha256([message("system", "ab"), message("user", "")])
    assert base != prompts.prompt_sha256([message("user", "a"), message("system", "b")])
    assert prompts.template_sha256(study()) != prompts.template_sha256(study(system_prompt="Else."))


@pytest.mark.parametrize(
    ("task", "fields", "reference", "expected"),
    [
        ("classification", [field("label", "yes", "no")], {"label": "yes"}, "yes"),
        ("classification", [field("label", "yes", "no")], {}, None),
        (
            "triage",
            [field("who", "nurse"), field("when", "soon")],
            {"when": "soon", "who": "nurse"},
            "who: nurse\nwhen: soon",
        ),
        ("triage", [field("who", "nurse"), field("when", "soon")], {"who": "nurse"}, None),
        ("summarisation", [], {"text": "Cough."}, "Cough."),
        ("summarisation", [], {}, None),
        ("reasoning", [], {"text": "Gout"}, "Answer: Gout"),
        ("reasoning", [], {"text": "Gout", "rationale": "Hot toe. "}, "Hot toe.\nAnswer: Gout"),
    ],
)
def test_reference_completion_is_what_a_model_should_have_written(task, fields, reference, expected):
    assert prompts.reference_completion(study(task, label_fields=fields), Case(reference=reference)) == expected


@pytest.mark.django_db
def test_factory_studies_render_and_reference_alike():
    made = make_study("triage")
    assert prompts.render_labels(made, {"urgency": "soon", "personnel": "nurse"}) == "personnel: nurse\nurgency: soon"
