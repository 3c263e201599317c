"""The rating screen in a real Chromium: every key, every layout, no violation of accessibility rules, no complaint."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.utils import timezone
from playwright.sync_api import Browser, Page, expect

from accounts.models import User
from annotations import keys
from annotations.models import Assignment, Judgement, Revision
from tests.factories import make_user
from tests.rating_browser import (
    CHIPS,
    EVERYTHING,
    SIZES,
    chromium,
    make_screen,
    needs_chromium,
    open_page,
    signed_in,
    violations,
)

pytestmark = [pytest.mark.browser, needs_chromium, pytest.mark.django_db(transaction=True)]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def complaints() -> Iterator[list[str]]:
    """What the console complained about, a broken content security policy above all."""
    found: list[str] = []
    yield found
    assert [line for line in found if "status of 4" not in line] == []


@pytest.fixture
def screen(browser: Browser, live_server: Any, anna: User, complaints: list[str]) -> Iterator[Callable[..., Page]]:
    """Opens the rating page of a new campaign, with everything a comparison can ask for unless told otherwise."""
    context = signed_in(browser, live_server.url, anna)

    def opened(kind: str = "comparison", **options: Any) -> Page:
        options = options or ({"criteria": True, **EVERYTHING} if kind == "comparison" else {})
        page = open_page(context, live_server.url, make_screen([anna], kind, **options), complaints)
        close_instructions(page)
        return page

    yield opened
    context.close()


def close_instructions(page: Page) -> None:
    page.locator("#instructions summary").click()
    page.locator("#item-title").focus()


def checked(page: Page, name: str) -> str:
    return str(page.evaluate("name => document.querySelector(`#answer [name='${name}']:checked`)?.value || ''", name))


def press(page: Page, *pressed: str) -> None:
    for key in pressed:
        page.keyboard.press(key)


def is_open(page: Page, selector: str) -> bool:
    return bool(page.locator(selector).evaluate("element => element.open"))


# One check for each action: a new action without one fails.
def chooses(name: str, value: str) -> Callable[[Page, str], None]:
    def check(page: Page, key: str) -> None:
        press(page, key)
        assert checked(page, name) == value

    return check


def answers_point(n: int) -> Callable[[Page, str], None]:
    """A scale of nine points: the key answers, and the next question is marked."""

    def check(page: Page, key: str) -> None:
        press(page, key)
        assert checked(page, "value-faithful") == str(n)
        expect(page.locator("[data-question]").nth(1)).to_be_focused()

    return check


def presses(selector: str) -> Callable[[Page, str], None]:
    def check(page: Page, key: str) -> None:
        expect(page.locator(selector)).to_have_attribute("aria-pressed", "false")
        press(page, key)
        expect(page.locator(selector)).to_have_attribute("aria-pressed", "true")
        press(page, key)
        expect(page.locator(selector)).to_have_attribute("aria-pressed", "false")

    return check


def opens(selector: str) -> Callable[[Page, str], None]:
    def check(page: Page, key: str) -> None:
        assert not is_open(page, selector)
        press(page, key)
        assert is_open(page, selector)

    return check


def focuses(selector: str) -> Callable[[Page, str], None]:
    def check(page: Page, key: str) -> None:
        press(page, key)
        expect(page.locator(selector).first).to_be_focused()

    return check


def both(*checks: Callable[[Page, str], None]) -> Callable[[Page, str], None]:
    """The first check presses the key; the others look with a key that does nothing."""

    def check(page: Page, key: str) -> None:
        checks[0](page, key)
        for one in checks[1:]:
            one(page, "F9")

    return check


def goes_on(page: Page, key: str) -> None:
    press(page, key)
    expect(page.locator("[data-question]").nth(1)).to_be_focused()


def goes_back(page: Page, key: str) -> None:
    press(page, "j", key)
    expect(page.locator("[data-question]").nth(0)).to_be_focused()


def submits(page: Page, key: str) -> None:
    press(page, "d", key)
    expect(page.get_by_role("heading", name="Item 2")).to_be_visible()


def takes_back(page: Page, key: str) -> None:
    press(page, "d", "Enter")
    expect(page.locator("#undo-form")).to_be_visible()
    press(page, key)
    expect(page.get_by_text("Undone.")).to_be_visible()
    assert checked(page, "choice") == "defective"


def flags(page: Page, key: str) -> None:
    press(page, key)
    assert checked(page, "flagged") == "1"
    press(page, key)
    assert checked(page, "flagged") == ""


def folds_source(page: Page, key: str) -> None:
    press(page, key)
    expect(page.locator("#source-body")).to_be_hidden()
    press(page, key)
    expect(page.locator("#source-body")).to_be_visible()


def moves_source(page: Page, key: str) -> None:
    assert source_is(page) == "left"
    press(page, key)
    assert source_is(page) == "top"
    press(page, key)
    assert source_is(page) == "left"


def source_is(page: Page) -> str:
    source, output = (page.locator(f".pane-{name}").first.bounding_box() for name in ("source", "output"))
    assert source
    assert output
    return "left" if source["x"] + source["width"] <= output["x"] else "top"


def turns_view(page: Page, key: str) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    seen = []
    for _ in range(5):
        seen.append([page.locator(".pane").nth(n).is_visible() for n in range(3)])
        press(page, key)
    assert seen == [[1, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 1]]


CHECKS: dict[str, Callable[[Page, str], None]] = {
    **{f"point_{n}": answers_point(n) for n in range(1, keys.POINTS + 1)},
    "next": goes_on,
    "previous": goes_back,
    "prefer_left": chooses("choice", "left"),
    "prefer_right": chooses("choice", "right"),
    "tie": chooses("choice", "tie"),
    "both_unacceptable": chooses("choice", "both_unacceptable"),
    "cannot_judge": both(
        chooses("choice", "cannot_judge"), lambda page, _: expect(page.locator(".why-not")).to_be_visible()
    ),
    "defective": chooses("choice", "defective"),
    "submit": submits,
    "chips": focuses("#chips input"),
    "reason": focuses("#reason"),
    "flag": flags,
    "skip": both(opens("#skip"), focuses("#skip_reason")),
    "harm": opens("#harm"),
    "undo": takes_back,
    "mark": both(focuses(".marking select"), lambda page, _: expect(page.locator(".sentences")).to_have_count(2)),
    "ideal": both(opens("#ideal"), focuses("#ideal_text")),
    "difference": presses("#show-difference"),
    "plain": presses("#show-plain"),
    "together": presses("#scroll-together"),
    "source": folds_source,
    "place": moves_source,
    "view": turns_view,
    "instructions": opens("#instructions"),
    "pause": opens("#paused"),
    "help": opens("#keys"),
}


@pytest.mark.parametrize("action", keys.ACTIONS, ids=lambda action: action.name)
def test_every_key_does_what_it_says(screen: Callable[..., Page], anna: User, action: keys.Action) -> None:
    if action.name.startswith("point_"):
        names = [f"anchor {n}" for n in range(1, 10)]
        criteria = [
            {"name": n, "title": n.title(), "question": "?", "anchors": names} for n in ("faithful", "complete")
        ]
        page = screen("likert", chips=CHIPS)
        Assignment.objects.get().item.campaign.__class__.objects.update(
            rubric={**Assignment.objects.get().item.campaign.rubric, "criteria": criteria}
        )
        page.reload()
        close_instructions(page)
    else:
        page = screen()
    CHECKS[action.name](page, "Enter" if action.key == keys.ENTER else action.key)


class TestKeys:
    def test_the_keys_are_printed_on_their_controls(self, screen: Callable[..., Page], anna: User) -> None:
        anna.shortcuts = {"keys": {"tie": "q", "submit": "x", "place": "enter"}}
        anna.save()
        page = screen()
        expect(page.locator('[data-action="tie"] kbd')).to_have_text("Q")
        expect(page.locator("#submit kbd")).to_have_text("X")
        press(page, "e")
        assert checked(page, "choice") == ""
        press(page, "q")
        assert checked(page, "choice") == "tie"
        press(page, "d", "x")
        expect(page.get_by_role("heading", name="Item 2")).to_be_visible()

    def test_a_person_changes_keys_and_a_collision_is_refused_by_name(
        self, screen: Callable[..., Page], anna: User
    ) -> None:
        page = screen()
        press(page, "?")
        page.get_by_role("link", name="Change the keys").click()
        page.get_by_label("Tie, both good").fill("h")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_text("“H” is also the key of “Report harm”")).to_be_visible()
        expect(page.get_by_text("“H” is also the key of “Tie, both good”")).to_be_visible()
        assert violations(page) == []
        page.get_by_label("Report harm").fill("o")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_text("Saved.")).to_be_visible()
        anna.refresh_from_db()
        assert anna.shortcuts["keys"] == {"tie": "h", "harm": "o"}

    def test_keys_are_off_for_who_turns_them_off_and_stay_off(self, screen: Callable[..., Page], anna: User) -> None:
        page = screen()
        press(page, "?")
        with page.expect_response("**/judge/layout/"):
            page.get_by_label("Single keys work on this page").uncheck()
        press(page, "Escape", "e")
        assert checked(page, "choice") == ""
        expect(page.locator('[data-action="tie"] kbd')).to_be_hidden()
        page.reload()
        press(page, "e")
        assert checked(page, "choice") == ""
        anna.refresh_from_db()
        assert anna.shortcuts == {"off": True}

    def test_typing_is_no_command(self, screen: Callable[..., Page]) -> None:
        page = screen()
        press(page, "r")
        page.keyboard.type("aebnd sh? 12")
        assert page.locator("#reason").input_value() == "aebnd sh? 12"
        assert checked(page, "choice") == ""
        press(page, "Escape", "e")
        assert checked(page, "choice") == "tie"

    def test_the_row_of_digits_of_a_french_keyboard_answers(self, screen: Callable[..., Page]) -> None:
        page = screen("likert", chips=CHIPS)
        page.evaluate(
            "document.body.dispatchEvent(new KeyboardEvent('keydown', {key: '\"', code: 'Digit3', bubbles: true}))"
        )
        assert checked(page, "value-faithful") == "3"
        # A letter goes by what it writes: where an English keyboard has Q, a French one writes A.
        page = screen()
        page.evaluate(
            "document.body.dispatchEvent(new KeyboardEvent('keydown', {key: 'a', code: 'KeyQ', bubbles: true}))"
        )
        assert checked(page, "choice") == "left"

    def test_keys_wait_while_an_answer_is_on_its_way(self, screen: Callable[..., Page]) -> None:
        page = screen(chips=CHIPS)
        held: list[Any] = []
        page.route(re.compile(r"/judge/[^/]+/$"), lambda route: held.append(route), times=1)
        press(page, "e", "Enter", "n", "Enter")
        expect(page.locator("#state")).to_have_text("Saving…")
        assert checked(page, "choice") == "tie"
        assert len(held) == 1
        held[0].continue_()
        expect(page.get_by_role("heading", name="Item 2")).to_be_visible()
        assert Judgement.objects.count() == 1

    def test_strength_and_reasons_are_answered_by_digits(self, screen: Callable[..., Page]) -> None:
        page = screen(chips=CHIPS)
        press(page, "b", "2")
        assert (checked(page, "choice"), checked(page, "strength")) == ("right", "clearly")
        press(page, "c", "2")
        assert (checked(page, "choice"), checked(page, "cannot_judge")) == ("cannot_judge", "outside_my_field")

    def test_criteria_come_first_and_the_choice_last(self, screen: Callable[..., Page]) -> None:
        page = screen()
        press(page, "1", "5", "a", "1", "g", "Space")
        assert checked(page, "value-faithful") == "1"
        assert checked(page, "value-complete") == "5"
        assert (checked(page, "strength"), checked(page, "chips")) == ("slightly", CHIPS[0])

    def test_points_given_again_go_down_the_criteria_when_all_are_answered(self, screen: Callable[..., Page]) -> None:
        page = screen("likert", chips=CHIPS)
        press(page, "2", "2")
        page.locator("[data-question]").first.focus()
        press(page, "1", "4")
        assert (checked(page, "value-faithful"), checked(page, "value-complete")) == ("1", "4")

    def test_a_skip_by_keys_puts_the_item_aside_and_submits_nothing(self, screen: Callable[..., Page]) -> None:
        page = screen(chips=CHIPS)
        press(page, "1", "5", "e", "s")
        page.keyboard.type("not my field")
        press(page, "Enter")
        expect(page.get_by_text("Skipped.")).to_be_visible()
        skipped = Assignment.objects.get(skipped_at__isnull=False)
        assert (skipped.skip_reason, skipped.submitted_at) == ("not my field", None)

    def test_forty_items_are_judged_without_the_mouse(self, screen: Callable[..., Page]) -> None:
        page = screen(n=40)
        answers = [["a", "1"], ["b", "2"], ["e"], ["n"], ["c", "1"], ["d"], ["a", "2", "f"], ["b", "1", "r"]]
        for number in range(40):
            expect(page.get_by_role("heading", name=f"Item {number + 1} of")).to_be_visible()
            pressed = answers[number % len(answers)]
            press(page, *pressed)
            if pressed[-1] == "r":
                page.keyboard.type("Leaves out the calf.")
                press(page, "Control+Enter")
            else:
                press(page, "Enter")
        expect(page.get_by_text("All done")).to_be_visible()
        assert Judgement.objects.count() == 40
        assert Revision.objects.filter(reason="Leaves out the calf.").count() == 5


class TestReading:
    @pytest.mark.parametrize(
        ("size", "chosen", "place"),
        [
            ("desk", "", "left"),
            ("desk", "top", "top"),
            ("tablet", "", "left"),
            ("tablet", "top", "top"),
            ("upright", "", "top"),
            ("upright", "left", "left"),
        ],
    )
    def test_the_source_stands_where_it_fits_or_where_it_was_put(
        self, screen: Callable[..., Page], anna: User, size: str, chosen: str, place: str
    ) -> None:
        anna.shortcuts = {"source": chosen} if chosen else {}
        anna.save()
        page = screen()
        page.set_viewport_size(dict(zip(("width", "height"), SIZES[size], strict=True)))  # type: ignore[arg-type]
        assert source_is(page) == place
        a, b = (page.locator(".pane-output").nth(n).bounding_box() for n in (0, 1))
        assert a
        assert b
        assert abs(a["width"] - b["width"]) < 1
        assert a["y"] == b["y"]
        expect(page.locator("#submit")).to_be_in_viewport(ratio=1)

    @pytest.mark.parametrize("kind", ["comparison", "likert", "label", "correctness"])
    def test_a_phone_shows_more_text_than_buttons(self, screen: Callable[..., Page], kind: str) -> None:
        page = screen(kind)
        page.set_viewport_size({"width": 390, "height": 844})
        assert page.locator(".reading").evaluate("box => box.getBoundingClientRect().height") >= 0.55 * 844
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        expect(page.locator("#submit")).to_be_in_viewport(ratio=1)

    def test_words_that_differ_are_marked_in_both_alike(self, screen: Callable[..., Page]) -> None:
        page = screen(chips=CHIPS)
        press(page, "w")
        words = [page.locator(".pane-output").nth(n).locator("mark").all_inner_texts() for n in (0, 1)]
        assert any("pulmonary embolism" in word for word in words[0] + words[1])
        assert any("amoxicillin" in word for word in words[0] + words[1])
        assert not any("Breathless" in word for word in words[0] + words[1])
        expect(page.locator(".as-read").first).to_be_hidden()

    def test_two_texts_scroll_together_by_their_share(self, screen: Callable[..., Page], anna: User) -> None:
        anna.shortcuts = {"together": True}
        anna.save()
        page = screen()
        page.set_viewport_size({"width": 800, "height": 600})
        bodies = page.locator(".pane-output > .pane-body")
        share = "body => body.scrollTop / (body.scrollHeight - body.clientHeight)"
        bodies.nth(0).evaluate("body => { body.scrollTop = body.scrollHeight }")
        page.wait_for_function(f"() => ({share})(document.querySelectorAll('.pane-output > .pane-body')[1]) > 0.97")
        bodies.nth(1).evaluate("body => { body.scrollTop = 0 }")
        page.wait_for_function("() => document.querySelector('.pane-output > .pane-body').scrollTop === 0")

    def test_sentences_are_marked_with_the_keyboard_alone(self, screen: Callable[..., Page]) -> None:
        page = screen(marks=True)
        press(page, "m", "w", "Tab", "c", "Escape", "m", "e")
        with page.expect_response(re.compile("/draft/")):
            pass
        marks = Assignment.objects.get().draft["marks"]
        assert [(m["sentence"], m["kind"], m["severity"]) for m in marks] == [(0, "wrong", "minor"), (1, "correct", "")]

    def test_the_ideal_starts_with_the_chosen_output_and_is_kept_only_if_changed(
        self, screen: Callable[..., Page]
    ) -> None:
        page = screen(ideal=True)
        press(page, "b", "1", "l")
        text = page.locator(".pane-output").nth(1).locator(".as-typed").text_content()
        assert page.locator("#ideal_text").input_value() == text
        with page.expect_response(re.compile("/draft/")):
            press(page, "Escape", "f")
        assert Assignment.objects.get().draft["ideal"] == {}
        with page.expect_response(re.compile("/draft/")):
            page.locator("#ideal_text").fill("Give her heparin.")
        assert Assignment.objects.get().draft["ideal"] == {"side": "right", "text": "Give her heparin."}

    def test_settings_of_the_page_go_with_the_person(self, screen: Callable[..., Page], anna: User) -> None:
        page = screen()
        for key in ("x", "t", "y"):
            with page.expect_response("**/judge/layout/"):
                press(page, key)
        anna.refresh_from_db()
        assert anna.shortcuts == {"source": "top", "plain": True, "together": True}
        page.reload()
        assert source_is(page) == "top"
        expect(page.locator("#show-plain")).to_have_attribute("aria-pressed", "true")
        expect(page.locator(".as-typed").first).to_be_visible()


class TestTime:
    def seconds(self, page: Page) -> int:
        press(page, "F9")
        return int(page.locator("[name=active_seconds]").input_value())

    def test_a_gap_of_more_than_two_minutes_does_not_count(self, screen: Callable[..., Page]) -> None:
        page = screen(chips=CHIPS)
        page.clock.install(time=timezone.now())
        page.reload()
        for gap in (50, 119):
            page.clock.fast_forward(gap * 1000)
            press(page, "j")
        before = self.seconds(page)
        assert 169 <= before <= 172
        page.clock.fast_forward(121 * 1000)
        assert self.seconds(page) - before <= 1

    def test_a_pause_covers_the_case_and_stops_the_clock(self, screen: Callable[..., Page]) -> None:
        page = screen(chips=CHIPS)
        page.clock.install(time=timezone.now())
        page.reload()
        before = self.seconds(page)
        press(page, "p")
        expect(page.get_by_role("heading", name="Paused")).to_be_visible()
        assert page.evaluate("document.elementFromPoint(700, 300).closest('#paused') !== null")
        page.clock.fast_forward(60_000)
        press(page, "e")
        expect(page.get_by_role("heading", name="Paused")).to_be_hidden()
        assert checked(page, "choice") == ""
        assert self.seconds(page) - before <= 1

    def test_undo_goes_after_ten_seconds_and_the_history_remains(self, screen: Callable[..., Page]) -> None:
        page = screen(chips=CHIPS)
        page.clock.install(time=timezone.now())
        page.reload()
        press(page, "e", "Enter")
        expect(page.locator("[data-countdown]")).to_have_text("10 s")
        page.clock.run_for(9_000)
        expect(page.locator("[data-countdown]")).to_have_text("1 s")
        page.clock.run_for(3_000)
        expect(page.locator("#undo-form")).to_have_count(0)
        page.get_by_role("link", name="Your judgements").click()
        page.get_by_role("link", name="Correct").click()
        expect(page.get_by_label("Why are you changing it?")).to_be_visible()


class TestHarm:
    def test_a_report_quotes_what_is_selected_and_says_the_lead_was_told(self, screen: Callable[..., Page]) -> None:
        page = screen(chips=CHIPS)
        sent: list[str] = []

        def take(route: Any) -> None:
            sent.append(route.request.post_data)
            route.fulfill(status=201, json={})

        page.route("**/harm/", take)
        page.evaluate(
            "getSelection().selectAllChildren(document.querySelectorAll('.pane-output')[1].querySelector('li'))"
        )
        press(page, "h")
        expect(page.locator("#harm_quote")).to_have_value("Breathless, stabbing pain on the right")
        expect(page.locator("#harm-form [name=about][value=right]")).to_be_checked()
        page.get_by_role("button", name="Tell the lead now").click()
        expect(page.get_by_text("Say how bad it could be.")).to_be_visible()
        assert violations(page) == []
        page.get_by_label("Severe").check()
        page.get_by_label("What could happen to the patient?").fill("Anaphylaxis.")
        page.get_by_role("button", name="Tell the lead now").click()
        expect(page.get_by_text("Your report is on the lead's page")).to_be_visible()
        assert len(sent) == 1
        assert "severe" in sent[0]
        assert "Anaphylaxis." in sent[0]

    def test_what_the_server_finds_missing_is_said_at_the_field(self, screen: Callable[..., Page]) -> None:
        page = screen(chips=CHIPS)
        errors = {"errors": {"quote": "These words are not in the output."}}
        page.route("**/harm/", lambda route: route.fulfill(status=422, body=json.dumps(errors)))
        press(page, "h")
        page.locator("#harm-form [name=about]").first.check()
        page.get_by_label("Mild").check()
        page.get_by_label("What could happen to the patient?").fill("A rash.")
        page.get_by_role("button", name="Tell the lead now").click()
        expect(page.get_by_text("These words are not in the output.")).to_be_visible()
        expect(page.locator("#harm_quote")).to_be_focused()


class TestAccessibility:
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    @pytest.mark.parametrize("kind", ["comparison", "likert", "label", "correctness"])
    def test_no_kind_of_item_breaks_a_rule(
        self, browser: Browser, live_server: Any, anna: User, complaints: list[str], kind: str, scheme: str
    ) -> None:
        context = signed_in(browser, live_server.url, anna, color_scheme=scheme, reduced_motion="reduce")
        options = {"criteria": True, **EVERYTHING} if kind == "comparison" else {"show_reference": True, "chips": CHIPS}
        page = open_page(context, live_server.url, make_screen([anna], kind, **options), complaints)
        for size in SIZES.values():
            page.set_viewport_size({"width": size[0], "height": size[1]})
            assert violations(page) == [], size
        page.locator("#submit").click()
        expect(page.locator("#answer .error").first).to_be_visible()
        assert violations(page) == []
        context.close()

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_no_state_of_the_page_breaks_a_rule(
        self, browser: Browser, live_server: Any, anna: User, complaints: list[str], scheme: str
    ) -> None:
        context = signed_in(browser, live_server.url, anna, color_scheme=scheme)
        campaign = make_screen([anna], criteria=True, **EVERYTHING)
        page = open_page(context, live_server.url, campaign, complaints)
        for name in ("help", "pause", "harm", "skip", "instructions", "difference", "mark", "ideal"):
            press(page, keys.DEFAULTS[name])
            assert violations(page) == [], name
            press(page, "Escape")
        page.locator("#open-sign-in").evaluate("button => button.click()")
        assert violations(page) == []
        page.goto(f"{live_server.url}/judge/{campaign.public_id}/history/")
        assert violations(page) == []
        context.close()

    def test_every_control_is_large_enough_for_a_finger(self, screen: Callable[..., Page]) -> None:
        page = screen()
        for name in ("upright", "phone"):
            page.set_viewport_size(dict(zip(("width", "height"), SIZES[name], strict=True)))  # type: ignore[arg-type]
            small = page.evaluate(
                "() => [...document.querySelectorAll("
                "'button, summary, a:not(.skip-link, p a), label:has(input), select, textarea')]"
                ".filter(one => one.getClientRects().length && !one.closest('dialog:not([open])'))"
                ".filter(one => one.getBoundingClientRect().height < 43.5).map(one => one.outerHTML.slice(0, 90))"
            )
            assert small == [], name


def test_two_people_have_their_own_keys(browser: Browser, live_server: Any, anna: User, complaints: list[str]) -> None:
    dora = make_user("dora", shortcuts={"keys": {"tie": "q"}})
    campaign = make_screen([anna, dora])
    for person, key in ((anna, "E"), (dora, "Q")):
        context = signed_in(browser, live_server.url, person)
        page = open_page(context, live_server.url, campaign, complaints)
        expect(page.locator('[data-action="tie"] kbd')).to_have_text(key)
        context.close()
