"""What the tests of the rating screen share: a study with texts worth looking at, and a browser that is signed in."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.conf import settings
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from accounts.models import User
from annotations.models import Campaign, Study
from tests.factories import join, make_campaign, make_cases, make_completion, make_study

CHROMIUM = shutil.which("chromium")
needs_chromium = pytest.mark.skipif(
    not CHROMIUM, reason="Debian's chromium is not installed, so no browser test can run"
)
WAIT = 60_000  # milliseconds; a busy machine is slow, and a failure waits only once
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
SIZES = {"desk": (1440, 900), "tablet": (1024, 768), "upright": (768, 1024), "phone": (390, 844)}
CHIPS = ["invents a finding", "leaves out a drug", "wrong dose", "unsafe advice"]
SOURCE = (
    "68-year-old woman, two days after a hip replacement. Since this morning short of breath, with a stabbing pain on "
    "the right that is worse on breathing in. Temp 37.4, pulse 112, blood pressure 108/64, saturation 91 % on air. "
    "Left calf 3 cm thicker than the right. Enoxaparin was paused on the day of the operation because of bleeding.\n\n"
    "Allergy: penicillin (rash). Takes ramipril 5 mg, metformin 1 g b.i.d., and simvastatin 20 mg at night."
)
A = (
    "**Likely pulmonary embolism** two days after a hip replacement.\n\n- Breathless, stabbing pain on the right\n"
    "- Pulse 112, saturation 91 % on air\n- Left calf swollen by 3 cm\n\nStart low-molecular-weight heparin now. "
    "Arrange a CT pulmonary angiogram today."
)
B = (
    "**Probable chest infection** after a hip replacement.\n\n- Breathless, stabbing pain on the right\n"
    "- Temp 37.4, pulse 112, saturation 91 % on air\n\nStart amoxicillin 1 g three times a day. "
    "Take a chest film today and review tomorrow. No change to her other drugs."
)
EVERYTHING = {"chips": CHIPS, "marks": True, "ideal": True}


@contextmanager
def chromium() -> Iterator[Browser]:
    """A real Chromium. Playwright's event loop runs in this thread; Django would take that for asynchronous code."""
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        patch.setitem(os.environ, "DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        expect.set_options(timeout=WAIT)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def violations(page: Page) -> list[str]:
    """What axe-core finds wrong on the page as it is, serious or not."""
    found = Axe().run(page).response["violations"]
    return [f"{rule['id']}: {node['html'][:120]}" for rule in found for node in rule["nodes"]]


def make_screen(
    people: list[User],
    kind: str = "comparison",
    *,
    n: int = 3,
    criteria: bool = False,
    study: Study | None = None,
    **rubric: Any,
) -> Campaign:
    """A campaign of one kind with readable texts; ``rubric``: what its page asks for besides."""
    task = {"label": "triage", "correctness": "reasoning"}.get(kind, "summarisation")
    study = study or make_study(task, title="Ward letters", synthetic=True)
    for person in people:
        join(study, person, "annotator")
    campaign = make_campaign(study, people, kind=kind, cases=[], name=f"Round {Campaign.objects.count() + 1}")
    with_criteria = study.criteria if criteria or kind == "likert" else []
    campaign.rubric = campaign.rubric | {"criteria": with_criteria, "instructions": "Which one is **safer**?"} | rubric
    campaign.save()
    models = list(campaign.models.order_by("name"))
    for position, case in enumerate(make_cases(study, n, inputs={"text": SOURCE})):
        a = make_completion(case, models[0], A) if kind != "label" else None
        b = make_completion(case, models[1], B) if kind == "comparison" else None
        campaign.items.create(case=case, completion_a=a, completion_b=b, position=position, overlap=len(people))
    return campaign


def signed_in(browser: Browser, url: str, user: User, **options: Any) -> BrowserContext:
    """A browser of its own in which ``user`` is signed in."""
    client = Client()
    client.force_login(user)
    context = browser.new_context(viewport={"width": 1440, "height": 900}, **options)
    value = client.cookies[settings.SESSION_COOKIE_NAME].value
    context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": value, "url": url}])
    context.set_default_timeout(WAIT)
    return context


def open_page(context: BrowserContext, url: str, campaign: Campaign, complaints: list[str]) -> Page:
    """The rating page; what its console complains about goes to ``complaints``."""
    page = context.new_page()
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{url}/judge/{campaign.public_id}/")
    return page
