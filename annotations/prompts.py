"""Case and study template → messages: the only prompt builder (C10).

The same messages go into training files, to the embedded generator and to a server. A template is plain text in which
``{name}`` stands for an input field of the case; ``{{`` and ``}}`` write braces as such. What stands in a case is never
read as a template.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from accounts.errors import UserError
from annotations.models import Case, Study

PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([^{}]*)\}")
FIELD_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def input_fields(template: str) -> list[str]:
    """The input fields a template asks for, each once, in order. Raises UserError where a placeholder is no name."""
    names: dict[str, None] = {}
    for match in PLACEHOLDER.finditer(template):
        if (name := match[1]) is None:
            continue
        if not FIELD_NAME.fullmatch(name):
            raise UserError(
                f"The template’s placeholder “{{{name}}}” is no field name. Write {{text}} for the input field “text”;"
                " to write braces as such, double them: {{ and }}."
            )
        names[name] = None
    return list(names)


def fill(template: str, values: Mapping[str, str]) -> str:
    """The template with its placeholders replaced, in one pass, so that braces inside a value survive as they are.

    Raises UserError for a placeholder that ``values`` doesn't have.
    """

    def replacement(match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0][0]  # {{ or }}
        if match[1] not in values:
            known = ", ".join(values) or "none"
            raise UserError(
                f"The template asks for “{{{match[1]}}}”, which is no input field here (input fields: {known}). "
                "Correct the study's user_template, or import the cases with that field."
            )
        return values[match[1]]

    return PLACEHOLDER.sub(replacement, template)


def messages(study: Study, case: Case) -> list[dict[str, str]]:
    """What every model is sent for ``case``: an explicit system message and the user message."""
    return [
        {"role": "system", "content": study.system_prompt},
        {"role": "user", "content": fill(study.user_template, case.inputs)},
    ]


def prompt_sha256(messages: Sequence[Mapping[str, str]]) -> str:
    """Hash of the messages as sent: roles, contents and their order."""
    return _sha256([[message["role"], message["content"]] for message in messages])


def template_sha256(study: Study) -> str:
    """Hash of what turns a case into messages."""
    return _sha256([study.system_prompt, study.user_template])


def render_labels(study: Study, labels: Mapping[str, str | None]) -> str:
    """Labels as a model should write them: the bare label of a single field, else one ``name: label`` line a field.

    Fields without a label are left out. ``parsing.parse`` is the inverse.
    """
    names = [field["name"] for field in study.label_fields]
    if len(names) == 1:
        return str(labels.get(names[0]) or "")
    return "\n".join(f"{name}: {labels[name]}" for name in names if labels.get(name))


def reference_completion(study: Study, case: Case) -> str | None:
    """The assistant's text that the case's reference stands for; None where the reference is absent or incomplete."""
    reference = case.reference
    if study.task in (Study.Task.CLASSIFICATION, Study.Task.TRIAGE):
        if not all(reference.get(field["name"]) for field in study.label_fields):
            return None
        return render_labels(study, reference)
    text = reference.get("text")
    if not text:
        return None
    if study.task == Study.Task.REASONING:
        rationale = str(reference.get("rationale") or "").strip()
        return f"{rationale}\nAnswer: {text}" if rationale else f"Answer: {text}"
    return str(text)


def _sha256(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()
