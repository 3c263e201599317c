"""The loop as people walk it, in a real Chromium against the real server and workers, on a tiny model.

Two clinicians judge with the keyboard alone; a lead closes the campaign, freezes, trains SFT and DPO, evaluates and
reads the report. One test, because each step needs the one before; its parts are functions that say who does what.
"""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.factories import PASSWORD
from tests.loop import ROOT, Loop

CHROMIUM = shutil.which("chromium")
WAIT = 120_000  # milliseconds; training shares two cores with everything else
N_TRAIN, N_TEST = 6, 4

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM, reason="Debian's chromium is not installed, so no browser test can run"),
]

CONFIG = """
title = "Coughs"
instructions = "Which summary is **safer**?"
[[criteria]]
name = "faithful"
title = "Faithful"
question = "Is it true?"
anchors = ["no", "hardly", "partly", "mostly", "yes"]
"""


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loop]:
    """A study with cases, people and a tiny model; the server and both workers run."""
    loop = Loop(tmp_path_factory.mktemp("browser"))
    model = loop.data_dir / "tiny"
    build = f"from pathlib import Path; from training.recipes.tiny import build; build(Path({str(model)!r}))"
    subprocess.run([sys.executable, "-c", build], cwd=ROOT, check=True)
    people = "import json; from accounts.models import User; "
    people += f"[User.objects.create_user(n, password={PASSWORD!r}) for n in ('lena', 'anna', 'ben')]; "
    loop.shell(people + "print(json.dumps('made'))")
    (loop.data_dir / "study.toml").write_text(CONFIG)
    loop.run("create_study", "coughs", "--task", "summarisation", "--config", str(loop.data_dir / "study.toml"))
    for name, role in (("lena", "lead"), ("anna", "annotator"), ("ben", "annotator")):
        loop.run("add_member", "coughs", name, "--role", role)
    loop.run("add_model", "tiny", "--path", str(model))
    loop.start_workers()
    yield loop
    loop.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def complaints() -> Iterator[list[str]]:
    """What the browser's console complained about, a broken content security policy above all."""
    found: list[str] = []
    yield found
    assert found == []


def sign_in(browser: Browser, url: str, name: str, complaints: list[str]) -> Page:
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.set_default_timeout(20_000)
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{url}/accounts/sign-in/")
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    return page


def write_cases(path: Path) -> Path:
    with path.open("w") as file:
        for i in range(N_TRAIN + 2 + N_TEST):
            split = "train" if i < N_TRAIN else "validation" if i < N_TRAIN + 2 else "test"
            text = f"Patient {i} coughs since day {i}. No fever. Takes {i + 1} tablets a day."
            row = {"external_id": f"c{i}", "text": text, "reference": f"Cough, day {i}.", "split": split}
            file.write(json.dumps(row) + "\n")
    return path


def lead_imports_and_generates(page: Page, url: str, cases: Path) -> None:
    page.goto(f"{url}/s/coughs/cases/import/")
    expect(page.get_by_text(re.compile("identif", re.IGNORECASE)).first).to_be_visible()
    page.get_by_label("File").set_input_files(cases)
    page.get_by_role("button", name=re.compile("^Import")).click()
    expect(page.get_by_role("link", name="c0", exact=True)).to_be_visible()
    page.goto(f"{url}/s/coughs/completions/")
    page.get_by_label("Model", exact=True).select_option(label="tiny")
    page.get_by_label("Split").select_option("train")
    page.get_by_label("Completions a case").fill("2")
    page.get_by_label("Temperature").fill("1")
    page.get_by_label("Longest answer, in tokens").fill("8")
    page.get_by_role("button", name="Generate").click()
    expect(page.get_by_text("Succeeded").first).to_be_visible(timeout=WAIT)


def lead_plans_a_comparison(page: Page, url: str) -> None:
    page.goto(f"{url}/s/coughs/campaigns/new/")
    page.get_by_label("Name", exact=True).fill("First round")
    page.get_by_label("tiny").check()
    page.get_by_label("anna").check()
    page.get_by_label("ben").check()
    page.get_by_label("Cases of the split").select_option("train")
    page.get_by_text("Overlap and consensus").click()
    page.get_by_label("Annotators an item").fill("2")
    page.get_by_role("button", name="Start the campaign").click()
    expect(page.get_by_role("heading", name="First round")).to_be_visible()


def clinician_judges_with_the_keyboard(page: Page, url: str, keys: list[list[str]]) -> None:
    """Every item with single keys only, no pointer; the last key submits and the next item comes without a load."""
    page.goto(url)
    page.get_by_role("link", name=re.compile("Judge|Continue")).first.click()
    for number, pressed in enumerate(keys, 1):
        expect(page.get_by_role("heading", name=f"Item {number} of")).to_be_visible()
        assert "tiny" not in page.content(), "the page names the model"
        for key in pressed:
            page.keyboard.press(key)
        page.keyboard.press("Enter")
    expect(page.get_by_text(re.compile("nothing left|all done|Thank you", re.IGNORECASE)).first).to_be_visible()


def a_phone_shows_more_text_than_buttons(page: Page, url: str) -> None:
    """The panel leaves at least 55 % of a phone's screen to what is read, whatever is chosen."""
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(url)
    page.get_by_role("link", name=re.compile("Judge|Continue")).first.click()
    expect(page.get_by_role("radio", name="slightly")).to_be_hidden()
    for key in ("e", "a", "1"):
        page.keyboard.press(key)
        assert page.locator(".reading").evaluate("box => box.getBoundingClientRect().height") >= 0.55 * 844
    expect(page.get_by_role("radio", name="slightly")).to_be_checked()
    page.set_viewport_size({"width": 1280, "height": 900})


def lead_trains(page: Page, url: str) -> None:
    page.goto(f"{url}/s/coughs/campaigns/")
    page.get_by_role("link", name="First round").click()
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Close the campaign").click()
    expect(page.get_by_role("button", name="Reopen")).to_be_visible()
    for kind, method in (("SFT: examples", "sft"), ("preference: chosen", "dpo")):
        page.goto(f"{url}/s/coughs/training/datasets/new/")
        page.get_by_label(re.compile(kind)).check()
        page.get_by_role("button", name="Freeze", exact=True).click()
        expect(page.get_by_text("SHA-256").first).to_be_visible()
        page.goto(f"{url}/s/coughs/training/runs/new/?method={method}")
        page.get_by_label("Name").fill(f"tiny-{method}")
        page.get_by_text(re.compile("^Settings")).click()
        page.get_by_label("max_steps").fill("4")
        # So much that even the likeliest words of a tiny model change: arms that write the same can't be compared.
        page.get_by_label("learning_rate").fill("0.05")
        page.get_by_role("button", name="Queue the run").click()
        # The page follows the run by itself.
        expect(page.locator("#run-live .badge-succeeded").first).to_be_visible(timeout=WAIT)
        assert page.get_by_role("img", name=re.compile("loss", re.IGNORECASE)).count() >= 1
    expect(page.get_by_text(re.compile("0.693")).first).to_be_visible()


def lead_evaluates(page: Page, url: str) -> None:
    page.goto(f"{url}/s/coughs/results/")
    page.get_by_role("link", name="Decide and lock the plan").click()
    choose_arms(page)
    page.get_by_label("Primary metric").select_option("win_rate")
    page.get_by_label(re.compile("I have not seen any result")).check()
    page.get_by_role("button", name="Lock the plan").click()
    page.get_by_role("link", name="Start an evaluation").click()
    choose_arms(page)
    page.get_by_role("button", name="Start").click()
    link = page.get_by_role("link", name=re.compile("blind", re.IGNORECASE)).first
    expect(link).to_be_visible(timeout=WAIT)
    link.click()
    page.get_by_label("Name", exact=True).fill("Blind re-test")
    page.get_by_label(re.compile("^Comparison")).check()
    page.get_by_label("anna").check()
    page.get_by_label("ben").check()
    page.get_by_role("button", name="Start the campaign").click()
    expect(page.get_by_text("Blind re-test").first).to_be_visible()


def choose_arms(page: Page) -> None:
    for label, name in (("First arm", "tiny"), ("Arm 2", "tiny-sft"), ("Arm 3", "tiny-dpo")):
        page.get_by_label(re.compile(label)).select_option(name)


def lead_closes(page: Page, url: str, name: str) -> None:
    """Results by arm of an open campaign would take a logged unblinding."""
    page.goto(f"{url}/s/coughs/campaigns/")
    page.get_by_role("link", name=name).click()
    page.get_by_role("button", name="Close the campaign").click()
    expect(page.get_by_text("Nothing more can be submitted").first).to_be_visible()


def lead_reads_the_report(page: Page, url: str) -> None:
    page.goto(f"{url}/s/coughs/results/reports/new/")
    page.get_by_role("button", name="Make the report").click()
    expect(page.get_by_role("heading", name=re.compile("Agreement", re.IGNORECASE)).first).to_be_visible(timeout=60_000)
    text = page.inner_text("main")
    for name in ("tiny-sft", "tiny-dpo", "Blind re-test", "First round"):
        assert name in text
    # decode() waits for what is still on its way, and fails for what is no picture.
    broken = page.evaluate(
        "Promise.all([...document.images].map(image => {"
        " image.loading = 'eager'; return image.decode().then(() => '', () => image.src) }))"
        ".then(found => found.filter(Boolean))"
    )
    assert broken == []


def test_the_loop_from_sign_in_to_report(loop: Loop, browser: Browser, tmp_path: Path, complaints: list[str]) -> None:
    url = loop.start_web()
    lena = sign_in(browser, url, "lena", complaints)
    anna = sign_in(browser, url, "anna", complaints)
    ben = sign_in(browser, url, "ben", complaints)
    lead_imports_and_generates(lena, url, write_cases(tmp_path / "cases.jsonl"))
    lead_plans_a_comparison(lena, url)
    a_phone_shows_more_text_than_buttons(ben, url)
    preferences = [["a", "1"], ["b", "2"], ["a", "2"], ["e"], ["b", "1"], ["a", "2"]]
    clinician_judges_with_the_keyboard(anna, url, preferences)
    clinician_judges_with_the_keyboard(ben, url, [["n"], ["b", "2"], ["a", "1"], ["a", "2"], ["b", "1"], ["c", "1"]])
    lead_trains(lena, url)
    lead_evaluates(lena, url)
    n_items = int(
        loop.shell(
            "import json; from annotations.models import Item; "
            "print(json.dumps(Item.objects.filter(campaign__name='Blind re-test').count()))"
        )
    )
    assert n_items > 0, "the three arms all wrote the same"
    for person in (anna, ben):
        clinician_judges_with_the_keyboard(person, url, [["a", "2"]] * n_items)
    lead_closes(lena, url, "Blind re-test")
    lead_reads_the_report(lena, url)
    for person in (anna, ben):
        response = person.goto(f"{url}/s/coughs/results/")
        assert response is not None
        assert response.status == 403
    complaints[:] = [line for line in complaints if "403" not in line]
