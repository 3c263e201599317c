"""The walk behind tests/test_blinding.py: a campaign with everything in it, every URL of the site, and what they say.

A world holds rows whose ids, names and numbers are recognisable wherever they turn up. ``swapped`` builds the same
world as its annotators see it, with the models exchanged behind it: whatever a page says must not change by a byte.
"""

import itertools
import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db.models.signals import pre_save
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.utils import timezone

from accounts.models import User
from annotations.models import (
    Assignment,
    Campaign,
    Case,
    CaseImport,
    Completion,
    Generation,
    HarmReport,
    Invitation,
    Item,
    Model,
    RubricVersion,
    Study,
)
from reports.models import Evaluation, Report
from tests.factories import join, make_study, make_user
from training.models import Run, TrainingDataset

NAMES = ("quokka-dpo-7b", "zebra-base-13b")  # in the order of names, which is an item's fixed order
SERVED = ("served-as-quokka", "served-as-zebra")
HASHES = ("a1" * 32, "b2" * 32)
TEMPERATURE = "0.73519"
# Where numbers that must never be seen begin; all look like 9n00nnn.
COMPLETION, ITEM, GENERATION, RUN, TOKENS, SEED = (9_000_000 + 100_000 * n for n in range(1, 7))
SECRET_NUMBER = re.compile(r"9[1-6]00\d{3}")
OBJECT = 8_000_001  # the pk of every row that a lead's pages are about, so that one number fills all their addresses
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
CSRF = re.compile(r'(csrfmiddlewaretoken" value|csrftoken|csrf_token|X-CSRFToken)("?[=:] ?"?)[A-Za-z0-9]{32,64}')
MOMENT = re.compile(
    r"\d{1,2} [A-Z][a-z]{2}\w* (?:\d{4},? )?\d{2}:\d{2}(?::\d{2})?|\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}[:\d.+Z]*"
)
HTMX = {"HX-Request": "true"}
ANCHORS = ["unusable", "poor", "fair", "good", "excellent"]
CRITERIA = [
    {"name": "faithful", "title": "Faithful", "question": "Is everything true?", "anchors": ANCHORS},
    {"name": "complete", "title": "Complete", "question": "Is what matters there?", "anchors": ANCHORS},
]
LABELS = [{"value": value, "title": value.title(), "help": ""} for value in ("routine", "soon", "urgent")]
FIELDS = [{"name": "urgency", "title": "Urgency", "level": "ordinal", "labels": LABELS, "positive": None}]
CHIPS = ["Misses something that matters", "Too long"]


@dataclass
class World:
    study: Study
    campaign: Campaign
    user: User
    seen: dict[str, str] = field(default_factory=dict)  # UUIDs by the order in which pages showed them

    def texts(self) -> list[str]:
        return [text.split("\n")[0] for text in Completion.objects.values_list("text", flat=True)]


def build(kind: str, user: User, role: str, *, swapped: bool = False, n: int = 4) -> World:
    """A study with one open campaign of ``kind`` that ``user`` judges in, and every other kind of row beside it."""
    study = make_study(slug="blind", criteria=CRITERIA, label_fields=FIELDS, reason_chips=CHIPS)
    join(study, user, role)
    models = [
        Model.objects.create(
            pk=OBJECT + place,  # sides are drawn from the ids of models and person: the same in both worlds
            name=name,
            kind="endpoint",
            url="http://models.example/v1",
            served_name=SERVED[place],
            sha256=HASHES[place],
        )
        for place, name in enumerate(NAMES)
    ]
    rubric = {
        "instructions": "Judge.",
        "criteria": CRITERIA if kind in ("comparison", "likert") else [],
        "label_fields": FIELDS if kind == "label" else [],
        "show_reference": kind == "correctness",
        "reason": "optional",
        "chips": CHIPS,
        "marks": kind != "label",
        "ideal": kind != "label",
    }
    campaign = Campaign.objects.create(
        study=study,
        public_id=uuid.UUID(int=7),
        name="Round 1",
        kind=kind,
        overlap=1,
        seed=3,
        secret="s" * 32,
        rubric=rubric,
        training_pass_mark=0.0,
        blinding_check={
            "items": 3 if kind != "label" else 0,
            "arms": {str(model.pk): text for model, text in zip(models, ("one system", "another"), strict=True)},
        },
    )
    RubricVersion.objects.create(campaign=campaign, number=1, content=rubric)
    campaign.annotators.set([user])
    campaign.models.set(models if kind != "label" else [])
    _items(campaign, models, _cases(study, n), swapped)
    _rows_of_leads(study, campaign, models)
    return World(study, campaign, user)


def _cases(study: Study, n: int) -> list[Case]:
    imported = CaseImport.objects.create(study=study, filename="cases.jsonl", sha256="0" * 64, rows=n)
    return [
        Case.objects.create(
            pk=OBJECT + number,
            study=study,
            imported=imported,
            external_id=f"case-{number}",
            group=f"patient-{number}",
            split="train",
            inputs={"text": f"Patient {number} has had a cough for {number + 2} days."},
            reference={"text": f"Cough, {number + 2} days."},
        )
        for number in range(n)
    ]


def _items(campaign: Campaign, models: list[Model], cases: list[Case], swapped: bool) -> None:
    """Pairs, single outputs or cases; the last case is a training item with a known answer.

    Swapped, the models' texts are exchanged in every case. Items stay with what they show: a single output's item
    takes the other completion, and sides are flipped where they are drawn (``flipped_sides``).
    """
    positions = itertools.count()
    for number, case in enumerate(cases):
        words = [f"Output one of case {number}.\nIt is short.", f"Output two of case {number}.\nIt is rather longer."]
        rows = [
            Completion.objects.create(
                pk=COMPLETION + 100 * place + number,
                case=case,
                model=model,
                generation=_generation(campaign.study, model, place),
                text=text,
                key=f"{place}" * 64,
                sampling={"temperature": float(TEMPERATURE), "seed": SEED + place},
                model_sha256=HASHES[place],
                prompt_sha256="c3" * 32,
                tokens=TOKENS + 10 * place + number,
                finish_reason=("stop", "length")[place],
            )
            for place, (model, text) in enumerate(zip(models, reversed(words) if swapped else words, strict=True))
        ]
        known = _known_answer(campaign.kind) if number == len(cases) - 1 else None
        outputs: list[tuple[Completion | None, Completion | None]] = {
            "comparison": [(rows[0], rows[1])],
            "label": [(None, None)],
        }.get(campaign.kind, [(row, None) for row in (reversed(rows) if swapped else rows)])  # type: ignore[assignment]
        for a, b in outputs:
            position = next(positions)
            Item.objects.create(
                pk=ITEM + position,
                campaign=campaign,
                case=case,
                completion_a=a,
                completion_b=b,
                position=position,
                overlap=0 if known else 1,
                gold=known,
                training=known is not None,
            )


def _known_answer(kind: str) -> dict[str, Any]:
    answers: dict[str, dict[str, Any]] = {
        "comparison": {"outcome": "tie", "values": {}},
        "likert": {"outcome": "judged", "values": {"faithful": 4, "complete": 4}},
        "label": {"outcome": "judged", "values": {"urgency": "soon"}},
        "correctness": {"outcome": "judged", "values": {"correctness": "correct"}},
    }
    return {"strength": "", "feedback": "Both say the same.", **answers[kind]}


def _generation(study: Study, model: Model, place: int) -> Generation:
    sampling = {"temperature": float(TEMPERATURE), "seed": SEED + place}
    row, _ = Generation.objects.get_or_create(
        pk=GENERATION + place, defaults={"study": study, "model": model, "sampling": sampling, "status": "succeeded"}
    )
    return row


def _rows_of_leads(study: Study, campaign: Campaign, models: list[Model]) -> None:
    """One row, with one and the same pk, for each of the pages that a lead's addresses lead to."""
    common = {"pk": OBJECT, "study": study}
    Generation.objects.create(**common, model=models[0], status="failed", sampling={"seed": SEED})
    evaluation = Evaluation.objects.create(**common, status="succeeded", case_ids=[OBJECT], split="train")
    evaluation.campaigns.add(campaign)
    evaluation.completions.set(Completion.objects.all())
    dataset = TrainingDataset.objects.create(
        **common, kind="sft", directory="d", sha256="d4" * 32, n_train=1, n_validation=0, template_version=1
    )
    Run.objects.create(
        **common, name="run-of-quokka", method="sft", base=models[1], dataset=dataset, directory=f"run-{RUN}",
        model=models[0], status="failed",
    )  # fmt: skip
    Report.objects.create(**common, directory="r", sha256="e5" * 32)
    other = make_user("somebody-else")
    membership = join(study, other, "annotator")
    type(membership).objects.filter(pk=membership.pk).update(id=OBJECT)
    Invitation.objects.create(
        **common, role="annotator", token_sha256="f6" * 32, created_by=other,
        expires_at=timezone.now() + timedelta(days=3),
    )  # fmt: skip


def flip_side(sender: Any, instance: Assignment, **_: Any) -> None:
    """In the swapped world a pair is drawn the other way round, so that annotators see what they saw in the first."""
    if instance._state.adding and instance.a_is_left is not None and instance.item.repeat_of_id is None:
        instance.a_is_left = not instance.a_is_left


class flipped_sides:
    """``with flipped_sides(swapped):`` the sides of the assignments that are made within."""

    def __init__(self, swapped: bool) -> None:
        self.swapped = swapped

    def __enter__(self) -> None:
        if self.swapped:
            pre_save.connect(flip_side, sender=Assignment)

    def __exit__(self, *_: object) -> None:
        pre_save.disconnect(flip_side, sender=Assignment)


# Every address


def addresses(world: World) -> Iterator[tuple[str, str]]:
    """(name, address) for every URL of the site, filled in with what belongs to this world; fails where it can't be."""

    def walk(patterns: list[Any], namespace: str = "") -> Iterator[tuple[str, str]]:
        for pattern in patterns:
            if isinstance(pattern, URLResolver):
                yield from walk(pattern.url_patterns, pattern.namespace or namespace)
            elif isinstance(pattern, URLPattern):
                if not pattern.name:
                    raise AssertionError(f"{pattern.pattern} has no name, so the walk can't reach it: give it one.")
                name = f"{namespace}:{pattern.name}" if namespace else pattern.name
                for filled in fillings(name, pattern.pattern.converters, world):
                    yield name, reverse(name, kwargs=filled)

    return walk(get_resolver().url_patterns)


def fillings(name: str, converters: dict[str, Any], world: World) -> Iterator[dict[str, Any]]:
    """What the parts of an address may stand for. An address with a part that isn't known here fails the test."""
    own = list(Assignment.objects.filter(annotator=world.user).order_by("created_at").values_list("pk", flat=True))
    harm = list(HarmReport.objects.values_list("pk", flat=True))
    known: dict[tuple[str, str], list[Any]] = {
        ("slug", "slug"): [world.study.slug],
        ("public_id", "uuid"): [world.campaign.public_id],
        ("pk", "int"): [OBJECT],
        # The first (a training item, where those come first), the last, and what was reported about.
        ("pk", "uuid"): list(dict.fromkeys([*own[:1], *own[-1:], *harm[:1]])) or [uuid.UUID(int=0)],
        ("position", "int"): [0, 1],
        ("number", "int"): [1],
        ("chart", "str"): ["loss"],
        ("name", "str"): ["train.jsonl"],
        ("name", "path"): ["report.json"],
        ("token", "str"): ["x" * 20],
        ("uidb64", "str"): ["MQ"],
    }
    values = []
    for part, converter in converters.items():
        kind = type(converter).__name__.removesuffix("Converter").lower()
        kind = {"string": "str"}.get(kind, kind)
        if (part, kind) not in known:
            raise AssertionError(
                f"{name} has a part <{kind}:{part}> that the walk can't fill: say in `fillings` what it stands for."
            )
        values.append(known[part, kind])
    for combination in itertools.product(*values):
        yield dict(zip(converters, combination, strict=True))


# What a response says


def content(response: HttpResponse) -> str:
    """Status, headers, cookies and body, as text."""
    body = b"".join(response.streaming_content) if response.streaming else response.content  # type: ignore[attr-defined]
    headers = "\n".join(f"{name}: {value}" for name, value in response.items())
    return f"{response.status_code}\n{headers}\n{response.cookies}\n{body.decode(errors='replace')}"


def leaks(text: str) -> list[str]:
    """Whatever in a response tells a model: names, served names, hashes, sampling, and ids of completions and runs."""
    plain = UUID.sub("", CSRF.sub("", text))
    words = [*NAMES, *SERVED, *HASHES, "c3" * 32, TEMPERATURE, "run-of-quokka", "models.example"]
    return [word for word in words if word in plain] + SECRET_NUMBER.findall(plain)


def normal(text: str, world: World) -> str:
    """A response without what differs from one visit to the next: tokens, moments, and random ids by their order."""
    text = CSRF.sub(r"\1\2token", text)
    text = re.sub(r"Set-Cookie: (?:csrftoken|sessionid)=.*\n?", "", text)  # random, and renewed by the clock
    text = re.sub(r"(Set-Cookie: messages=[\w.-]+):[\w-]+:[\w-]+", r"\1:signature", text)
    text = MOMENT.sub("moment", text)
    text = re.sub(r"(?i)content-length: \d+\n", "", text)
    return UUID.sub(lambda match: world.seen.setdefault(match[0], f"uuid-{len(world.seen)}"), text)


# What somebody who judges does


def answer(world: World) -> dict[str, Any]:
    """A whole answer to the item at hand (if there is one), with everything a form of this kind may send."""
    kind = world.campaign.kind
    fields: dict[str, Any] = {
        "active_seconds": "12",
        "reason": "Because of the dose.",
        "chips": CHIPS[:1],
        "flagged": "1",
        "change_reason": "I had misread it.",
        "skip_reason": "Later.",
    }
    if kind == "comparison":
        fields |= {"choice": "left", "strength": "clearly", "value-faithful": "2", "value-complete": "3"}
        fields |= {"mark-left-0": "wrong:major", "mark-right-1": "correct"}
        fields |= {"ideal_side": "left", "ideal_text": "Output as it should be."}
    elif kind == "likert":
        fields |= {"value-faithful": "2", "value-complete": "4", "mark-left-0": "wrong:minor"}
    elif kind == "label":
        fields |= {"value-urgency": "soon"}
    else:
        fields |= {"value-correctness": "partly", "mark-left-0": "omission:dangerous"}
    mine = Assignment.objects.filter(
        annotator=world.user, submitted_at__isnull=True, skipped_at__isnull=True, released_at__isnull=True
    )
    held = mine.order_by("created_at", "pk").first()
    return fields | ({"assignment": str(held.pk)} if held else {})


def everything(world: World) -> dict[str, Any]:
    """What any form of the site might take, as far as somebody who judges could send it."""
    return {
        **answer(world),
        "id": str(uuid.UUID(int=99)),
        "about": "left",
        "severity": "moderate",
        "quote": "It is short.",
        "description": "A dose could be missed.",
        "guess": "unknown",
        "email": "",
        "name": "x",
        "next": "/",
    }


trace: Callable[[Completion, Item], str] | None = None  # what `leaky` tells of the output shown first


def leaky(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """A middleware that spoils the rating page, to see that the walk would find it."""

    def answer_with_trace(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        match = request.resolver_match
        mine = Assignment.objects.filter(annotator=request.user, submitted_at__isnull=True, skipped_at__isnull=True)
        row = mine.order_by("created_at").first() if match is not None and match.url_name == "judge" else None
        if trace is not None and row is not None and response.status_code == 200:
            item = row.item
            first = item.completion_a if row.a_is_left is not False else item.completion_b
            assert first is not None
            response.content += f"<!-- {trace(first, item)} -->".encode()
        return response

    return answer_with_trace


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def ensure_signed_in(client: Client, user: User) -> None:
    """Signing out is an address like others; the walk goes on after it."""
    if "_auth_user_id" not in client.session:
        client.force_login(user)
