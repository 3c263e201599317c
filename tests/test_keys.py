"""A person's keys and layout of the rating page."""

import pytest
from django.test import Client
from django.urls import reverse

from annotations import keys, layout
from tests.factories import make_campaign, make_study


def signed_in(user):
    client = Client()
    client.force_login(user)
    return client


class TestMap:
    def test_the_defaults_have_a_key_for_every_action_and_collide_nowhere(self):
        assert keys.problems(keys.DEFAULTS) == {}
        assert len(set(keys.DEFAULTS.values())) == len(keys.ACTIONS)

    def test_the_keys_of_the_issue_are_the_defaults(self):
        wanted = {
            "prefer_left": "a",
            "prefer_right": "b",
            "tie": "e",
            "both_unacceptable": "n",
            "cannot_judge": "c",
            "defective": "d",
            "flag": "f",
            "skip": "s",
            "harm": "h",
            "undo": "u",
            "help": "?",
        }
        assert {name: keys.DEFAULTS[name] for name in wanted} == wanted

    def test_a_collision_names_both_actions(self):
        found = keys.problems(keys.DEFAULTS | {"tie": "h"})
        assert set(found) == {"tie", "harm"}
        assert "“Report harm”" in found["tie"]
        assert "“Tie, both good”" in found["harm"]

    @pytest.mark.parametrize("key", ["", "é", "ab", " ", "&", "tab"])
    def test_a_key_that_can_not_be_pressed_alike_everywhere_is_refused(self, key):
        assert set(keys.problems(keys.DEFAULTS | {"tie": key})) == {"tie"}

    def test_only_what_differs_from_the_defaults_is_kept(self):
        wanted = keys.DEFAULTS | {"tie": "q", "submit": "o"}
        stored = keys.changes(wanted)
        assert stored == {"tie": "q", "submit": "o"}
        assert keys.keys_of({"keys": stored}) == wanted

    def test_stored_keys_that_collide_or_are_of_no_action_give_way(self):
        assert keys.keys_of({"keys": {"tie": "h"}}) == keys.DEFAULTS
        assert keys.keys_of({"keys": {"gone": "q"}}) == keys.DEFAULTS
        assert keys.keys_of({}) == keys.DEFAULTS

    def test_keys_are_printed_in_capitals(self):
        assert keys.labels({"tie": "e", "submit": "enter", "help": "?"}) == {"tie": "E", "submit": "Enter", "help": "?"}


class TestLayout:
    def test_what_was_not_chosen_is_the_first_value(self):
        assert layout.layout_of({}) == {"source": "auto", "together": "", "plain": "", "off": ""}
        assert layout.layout_of({"source": "below", "plain": True})["source"] == "auto"

    def test_a_setting_is_kept_and_its_first_value_is_not(self):
        kept = layout.with_setting({"keys": {"tie": "q"}}, "source", "top")
        assert kept == {"keys": {"tie": "q"}, "source": "top"}
        assert layout.with_setting(kept, "source", "auto") == {"keys": {"tie": "q"}}
        assert layout.with_setting({}, "off", "on") == {"off": True}

    @pytest.mark.parametrize(("name", "value"), [("source", "below"), ("keys", "x"), ("colour", "on"), ("", "")])
    def test_there_are_no_other_settings(self, name, value):
        with pytest.raises(ValueError, match="="):
            layout.with_setting({}, name, value)


@pytest.mark.django_db
class TestPages:
    def test_the_page_keeps_what_was_chosen_and_resets_it(self, anna):
        client = signed_in(anna)
        page = reverse("annotations:keys")
        assert client.post(page, keys.DEFAULTS | {"tie": "Q"}).status_code == 302
        anna.refresh_from_db()
        assert anna.shortcuts == {"off": True, "keys": {"tie": "q"}}  # the box for single keys was not ticked
        client.post(page, {"reset": "1"})
        anna.refresh_from_db()
        assert anna.shortcuts == {"keys": {}}

    def test_a_refused_form_keeps_nothing_and_shows_what_was_typed(self, anna):
        response = signed_in(anna).post(reverse("annotations:keys"), keys.DEFAULTS | {"tie": "h", "on": "on"})
        assert response.status_code == 422
        assert "also the key of “Report harm”" in response.content.decode()
        anna.refresh_from_db()
        assert anna.shortcuts == {}

    def test_a_setting_is_stored_for_the_person(self, anna, ben):
        client = signed_in(anna)
        page = reverse("annotations:layout")
        assert client.post(page, {"name": "source", "value": "top"}).status_code == 204
        assert client.post(page, {"name": "source", "value": "below"}).status_code == 422
        assert client.get(page).status_code == 405
        anna.refresh_from_db()
        ben.refresh_from_db()
        assert (anna.shortcuts, ben.shortcuts) == ({"source": "top"}, {})

    def test_the_rating_page_carries_the_persons_keys(self, anna):
        anna.shortcuts = {"keys": {"tie": "q"}, "off": True}
        anna.save()
        campaign = make_campaign(make_study(), [anna])
        page = signed_in(anna).get(reverse("annotations:judge", args=[campaign.public_id])).content.decode()
        assert "&quot;tie&quot;: &quot;q&quot;" in page
        assert 'data-off="on"' in page
        assert "<kbd>Q</kbd>" in page

    def test_the_page_tells_only_who_is_signed_in(self, anna):
        assert signed_in(anna).get(reverse("annotations:me")).json() == {"user": str(anna.pk)}
        assert Client().get(reverse("annotations:me")).status_code == 302
