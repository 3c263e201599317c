"""A case as people read it: what the models were given, and the reference answer."""

from annotations.models import Case, Study


def source_of(case: Case, study: Study) -> list[tuple[str, str]]:
    """What the models were given: (title, text) of each field, in the template's order; one alone needs no title."""
    template = study.user_template

    def place(name: str) -> int:
        found = template.find(f"{{{name}}}")
        return len(template) if found < 0 else found

    names = sorted(case.inputs, key=place)
    fields = [(name.replace("_", " ").capitalize(), str(case.inputs[name])) for name in names]
    return [("", fields[0][1])] if len(fields) == 1 else fields


def reference_of(case: Case) -> list[str]:
    """The reference answer as lines: a text and its rationale as they are, labels with their field's name."""
    texts = [str(case.reference[name]) for name in ("text", "rationale") if case.reference.get(name)]
    return texts + [f"{name}: {value}" for name, value in case.reference.items() if name not in ("text", "rationale")]
