"""WCAG 2.2 AA as far as a program can tell: axe-core finds nothing, on any page a lead or an annotator sees.

The addresses come from the site itself: a page that is added is looked at, and one that can't be opened fails the test.
Each page is looked at twice: on a desk in light colours, on a phone in dark ones.
"""

import os
import shutil
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from playwright.sync_api import Browser, Page, sync_playwright

from accounts.models import User
from annotations import harms
from annotations.models import Campaign, Generation, Status, Study
from annotations.people import invite
from reports import build
from tests.factories import join, make_campaign, make_cases, make_study
from tests.report_rows import campaign_on, evaluate
from tests.report_rows import judge as judged
from tests.training_room import compare, freeze, leave_result, paper_base, queue

CHROMIUM = shutil.which("chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
LOOKS: list[tuple[str, dict[str, Any]]] = [
    ("desk, light", {"viewport": {"width": 1280, "height": 900}, "color_scheme": "light"}),
    ("phone, dark", {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark"}),
]
# WCAG 2.2 AA and axe's own best practices (headings, landmarks): whatever it reports, serious or not.
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
# Addresses that answer GET with something else than a page.
NOT_PAGES = {
    "training:dataset_file": "a download",
    "training:run_file": "a download",
    "training:run_chart": "a picture",
    "training:run_live": "a part of the run's page",
    "reports:report_archive": "a download",
    "reports:report_file": "a download",
    "annotations:campaign_export": "a download",
    "annotations:me": "a name, as JSON",
}

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM, reason="Debian's chromium is not installed, so no browser test can run"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    # Playwright keeps an event loop in this thread, which Django takes for asynchronous code.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def every_page() -> dict[str, set[str]]:
    """{name of an address: its parameters}, POST-only ones too."""

    def walk(patterns: list[Any], namespace: str = "") -> Iterator[tuple[str, set[str]]]:
        for pattern in patterns:
            if isinstance(pattern, URLResolver):
                yield from walk(pattern.url_patterns, pattern.namespace or namespace)
            elif isinstance(pattern, URLPattern) and pattern.name:
                name = f"{namespace}:{pattern.name}" if namespace else pattern.name
                yield name, set(pattern.pattern.converters)

    return dict(walk(get_resolver().url_patterns))


def full_study(lena: User, anna: User, ben: User, tmp_path: Any) -> tuple[Study, dict[str, Any]]:
    """A study in which everything has happened once, and {parameter, or "name of address: parameter": value}."""
    study = make_study("summarisation", slug="full", instructions="Which is **safer**?", synthetic=True)
    for person, role in ((lena, "lead"), (anna, "annotator"), (ben, "annotator")):
        join(study, person, role)
    train = make_cases(study, 4) + make_cases(study, 2, "validation")
    rule: dict[str, Any] = {"consensus": "adjudicated", "overlap": 2}
    first = make_campaign(study, [anna, ben], cases=train, models=("alpha", "beta"), name="First round", **rule)
    qualifying = make_campaign(study, [anna], cases=make_cases(study, 2), name="Training", training_pass_mark=0.5)
    qualifying.items.update(gold={"outcome": "tie", "feedback": "Both will do."}, training=True, overlap=0)
    guessed = make_campaign(study, [anna], cases=make_cases(study, 1), models=("alpha", "beta"), name="Guesses")
    arms = {str(model.pk): f"the {n} one" for n, model in enumerate(guessed.models.all())}
    Campaign.objects.filter(pk=guessed.pk).update(blinding_check={"items": 1, "arms": arms})
    compare(guessed, {anna: "prefer_a"})
    compare(qualifying, {anna: "tie"})
    for item in range(4):
        compare(first, {anna: "prefer_a", ben: ["prefer_a", "prefer_b", "tie", "both_unacceptable"][item]}, item=item)
    first.rubric |= {"criteria": study.criteria, "chips": ["vague", "unsafe"], "marks": True, "ideal": True}
    first.save()
    alpha = first.models.get(name="alpha")
    generation = Generation.objects.create(study=study, model=alpha, split="train", status=Status.FAILED, error="No.")
    base = paper_base(tmp_path / "base")
    dataset = freeze(study, "preference")
    run = queue(study, base, "dpo", dataset=dataset, name="full-dpo")
    run.claim("w")
    leave_result(run)
    test_cases = make_cases(study, 4, "test")
    evaluation = evaluate(study, {n: [f"{n} on {c}" for c in test_cases] for n in ("alpha", "beta")}, test_cases)
    retest = campaign_on(evaluation, "likert", [anna, ben], name="Re-test")
    for item in retest.items.all():
        judged(item, anna, faithful=4, complete=3)
        judged(item, ben, faithful=3, complete=3)
    report = build.build(study=study, evaluations=[evaluation])
    client = Client()
    client.force_login(anna)
    client.get(reverse("annotations:judge", args=[first.public_id]))
    own = first.items.first().assignments.get(annotator=anna)
    text = own.item.completion_a.text
    harm = {"id": uuid.uuid4(), "assignment": own, "about": "left", "severity": "severe", "quote": "", "actor": anna}
    harms.report_harm(**harm, description=f"Nobody would act on: {text}")
    _, token = invite(study=study, role="annotator", email="dora@example.org", actor=lena)
    return study, {
        "slug": study.slug,
        "public_id": first.public_id,
        "token": token,
        "annotations:case:pk": train[0].pk,
        "annotations:generation:pk": generation.pk,
        "annotations:judge_revise:pk": own.pk,
        "annotations:harm_acknowledge:pk": harm["id"],
        "annotations:harm_report?": f"?assignment={own.pk}",
        "annotations:adjudication:public_id": guessed.public_id,  # of the other it leads on to an item
        "annotations:adjudication_item:position": first.items.all()[1].position,
        "annotations:judge_feedback:public_id": qualifying.public_id,
        "annotations:judge_feedback:pk": qualifying.items.first().assignments.get(annotator=anna).pk,
        "annotations:judge_training:public_id": qualifying.public_id,
        "annotations:guess:public_id": guessed.public_id,
        "training:dataset:pk": dataset.pk,
        "training:run:pk": run.pk,
        "reports:evaluation:pk": evaluation.pk,
        "reports:evaluation_campaign:pk": evaluation.pk,
        "reports:report:pk": report.pk,
        "uidb64": "MQ",
        "accounts:password_reset_confirm:token": "x-y",
    }


def page_of(browser: Browser, person: User | None, url: str, look: dict[str, Any]) -> Page:
    context = browser.new_context(**look, reduced_motion="reduce")
    if person is not None:
        client = Client()
        client.force_login(person)
        context.add_cookies([{"name": "sessionid", "value": client.cookies["sessionid"].value, "url": url}])
    return context.new_page()


def complaints(page: Page) -> list[str]:
    """What axe finds on the page as it stands, a line an element."""
    found = Axe().run(page, options=RULES).response["violations"]
    return [f"{v['id']}: {node['target']} {node['failureSummary']}" for v in found for node in v["nodes"]]


def addresses(known: dict[str, Any]) -> dict[str, str]:
    """{name: address} of all that may be pages; a parameter that this file doesn't know fails."""
    found = {}
    for name, parameters in every_page().items():
        if name in NOT_PAGES:
            continue
        values = {p: known.get(f"{name}:{p}", known.get(p)) for p in parameters}
        if None in values.values():
            # Only addresses that take no GET may do without a known object.
            values = {p: 1 if value is None else value for p, value in values.items()}
        found[name] = reverse(name, kwargs=values) + known.get(f"{name}?", "")
    return found


@pytest.mark.django_db(transaction=True)
def test_axe_finds_nothing_on_any_page(live_server, browser, lena, anna, ben, adam, tmp_path, settings):
    settings.REPORTS_DIR = tmp_path / "reports"
    settings.RUNS_DIR = tmp_path / "runs"
    settings.DATASETS_DIR = tmp_path / "datasets"
    _, known = full_study(lena, anna, ben, tmp_path)
    wrong: list[str] = []
    opened: set[str] = set()
    asked = addresses(known)
    for person in (lena, anna, adam, None):
        client = Client()
        if person is not None:
            client.force_login(person)
        pages = {name: path for name, path in asked.items() if is_page(client, path)}
        for title, look in LOOKS:
            page = page_of(browser, person, live_server.url, look)
            for name, path in pages.items():
                if person in (adam, None) and name in opened:
                    continue  # the same page as the lead's or the annotator's
                page.goto(live_server.url + path, wait_until="networkidle")
                wrong += [f"{name} for {person} ({title}): {what}" for what in complaints(page)]
            page.context.close()
        opened |= set(pages)
    assert not wrong, "\n".join(wrong)
    # What nobody can GET is an act, not a page.
    for name in set(asked) - opened:
        client = Client()
        client.force_login(lena)
        assert client.get(asked[name]).status_code == 405, f"{name} ({asked[name]}) could not be looked at"


def is_page(client: Client, path: str) -> bool:
    response = client.get(path)
    return response.status_code == 200 and "<html" in response.content.decode(errors="ignore")[:200]
