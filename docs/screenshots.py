"""Pictures of a running demo (`make demo` in another terminal, until it says Ready), for looking at them critically.

    python -m docs.screenshots [--url http://127.0.0.1:8000] [--out var/screenshots] [--all]

The rating page of each kind of item, a campaign's board, a run and the report at 1440, 1024 and 390 pixels, in light
and dark colours; with --all every page a lead, a clinician or an admin sees. The README's pictures are made on the way.
"""

import argparse
import itertools
import re
import shutil
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from demo.environment import data_dir

WIDTHS = {1440: 900, 1024: 768, 390: 844}
README = ("judge-comparison", "board", "run", "report")


def sign_in(browser: Browser, url: str, name: str, width: int, colours: str) -> Page:
    size = {"width": width, "height": WIDTHS[width]}
    page = browser.new_page(viewport=size, color_scheme=colours)
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


def judging(clinician: Page, url: str) -> dict[str, str]:
    """{kind: address} of the campaigns the clinician can judge, one of each kind."""
    clinician.goto(url)
    found: dict[str, str] = {}
    addresses = [link.get_attribute("href") or "" for link in clinician.get_by_role("link").all()]
    for address in dict.fromkeys(a for a in addresses if re.fullmatch(r"/judge/[^/]+/", a)):
        clinician.goto(url + address)
        sheet = clinician.locator("#answer")
        if sheet.count():
            found.setdefault(sheet.get_attribute("data-kind") or "", address)
    return found


def pages_for(lead: Page, clinician: Page, url: str, *, everything: bool) -> list[tuple[str, str, str]]:
    """(person, path, name of the picture)"""
    wanted = [("anna", address, f"judge-{kind}") for kind, address in judging(clinician, url).items()]
    run = first_link(lead, url, "/s/example/training/", r"/s/example/training/runs/\d+/")
    report = first_link(lead, url, "/s/example/results/", r"/s/example/results/reports/\d+/")
    campaign = first_link(lead, url, "/s/example/campaigns/", r"/s/example/campaigns/[0-9a-f-]{36}/")
    wanted += [("lena", run, "run"), ("lena", report, "report"), ("lena", campaign, "board")]
    if everything:
        evaluation = first_link(lead, url, "/s/example/results/", r"/s/example/results/evaluations/\d+/")
        dataset = first_link(lead, url, "/s/example/training/", r"/s/example/training/datasets/\d+/")
        case = first_link(lead, url, "/s/example/cases/", r"/s/example/cases/\d+/")
        for name, path in {"evaluation": evaluation, "dataset": dataset, "case": case}.items():
            wanted.append(("lena", path, name))
        wanted += [("lena", f"{campaign}{page}/", f"board-{page}") for page in ("steer", "rubric", "adjudication")]
        wanted += [("anna", "/", "home"), ("anna", f"{wanted[0][1]}history/", "history"), ("lena", "/", "home-lead")]
        wanted += [("anna", "/judge/keys/", "keys")]
        tabs = ("", "cases/", "cases/import/", "completions/", "campaigns/", "campaigns/new/", "planner/", "harm/")
        tabs += ("people/", "training/", "training/datasets/new/", "training/runs/new/")
        tabs += ("results/", "results/plan/", "results/reports/new/")
        wanted += [("lena", f"/s/summaries/{tab}", tab.strip("/").replace("/", "-") or "study") for tab in tabs]
        wanted += [("adam", "/s/new/", "study-new"), ("adam", "/models/", "models")]
    return wanted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--out", type=Path, default=data_dir() / "screenshots")
    parser.add_argument("--all", action="store_true", help="every page")
    options = parser.parse_args()
    chromium = shutil.which("chromium")
    if not chromium:
        raise SystemExit("chromium is not installed; `make browser` installs it where it can.")
    options.out.mkdir(parents=True, exist_ok=True)
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        for colours, width in itertools.product(("light", "dark"), WIDTHS):
            people = {name: sign_in(browser, options.url, name, width, colours) for name in ("anna", "lena", "adam")}
            wanted = pages_for(people["lena"], people["anna"], options.url, everything=options.all)
            for person, path, name in wanted:
                page = people[person]
                page.goto(options.url + path)
                page.wait_for_load_state("networkidle")
                # Open on the first item, and over the texts.
                page.evaluate("document.querySelector('#instructions')?.removeAttribute('open')")
                target = options.out / f"{name}-{width}-{colours}.png"
                page.screenshot(path=target)
                print(target)
                if name in README and (width, colours) == (1440, "light"):
                    shutil.copy(target, Path(__file__).parent / "screenshots" / f"{name}-1440.png")
        browser.close()


if __name__ == "__main__":
    main()
