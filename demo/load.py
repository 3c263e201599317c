"""The demo studies, their cases and their people. What is there stays as it is."""

import os
from pathlib import Path

from accounts.models import User
from annotations.importing import import_cases
from annotations.models import Study
from annotations.people import add_member
from annotations.studies import create_study, read_config

HERE = Path(__file__).resolve().parent
# slug, task, the study's configuration, its cases, title where it differs
STUDIES = [
    ("triage", "triage", "triage.toml", "messages.jsonl", ""),
    ("adverse-events", "classification", "classification.toml", "notes.jsonl", ""),
    ("vignettes", "reasoning", "reasoning.toml", "vignettes.jsonl", ""),
    ("summaries", "summarisation", "summarisation.toml", "dialogues.jsonl", ""),
    # The finished example is a study of its own, so that its locked plan and its arms stand in nobody's way.
    ("example", "summarisation", "summarisation.toml", "dialogues.jsonl", "Example: summaries, judged by a program"),
]
PEOPLE = [
    ("lena", "Lena Lead", "lead"),
    ("anna", "Anna Annotator", "annotator"),
    ("ben", "Ben Annotator", "annotator"),
    ("chidi", "Chidi Annotator", "annotator"),
]
SIMULATED = ["simulated-1", "simulated-2", "simulated-3"]


def load() -> dict[str, User]:
    """Make what is missing; returns the people by user name."""
    password = os.environ["DEMO_PASSWORD"]
    people = {name: _person(name, full_name, password) for name, full_name, _ in PEOPLE}
    people["adam"] = _person("adam", "Adam Admin", password, is_superuser=True)
    for name in SIMULATED:
        people[name] = _person(name, name.replace("-", " ").title(), None)
    for slug, task, config, cases, title in STUDIES:
        if not Study.objects.filter(slug=slug).exists():
            _study(slug, task, config, cases, title, people)
    return people


def _person(username: str, full_name: str, password: str | None, **fields: bool) -> User:
    found = User.objects.filter(username=username).first()
    if found:
        return found
    first, _, last = full_name.partition(" ")
    user = User(username=username, first_name=first, last_name=last, email=f"{username}@example.org", **fields)
    user.set_password(password)  # None: nobody can sign in as a simulated annotator
    user.save()
    return user


def _study(slug: str, task: str, config: str, cases: str, title: str, people: dict[str, User]) -> None:
    settings = read_config(HERE / "studies" / config) | {"synthetic": True} | ({"title": title} if title else {})
    study = create_study(slug=slug, task=task, config=settings, actor=people["adam"])
    for name, _, role in PEOPLE:
        if slug != "example" or role == "lead":
            add_member(study=study, user=people[name], role=role, actor=people["adam"])
    if slug == "example":
        for name in SIMULATED:
            add_member(study=study, user=people[name], role="annotator", actor=people["adam"])
    import_cases(
        study=study,
        path_or_file=HERE / cases,
        filename=cases,
        split_fractions=(0.6, 0.1, 0.3),
        seed=1,
        actor=people["lena"],
    )
