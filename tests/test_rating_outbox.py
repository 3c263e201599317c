"""Nothing is lost on the rating page: offline, signed out, reloaded, in two tabs, and on a shared computer."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.utils import timezone
from playwright.sync_api import Browser, BrowserContext, Page, expect

from accounts.models import User
from annotations.models import Assignment, Campaign, Judgement, Revision
from tests.factories import PASSWORD
from tests.rating_browser import CHIPS, chromium, make_screen, needs_chromium, open_page, signed_in, violations

pytestmark = [pytest.mark.browser, needs_chromium, pytest.mark.django_db(transaction=True)]
KEPT = "Object.entries(localStorage).filter(([key]) => key.startsWith('medprefs:')).map(([key, value]) => key + value)"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def campaign(anna: User, ben: User) -> Campaign:
    return make_screen([anna, ben], chips=CHIPS, ideal=True)


@pytest.fixture
def complaints() -> Iterator[list[str]]:
    """What the console complained about, besides requests that were meant to fail."""
    found: list[str] = []
    yield found
    assert [line for line in found if "Failed to load resource" not in line and "htmx:" not in line] == []


@pytest.fixture
def context(browser: Browser, live_server: Any, anna: User) -> Iterator[BrowserContext]:
    context = signed_in(browser, live_server.url, anna)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, live_server: Any, campaign: Campaign, complaints: list[str]) -> Page:
    return open_page(context, live_server.url, campaign, complaints)


def answer(page: Page, reason: str = "Misses the calf.") -> None:
    """B slightly better, with a reason; submitted."""
    for key in ("b", "1", "r"):
        page.keyboard.press(key)
    page.keyboard.type(reason)
    page.keyboard.press("Control+Enter")


def kept(page: Page) -> list[str]:
    return list(page.evaluate(KEPT))


def the_one_judgement() -> Revision:
    assert Judgement.objects.count() == 1
    return Revision.objects.get()


def sign_in_again(page: Page, name: str) -> None:
    dialog = page.locator("#sign-in")
    expect(dialog).to_be_visible()
    dialog.get_by_label("Username").fill(name)
    dialog.get_by_label("Password").fill(PASSWORD)
    dialog.get_by_role("button", name="Sign in").click()


class TestOffline:
    def test_an_answer_is_sent_once_when_the_connection_is_back(self, page: Page, context: BrowserContext) -> None:
        context.set_offline(True)
        answer(page)
        expect(page.get_by_text("No connection.")).to_be_visible()
        expect(page.locator("#state")).to_have_text("Offline")
        assert violations(page) == []
        assert not Judgement.objects.exists()
        context.set_offline(False)
        expect(page.get_by_role("heading", name="Item 2")).to_be_visible()
        assert the_one_judgement().reason == "Misses the calf."
        assert kept(page) == []

    def test_only_what_was_typed_is_kept_and_never_the_case(self, page: Page, context: BrowserContext) -> None:
        page.keyboard.press("l")
        context.set_offline(True)
        page.keyboard.press("Escape")
        answer(page)
        expect(page.get_by_text("No connection.")).to_be_visible()
        (entry,) = kept(page)
        assert "Misses the calf." in entry
        for word in ("hip replacement", "Breathless", "csrf", "penicillin"):
            assert word not in entry

    def test_an_answer_survives_a_closed_tab(
        self, page: Page, context: BrowserContext, live_server: Any, campaign: Campaign, complaints: list[str]
    ) -> None:
        context.set_offline(True)
        answer(page)
        expect(page.get_by_text("No connection.")).to_be_visible()
        page.close()
        context.set_offline(False)
        again = open_page(context, live_server.url, campaign, complaints)
        expect(again.get_by_role("heading", name="Item 2")).to_be_visible()
        assert the_one_judgement().reason == "Misses the calf."
        assert kept(again) == []

    def test_an_answer_to_one_campaign_is_sent_from_the_page_of_another(
        self, page: Page, context: BrowserContext, live_server: Any, anna: User, complaints: list[str]
    ) -> None:
        context.set_offline(True)
        answer(page)
        expect(page.get_by_text("No connection.")).to_be_visible()
        page.close()
        context.set_offline(False)
        other = open_page(context, live_server.url, make_screen([anna]), complaints)
        expect(other.get_by_text("An answer that was kept in this browser has been sent.")).to_be_visible()
        expect(other.get_by_role("heading", name="Item 1 of")).to_be_visible()
        assert the_one_judgement().reason == "Misses the calf."

    def test_a_lost_reply_makes_no_second_judgement(self, page: Page) -> None:
        # The server takes the answer, but the browser never hears of it.
        def lose(route: Any) -> None:
            route.fetch(max_redirects=0)
            route.abort()

        page.route(re.compile(r"/judge/[^/]+/$"), lose, times=1)
        answer(page)
        expect(page.get_by_text("No connection.")).to_be_visible()
        assert Judgement.objects.count() == 1
        page.evaluate("window.dispatchEvent(new Event('online'))")
        expect(page.get_by_role("heading", name="Item 2")).to_be_visible()
        assert the_one_judgement().reason == "Misses the calf."

    def test_a_kept_answer_can_be_taken_back_and_changed(self, page: Page, context: BrowserContext) -> None:
        context.set_offline(True)
        answer(page)
        page.get_by_role("button", name="Change it").click()
        page.keyboard.press("e")
        page.keyboard.press("Enter")
        context.set_offline(False)
        expect(page.get_by_role("heading", name="Item 2")).to_be_visible()
        assert the_one_judgement().outcome == "tie"

    def test_a_draft_typed_offline_comes_back_with_the_page(
        self, page: Page, context: BrowserContext, live_server: Any, campaign: Campaign, complaints: list[str]
    ) -> None:
        context.set_offline(True)
        page.keyboard.press("r")
        page.keyboard.type("Half a tho")
        expect(page.locator("#state")).to_have_text("Draft kept in this browser")
        page.close()
        context.set_offline(False)
        again = open_page(context, live_server.url, campaign, complaints)
        expect(again.locator("#reason")).to_have_value("Half a tho")
        expect(again.locator("#state")).to_have_text("Draft kept")
        assert Assignment.objects.get().draft["reason"] == "Half a tho"
        assert kept(again) == []

    def test_a_harm_report_is_kept_and_sent_once(self, page: Page, context: BrowserContext) -> None:
        ids: list[str] = []

        def take(route: Any) -> None:
            ids.append(re.search(r'name="id"\s+([0-9a-f-]{36})', route.request.post_data).group(1))
            route.fulfill(status=201, json={})

        context.set_offline(True)
        page.keyboard.press("h")
        page.locator("#harm-form [name=about]").first.check()
        page.get_by_label("Severe").check()
        page.get_by_label("What could happen to the patient?").fill("Anaphylaxis.")
        page.get_by_role("button", name="Tell the lead now").click()
        expect(page.get_by_text("the report is kept in this browser")).to_be_visible()
        page.route("**/harm/", take)
        context.set_offline(False)
        expect(page.get_by_text("Your harm report has been sent")).to_be_visible()
        assert len(ids) == 1
        assert kept(page) == []


class TestSignedOut:
    def test_signing_in_on_the_page_sends_the_answer_once(self, page: Page) -> None:
        Session.objects.all().delete()
        answer(page)
        sign_in_again(page, "anna")
        expect(page.get_by_role("heading", name="Item 2")).to_be_visible()
        assert the_one_judgement().reason == "Misses the calf."
        assert kept(page) == []

    def test_a_wrong_password_is_said_and_loses_nothing(self, page: Page) -> None:
        Session.objects.all().delete()
        answer(page)
        page.locator("#sign-in").get_by_label("Password").fill("wrong")
        page.locator("#sign-in").get_by_role("button", name="Sign in").click()
        expect(page.get_by_text("That is not the right username and password.")).to_be_visible()
        assert violations(page) == []
        sign_in_again(page, "anna")
        expect(page.get_by_role("heading", name="Item 2")).to_be_visible()
        the_one_judgement()

    def test_somebody_elses_page_is_not_mixed_up(self, page: Page) -> None:
        Session.objects.all().delete()
        answer(page, "What Anna thinks.")
        sign_in_again(page, "ben")
        expect(page.get_by_text("This page belongs to anna")).to_be_visible()
        assert violations(page) == []
        page.get_by_role("button", name="Load my own page").click()
        expect(page.get_by_role("heading", name="Item 1 of")).to_be_visible()
        expect(page.locator("#reason")).to_have_value("")
        page.keyboard.press("e")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="Item 2")).to_be_visible()
        assert Judgement.objects.get().annotator.username == "ben"
        assert len(kept(page)) == 1  # Anna's waits for Anna

    def test_signing_out_asks_first_and_deletes_what_was_kept(
        self, page: Page, context: BrowserContext, live_server: Any
    ) -> None:
        context.set_offline(True)
        answer(page)
        expect(page.get_by_text("No connection.")).to_be_visible()
        page.route(re.compile(r"/judge/me/$"), lambda route: route.abort())
        context.set_offline(False)
        asked: list[str] = []
        page.on("dialog", lambda dialog: (asked.append(dialog.message), dialog.accept()))
        page.goto(live_server.url)
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        assert len(asked) == 1
        assert "has not reached the server" in asked[0]
        assert kept(page) == []


class TestTabs:
    def test_the_second_tab_is_told_and_has_a_way_on(
        self, page: Page, context: BrowserContext, live_server: Any, campaign: Campaign, complaints: list[str]
    ) -> None:
        second = open_page(context, live_server.url, campaign, complaints)
        answer(page)
        expect(page.get_by_role("heading", name="Item 2")).to_be_visible()
        second.bring_to_front()
        second.keyboard.press("e")
        second.keyboard.press("Enter")
        expect(second.get_by_text("already submitted a different answer")).to_be_visible()
        assert violations(second) == []
        second.get_by_role("link", name="Go on with the next item").click()
        expect(second.get_by_role("heading", name="Item 2")).to_be_visible()
        assert the_one_judgement().reason == "Misses the calf."

    def test_a_reload_keeps_the_draft(self, page: Page) -> None:
        with page.expect_response(re.compile("/draft/")):
            page.keyboard.press("r")
            page.keyboard.type("Wrong drug")
        page.keyboard.press("Escape")
        page.reload()
        expect(page.locator("#reason")).to_have_value("Wrong drug")

    def test_a_campaign_closed_meanwhile_is_said_and_the_text_stays(self, page: Page) -> None:
        Campaign.objects.update(closed_at=timezone.now())
        answer(page)
        expect(page.get_by_text("has been closed")).to_be_visible()
        expect(page.locator("#reason")).to_have_value("Misses the calf.")
        assert kept(page) == []
