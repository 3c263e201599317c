"""The pictures of the README, from a running demo (`make demo` in another terminal, until it says Ready).

    python -m docs.screenshots [--url http://127.0.0.1:8000] [--out docs/screenshots] [--all]

The rating page, a run and the report at 1440, 1024 and 390 pixels; with --all every page a lead, a clinician or an
admin sees, for looking at them.
"""

import argparse
import re
import shutil
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from demo.environment import data_dir

WIDTHS = {1440: 900, 1024: 768, 390: 844}


def sign_in(browser: Browser, url: str, name: str, width: int) -> Page:
    page = browser.new_page(viewport={"width": width, "height": WIDTHS[width]})
    page.goto(f"{url}/accounts/sign-in/")
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(password())
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="Sign out").wait_for()
    return page


def password() -> str:
    found = re.search(r"^DEMO_PASSWORD=(\S+)$", (data_dir() / "env").read_text(), re.MULTILINE)
    if not found:
        raise SystemExit(f"{data_dir() / 'env'} holds no DEMO_PASSWORD. Start `make demo` first.")
    return found[1]


def first_link(page: Page, url: str, path: str, pattern: str) -> str:
    """The first link of a page whose address matches."""
    page.goto(url + path)
    for link in page.get_by_role("link").all():
        if re.fullmatch(pattern, address := link.get_attribute("href") or ""):
            return address
    raise SystemExit(f"{path} has no link like {pattern}. Wait until the demo says Ready.")


def pages_for(lead: Page, clinician: Page, url: str, *, everything: bool) -> list[tuple[str, str, str]]:
    """(person, path, name of the picture)"""
    judge = first_link(clinician, url, "/", r"/judge/[^/]+/")
    run = first_link(lead, url, "/s/example/training/", r"/s/example/training/runs/\d+/")
    report = first_link(lead, url, "/s/example/results/", r"/s/example/results/reports/\d+/")
    wanted = [("anna", judge, "judge"), ("lena", run, "run"), ("lena", report, "report")]
    if everything:
        evaluation = first_link(lead, url, "/s/example/results/", r"/s/example/results/evaluations/\d+/")
        dataset = first_link(lead, url, "/s/example/training/", r"/s/example/training/datasets/\d+/")
        campaign = first_link(lead, url, "/s/example/campaigns/", r"/s/example/campaigns/[0-9a-f-]{36}/")
        case = first_link(lead, url, "/s/example/cases/", r"/s/example/cases/\d+/")
        for name, path in {"evaluation": evaluation, "dataset": dataset, "campaign": campaign, "case": case}.items():
            wanted.append(("lena", path, name))
        wanted += [("anna", "/", "home"), ("anna", f"{judge}history/", "history"), ("lena", "/", "home-lead")]
        tabs = ("", "cases/", "cases/import/", "completions/", "campaigns/", "campaigns/new/", "training/", "people/")
        tabs += ("training/datasets/new/", "training/runs/new/", "results/", "results/plan/", "results/reports/new/")
        wanted += [("lena", f"/s/summaries/{tab}", tab.strip("/").replace("/", "-") or "study") for tab in tabs]
        wanted += [("adam", "/s/new/", "study-new"), ("adam", "/models/", "models")]
    return wanted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "screenshots")
    parser.add_argument("--all", action="store_true", help="every page, not only the README's")
    options = parser.parse_args()
    chromium = shutil.which("chromium")
    if not chromium:
        raise SystemExit("chromium is not installed; `make browser` installs it where it can.")
    options.out.mkdir(parents=True, exist_ok=True)
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        for width in WIDTHS:
            people = {name: sign_in(browser, options.url, name, width) for name in ("anna", "lena", "adam")}
            wanted = pages_for(people["lena"], people["anna"], options.url, everything=options.all)
            for person, path, name in wanted:
                page = people[person]
                page.goto(options.url + path)
                page.wait_for_load_state("networkidle")
                target = options.out / f"{name}-{width}.png"
                page.screenshot(path=target)
                print(target)
        browser.close()


if __name__ == "__main__":
    main()
