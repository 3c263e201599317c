"""C6: nothing that somebody who judges can fetch tells which model wrote what.

Three proofs. The walk: every URL of the site, read from the resolver, is fetched and posted to in the middle and at the
end of a campaign of every kind, and no response holds a model's name, an id, a hash or a number that would tell it. The
exchange: the same journey through a world in which the models are exchanged behind what is shown gives the same bytes,
so that nothing at all (order, sizes, attributes, ids) depends on them. The draws: sides and order are balanced.
"""

import logging
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from annotations import access, judging, planning, unblinding
from annotations.assignment import next_assignment
from annotations.models import Assignment, Campaign, Completion, Guess, Judgement, Model
from annotations.models.campaign import Item
from tests import blinding_walk as walk
from tests.blinding_walk import HTMX, World
from tests.factories import join, make_campaign, make_cases, make_completion, make_study, make_user

pytestmark = pytest.mark.django_db
KINDS = ["comparison", "likert", "label", "correctness"]
NAMES = ("zebra-base-7b", "quokka-dpo-7b")
SECRET_PK = 9_000_001
TURNS = 30  # more than any campaign here has items


@pytest.fixture(autouse=True)
def quiet(caplog):
    """The walk is refused hundreds of times; a traceback for each would take longer than the walk."""
    caplog.set_level(logging.CRITICAL, logger="django.request")


class Visitor:
    """Somebody who judges, with what every answer of the site said to them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.client = walk.signed_in(world.user)
        self.log: list[tuple[str, str]] = []  # (what was asked for, the response without tokens and moments)

    def visit(self, what: str, address: str, fields: dict[str, Any] | None = None, *, htmx: bool = False) -> str:
        """GET, or POST where there are fields. Returns what the response said."""
        headers = HTMX if htmx else {}
        client = self.client
        response = (
            client.get(address, headers=headers) if fields is None else client.post(address, fields, headers=headers)
        )
        said = walk.content(response)
        method = "GET" if fields is None else "POST"
        shown = walk.normal(said, self.world)
        self.log.append((f"{method} {what}{' (htmx)' if htmx else ''} {walk.normal(address, self.world)}", shown))
        walk.ensure_signed_in(client, self.world.user)
        return said

    def page(self, name: str, fields: dict[str, Any] | None = None, **kwargs: Any) -> str:
        return self.visit(name, reverse(f"annotations:{name}", args=[self.world.campaign.public_id]), fields, **kwargs)

    def judge(self, turns: int) -> None:
        """Judge so many items, as a form is filled in: a draft, an answer that lacks something, the whole answer."""
        for turn in range(turns):
            self.page("judge", htmx=bool(turn % 2))
            fields = walk.answer(self.world)
            if "assignment" not in fields:
                return
            self.page("judge_draft", fields)
            self.page("judge", {"assignment": fields["assignment"]}, htmx=True)
            self.page("judge", fields, htmx=bool(turn % 2))
            self.page("history")

    def look_everywhere(self) -> None:
        for name, address in walk.addresses(self.world):
            if self.visit(name, address).startswith("200"):  # who may not see it is refused before htmx matters
                self.visit(name, address, htmx=True)

    def post_everywhere(self) -> None:
        for name, address in walk.addresses(self.world):
            self.try_to_post(name, address)

    def try_to_post(self, name: str, address: str) -> None:
        """With an item at hand, and with what the site says to it (a message on the next page) seen before going on."""
        if "assignment" not in walk.answer(self.world):
            self.page("judge")
        self.visit(name, address, walk.everything(self.world))
        if "messages" in self.client.cookies:
            self.visit("home", "/")

    def guess(self) -> None:
        for _ in range(TURNS):
            found = re.search(r'name="assignment" value="([^"]+)"', self.page("guess"))
            if not found:
                return
            said = "left" if self.world.campaign.kind == "comparison" else "1"
            self.page("guess", {"assignment": found[1]})
            self.page("guess", {"assignment": found[1], "guess": said})

    def whole_campaign(self) -> None:
        """From the first item to the last guess, with a look at (and a try of) every address on the way."""
        self.judge(2)
        self.look_everywhere()
        self.post_everywhere()
        self.judge(TURNS)
        self.page("judge_again", {})
        self.judge(TURNS)
        self.guess()
        self.look_everywhere()


def journey(kind: str, *, swapped: bool = False) -> Visitor:
    visitor = Visitor(walk.build(kind, make_user("anna", pk=walk.OBJECT), "annotator", swapped=swapped))
    with walk.flipped_sides(swapped):
        visitor.whole_campaign()
    return visitor


# The walk and the exchange


@pytest.mark.parametrize("kind", KINDS)
def test_no_address_of_the_site_tells_an_annotator_the_model(kind):
    """By what it says; and with the models exchanged behind what is shown, every page is the same to the byte."""
    with transaction.atomic():
        visitor = journey(kind)
        for what, said in visitor.log:
            assert walk.leaks(said) == [], what
        _was_everywhere(visitor)
        transaction.set_rollback(True)
    if kind == "label":
        return  # no output is shown
    other = journey(kind, swapped=True)
    assert [what for what, _ in visitor.log] == [what for what, _ in other.log]
    for (what, one), (_, same) in zip(visitor.log, other.log, strict=True):
        assert one == same, what


def _was_everywhere(visitor: Visitor) -> None:
    """The journey did judge everything, meet every text, and get to the pages that annotators have."""
    outputs = visitor.world.campaign.kind != "label"
    reached = {what.split()[1] for what, said in visitor.log if said.startswith("200")}
    assert {"home", "judge", "history", "annotations:judge", "annotations:judge_revise"} <= reached
    judged = Judgement.objects.filter(item__in=Item.objects.regular(), assignment__submitted_at__isnull=False)
    assert judged.count() == Item.objects.regular().count()
    assert Guess.objects.count() == (3 if outputs else 0)
    everything = " ".join(said for _, said in visitor.log)
    for item in Item.objects.regular().exclude(completion_a=None):
        assert item.completion_a.text.split("\n")[0] in everything


@pytest.mark.parametrize("kind", ["comparison", "likert"])
def test_the_exchange_does_exchange_the_models(kind):
    """Else the test above would prove nothing: what is shown first was written by another model in the other world."""
    authors = []
    for swapped in (False, True):
        with transaction.atomic(), walk.flipped_sides(swapped):
            world = walk.build(kind, make_user("anna", pk=walk.OBJECT), "annotator", swapped=swapped)
            row = next_assignment(world.campaign, world.user)
            item = row.item
            left = item.completion_a if row.a_is_left is not False else item.completion_b
            authors.append((left.model.name, left.text))
            transaction.set_rollback(True)
    (one, text), (other, same_text) = authors
    assert one != other
    assert text == same_text


@pytest.mark.parametrize("kind", ["comparison", "likert"])
@pytest.mark.parametrize("who", ["lead", "admin"])
def test_who_leads_and_judges_sees_no_arm_on_any_address_until_the_campaign_closes(kind, who):
    person = make_user(who, is_superuser=who == "admin")
    world = walk.build(kind, person, "lead" if who == "lead" else "annotator")
    visitor = Visitor(world)
    visitor.judge(2)
    visitor.look_everywhere()
    for name, address in walk.addresses(world):
        if name != "annotations:campaign_close":  # it may be closed, and is then no longer blind
            visitor.try_to_post(name, address)
            assert access.is_blinded(person, world.study), f"POST {name} ended the blinding"
    texts = world.texts()
    for what, said in visitor.log:
        about_the_campaign = str(world.campaign.public_id) in what or "guess" in what
        if about_the_campaign or any(text in said for text in texts):
            assert walk.leaks(said) == [], what
    results = {what: said[:3] for what, said in visitor.log if "reports:" in what and "GET" in what}
    assert set(results.values()) <= {"403", "405"}, results
    reached = {what.split()[1] for what, said in visitor.log if what.startswith("GET") and said.startswith("200")}
    assert {"annotations:study", "annotations:campaign", "annotations:case", "training:run"} <= reached
    Campaign.objects.update(closed_at=timezone.now())
    closed = visitor.client.get(reverse("annotations:campaign", args=[world.study.slug, world.campaign.public_id]))
    assert walk.leaks(walk.content(closed)) == list(walk.NAMES)


def test_an_address_that_the_walk_can_not_fill_fails_it():
    class NewConverter:
        regex = "x"

    world = walk.build("label", make_user("anna", pk=walk.OBJECT), "annotator")
    with pytest.raises(AssertionError, match="can't fill: say in `fillings` what it stands for"):
        list(walk.fillings("annotations:new", {"what": NewConverter()}, world))


# What the walk would find: every leak that one could think of, put into a page


LEAKS: dict[str, Callable[[Completion, Item], str]] = {
    "the model's name in an attribute": lambda completion, item: f'data-model="{completion.model}"',
    "its served name": lambda completion, item: completion.model.served_name,
    "the completion's id": lambda completion, item: f'id="output-{completion.pk}"',
    "the item's id": lambda completion, item: f'value="{item.pk}"',
    "the generation's id": lambda completion, item: f"g{completion.generation_id}",
    "the number of tokens": lambda completion, item: f"{completion.tokens}",
    "the seed": lambda completion, item: f"{completion.sampling['seed']}",
    "the temperature": lambda completion, item: f"{completion.sampling['temperature']}",
    "the hash of the weights": lambda completion, item: completion.model_sha256,
}
TRACES: dict[str, Callable[[Completion, Item], str]] = {
    "a number that sorts by model": lambda completion, item: f'data-n="{completion.model_id % 2}"',
    "a class for one of the models": lambda completion, item: "b" if completion.model_id % 2 else "a",
    "a hidden field longer for one model": lambda completion, item: "x" * len(completion.model.name),
    "why it stopped": lambda completion, item: completion.finish_reason,
}


@pytest.fixture
def leaking(monkeypatch, settings):
    """Put something about the output shown first (on the left) at the end of every rating page."""
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "tests.blinding_walk.leaky"]
    return lambda trace: monkeypatch.setattr(walk, "trace", trace)


@pytest.mark.parametrize("what", LEAKS)
def test_the_walk_finds(what, leaking):
    leaking(LEAKS[what])
    visitor = Visitor(walk.build("comparison", make_user("anna", pk=walk.OBJECT), "annotator"))
    visitor.judge(1)
    assert any(walk.leaks(said) for _, said in visitor.log)


@pytest.mark.parametrize("kind", ["comparison", "likert"])
@pytest.mark.parametrize("what", TRACES)
def test_the_exchange_finds(what, kind, leaking):
    leaking(TRACES[what])
    pages = []
    for swapped in (False, True):
        with transaction.atomic(), walk.flipped_sides(swapped):
            visitor = Visitor(walk.build(kind, make_user("anna", pk=walk.OBJECT), "annotator", swapped=swapped))
            visitor.judge(3)
            pages.append([said for _, said in visitor.log])
            transaction.set_rollback(True)
    assert pages[0] != pages[1]


# The draws


@pytest.fixture
def planned(lena, anna, ben):
    """Of 30 cases with an output of each of two models: what ``plan_campaign`` makes for two annotators."""
    study = make_study(slug="drawn")
    join(study, lena, "lead")
    models = [Model.objects.create(name=name, kind="imported") for name in NAMES]
    for person in (anna, ben):
        join(study, person, "annotator")
    for case in make_cases(study, 30):
        for model in models:
            make_completion(case, model)

    def plan(kind):
        return planning.plan_campaign(
            study=study, kind=kind, name=kind, annotators=[anna, ben], overlap=2, models=models, seed=1
        )

    return plan


def judged_in_order(campaign, person):
    """The assignments of everything the annotator is given, in the order of giving."""
    tie = judging.Answer("tie")
    points = judging.Answer("judged", values={criterion["name"]: 3 for criterion in campaign.rubric["criteria"]})
    found = []
    while (row := next_assignment(campaign, person)) is not None:
        judging.submit(row, tie if campaign.kind == "comparison" else points, actor=person)
        found.append(row)
    return found


def test_each_model_is_on_each_side_equally_often_for_each_annotator(planned, anna, ben):
    campaign = planned("comparison")
    sides = {person: [row.a_is_left for row in judged_in_order(campaign, person)] for person in (anna, ben)}
    for drawn in sides.values():
        assert len(drawn) == 30
        for n in range(1, 31):  # blocked: never more than two apart
            assert abs(sum(drawn[:n]) - n / 2) <= 1
    assert sides[anna] != sides[ben]


def test_which_model_comes_first_of_a_case_is_a_coin(planned, anna, ben):
    campaign = planned("likert")
    for person in (anna, ben):
        first = {}
        for row in judged_in_order(campaign, person):
            first.setdefault(row.item.case_id, row.item.completion_a.model.name)
        n = sum(name == NAMES[0] for name in first.values())
        assert len(first) == 30
        assert 3 <= n <= 27  # beyond: a chance of 2 in 100,000


# One thing at a time


@pytest.fixture
def study(anna, lena):
    study = make_study(slug="blind")
    join(study, anna, "annotator")
    join(study, lena, "lead")
    return study


def blind_campaign(study, people, kind="comparison"):
    """A campaign whose completions have ids that can be recognised in a page."""
    campaign = make_campaign(study, people, kind=kind, models=NAMES, cases=[], name=f"Round {kind}")
    for position, case in enumerate(make_cases(study, 3)):
        start = SECRET_PK + 10 * Completion.objects.count()
        rows = [
            make_completion(case, model, pk=start + n, text=f"Text {n} of case {position}.", tokens=777_001)
            for n, model in enumerate(campaign.models.order_by("-name"))
        ]
        pair = kind == "comparison"
        campaign.items.create(
            case=case, completion_a=rows[0], completion_b=rows[1] if pair else None, position=position
        )
    return campaign


def leaks(response):
    """Names of models, and ids of completions, in a response."""
    text = response.content.decode() if not response.streaming else b"".join(response.streaming_content).decode()
    text += "\n".join(f"{name}: {value}" for name, value in response.items())
    text += str(response.cookies)
    found = [name for name in NAMES if name in text]
    return found + re.findall(r"\b90000\d\d\b|777001", text)


def test_both_columns_have_the_same_markup(study, anna):
    campaign = blind_campaign(study, [anna])
    client = Client()
    client.force_login(anna)
    page = client.get(reverse("annotations:judge", args=[campaign.public_id])).content.decode()
    columns = re.findall(r'<section class="pane pane-output".*?</section>', page, re.S)
    assert len(columns) == 2
    unmarked = [re.sub(r"</?mark>", "", column) for column in columns]  # words that differ, in both alike
    plain = [re.sub(r"Text \d of case \d\.|output-\d|Output [AB]", "", column) for column in unmarked]
    assert plain[0] == plain[1]


def test_the_markup_does_not_depend_on_the_side(study, anna):
    campaign = blind_campaign(study, [anna])
    client = Client()
    client.force_login(anna)
    page = reverse("annotations:judge", args=[campaign.public_id])
    shown = []
    for a_is_left in (True, False):
        client.get(page)
        Assignment.objects.update(a_is_left=a_is_left)
        text = re.sub(r"</?mark>", "", client.get(page).content.decode())
        shown.append(re.sub(r'Text \d of case \d\.|value="[\w]{64}"', "", text))
    assert shown[0] == shown[1]


def test_a_lead_who_judges_is_blinded_until_the_campaign_closes(study, lena):
    campaign = blind_campaign(study, [lena])
    client = Client()
    client.force_login(lena)
    export = reverse("annotations:campaign_export", args=[study.slug, campaign.public_id])
    page = reverse("annotations:campaign", args=[study.slug, campaign.public_id])
    assert client.get(export).status_code == 403
    assert leaks(client.get(page)) == []
    assert "Seed" not in client.get(page).content.decode()
    assert leaks(client.get(reverse("annotations:campaigns", args=[study.slug]))) == []
    Campaign.objects.update(closed_at=timezone.now())
    assert client.get(export).status_code == 200
    assert leaks(client.get(page)) == list(NAMES)


@pytest.mark.parametrize("who", ["lena", "adam"])
def test_who_judges_can_not_plan_a_campaign_that_would_name_the_model_of_each_text(study, lena, adam, who):
    person = {"lena": lena, "adam": adam}[who]
    blinded = blind_campaign(study, [person])
    client = Client()
    client.force_login(person)
    page = reverse("annotations:campaign_plan", args=[study.slug])
    base = blinded.models.get(name=NAMES[0])
    fields = {"name": "Base alone", "kind": "likert", "models": [base.pk], "annotators": [lena.pk], "overlap": 1}
    fields |= {"seed": 1, "reason": "optional", "start": ""}
    assert client.get(page).status_code == 403
    assert client.post(page, fields).status_code == 403
    assert not Campaign.objects.filter(name="Base alone").exists()
    assert page not in client.get(reverse("annotations:campaigns", args=[study.slug])).content.decode()
    Campaign.objects.update(closed_at=timezone.now())
    assert client.post(page, fields).status_code == 302


def test_what_order_and_sides_are_drawn_with_is_shown_only_once_a_campaign_is_closed(study, anna, lena):
    campaign = blind_campaign(study, [anna])
    page = reverse("annotations:campaign", args=[study.slug, campaign.public_id])
    client, annotator = Client(), Client()
    client.force_login(lena)
    annotator.force_login(anna)
    judging_page = annotator.get(reverse("annotations:judge", args=[campaign.public_id])).content.decode()
    assert campaign.secret not in client.get(page).content.decode() + judging_page
    Campaign.objects.update(closed_at=timezone.now())
    assert campaign.secret in client.get(page).content.decode()


def test_a_lead_who_does_not_judge_sees_the_models(study, lena, anna):
    campaign = blind_campaign(study, [anna])
    unblinding.unblind(campaign, reason="Planned interim look", actor=lena)
    client = Client()
    client.force_login(lena)
    assert leaks(client.get(reverse("annotations:campaign", args=[study.slug, campaign.public_id]))) == list(NAMES)


def test_annotators_never_see_each_others_answers(study, anna):
    ben = make_user("ben")
    join(study, ben, "annotator")
    campaign = blind_campaign(study, [anna, ben])
    ones, others = Client(), Client()
    ones.force_login(anna)
    others.force_login(ben)
    page = reverse("annotations:judge", args=[campaign.public_id])
    ones.get(page)
    ones.post(page, {"assignment": Assignment.objects.get().pk, "choice": "tie", "reason": "Anna thinks so."})
    for name in ("judge", "history"):
        text = others.get(reverse(f"annotations:{name}", args=[campaign.public_id])).content.decode()
        assert "Anna thinks so." not in text
