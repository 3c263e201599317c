"""Plain functions that make rows. Three named people judge: Anna, Ben and Chidi; Lena leads, Adam is the admin."""

import itertools
from typing import Any

from accounts.models import User
from annotations.models import Campaign, Case, CaseImport, Completion, Item, Membership, Model, RubricVersion, Study

_numbers = itertools.count(1)
PASSWORD = "correct horse battery"


def make_user(username: str, **fields: Any) -> User:
    user = User(username=username, email=f"{username}@example.org", **fields)
    user.set_password(PASSWORD)
    user.save()
    return user


def make_study(task: str = "summarisation", slug: str = "", **fields: Any) -> Study:
    slug = slug or f"{task}-{next(_numbers)}"
    defaults: dict[str, Any] = {"title": slug.title(), "system_prompt": "You are a careful clinician."}
    if task == "classification":
        labels = [{"value": "yes", "title": "Yes", "help": ""}, {"value": "no", "title": "No", "help": ""}]
        defaults["label_fields"] = [
            {"name": "label", "title": "Label", "level": "nominal", "labels": labels, "positive": "yes"}
        ]
    if task == "triage":
        personnel = [{"value": v, "title": v.title(), "help": ""} for v in ("physician", "nurse", "billing")]
        urgency = [{"value": v, "title": v.title(), "help": ""} for v in ("routine", "soon", "urgent")]
        defaults["label_fields"] = [
            {"name": "personnel", "title": "Personnel", "level": "nominal", "labels": personnel, "positive": None},
            {"name": "urgency", "title": "Urgency", "level": "ordinal", "labels": urgency, "positive": None},
        ]
    if task == "summarisation":
        anchors = ["unusable", "poor", "fair", "good", "excellent"]
        defaults["criteria"] = [
            {"name": "faithful", "title": "Faithful", "question": "Is everything true?", "anchors": anchors},
            {"name": "complete", "title": "Complete", "question": "Is what matters there?", "anchors": anchors},
        ]
    return Study.objects.create(slug=slug, task=task, **(defaults | fields))


def join(study: Study, user: User, role: str) -> Membership:
    defaults = {"pseudonym": f"P{next(_numbers)}"}
    membership, _ = Membership.objects.get_or_create(study=study, user=user, defaults=defaults | {"role": role})
    membership.role = role
    membership.save()
    return membership


def make_cases(study: Study, n: int = 4, split: str = "train", **fields: Any) -> list[Case]:
    imported = CaseImport.objects.create(study=study, filename="cases.jsonl", sha256="0" * 64, rows=n)
    cases = []
    for _ in range(n):
        number = next(_numbers)
        values: dict[str, Any] = {
            "external_id": f"case-{number}",
            "group": f"patient-{number}",
            "split": split,
            "inputs": {"text": f"Patient {number} has had a cough for {number} days."},
            "reference": {"text": f"Cough, {number} days."},
        }
        cases.append(Case.objects.create(study=study, imported=imported, **(values | fields)))
    return cases


def make_model(name: str = "", kind: str = "imported", **fields: Any) -> Model:
    return Model.objects.create(name=name or f"model-{next(_numbers)}", kind=kind, **fields)


def make_completion(case: Case, model: Model, text: str = "", **fields: Any) -> Completion:
    values: dict[str, Any] = {"text": text or f"Summary {next(_numbers)} of {case.external_id}.", "key": "0" * 64}
    return Completion.objects.create(case=case, model=model, **(values | fields))


def make_campaign(
    study: Study,
    annotators: list[User],
    *,
    kind: str = "comparison",
    models: tuple[str, str] = ("alpha", "beta"),
    cases: list[Case] | None = None,
    overlap: int | None = None,
    **fields: Any,
) -> Campaign:
    """A campaign with one item a case, laid out by hand (planning has tests of its own); annotators join the study."""
    cases = make_cases(study) if cases is None else cases
    rubric = {
        "instructions": "Judge.",
        "criteria": study.criteria if kind == "likert" else [],
        "label_fields": study.label_fields,
        "show_reference": False,
        "reason": "optional",
    }
    campaign = Campaign.objects.create(
        study=study,
        name=fields.pop("name", f"campaign-{next(_numbers)}"),
        kind=kind,
        overlap=overlap or len(annotators),
        rubric=rubric,
        **fields,
    )
    RubricVersion.objects.create(campaign=campaign, number=1, content=rubric)
    campaign.annotators.set(annotators)
    for annotator in annotators:
        if not study.memberships.filter(user=annotator).exists():
            join(study, annotator, "annotator")
    rows = [Model.objects.get_or_create(name=name, defaults={"kind": "imported"})[0] for name in models]
    campaign.models.set(rows)
    for position, case in enumerate(cases):
        a = make_completion(case, rows[0]) if kind != "label" else None
        b = make_completion(case, rows[1]) if kind == "comparison" else None
        Item.objects.create(
            campaign=campaign, case=case, completion_a=a, completion_b=b, position=position, overlap=campaign.overlap
        )
    return campaign


def make_item(campaign: Campaign, case: Case | None = None, **fields: Any) -> Item:
    """One more item at the end of a campaign, of the kind of the others; a repeat shows what its original shows."""
    original = fields.get("repeat_of")
    if original is not None:
        case, a, b = original.case, original.completion_a, original.completion_b
    else:
        case = case or make_cases(campaign.study, 1)[0]
        rows = list(campaign.models.order_by("name"))
        index = next(_numbers)  # another sample where the case has one already
        a = make_completion(case, rows[0], index=index) if campaign.kind != "label" else None
        b = make_completion(case, rows[1], index=index) if campaign.kind == "comparison" else None
    last = campaign.items.order_by("-position").first()
    values: dict[str, Any] = {
        "position": last.position + 1 if last else 0,
        "overlap": 0 if original is not None or fields.get("gold") else campaign.overlap,
        "completion_a": a,
        "completion_b": b,
    }
    return Item.objects.create(campaign=campaign, case=case, **(values | fields))
