"""A lead changes a running campaign: every act is guarded, gives its reason, and stands in the audit trail."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection, connections
from django.urls import reverse
from django.utils import timezone

from accounts.errors import UserError
from accounts.models import AuditEvent
from annotations import adjudicating, campaigning, judging, steering, unblinding
from annotations.assignment import next_assignment
from annotations.judging import Answer
from annotations.models import Assignment, Campaign, Judgement
from annotations.places import places_taken
from tests.factories import join, make_campaign, make_cases, make_study, make_user
from tests.report_rows import judge

pytestmark = pytest.mark.django_db


@pytest.fixture
def study(lena):
    study = make_study()
    join(study, lena, "lead")
    return study


@pytest.fixture
def campaign(study, anna, ben):
    """Two items, each judged by one of Anna and Ben."""
    return make_campaign(study, [anna, ben], cases=make_cases(study, 2), overlap=1, name="Round 1")


def item_at(campaign, position):
    return campaign.items.get(position=position)


def acts():
    return list(AuditEvent.objects.filter(object_type="annotations.campaign").values_list("action", "detail__reason"))


# Items


def test_an_item_taken_back_frees_its_place_and_keeps_its_draft(campaign, anna, lena):
    given = next_assignment(campaign, anna)
    judging.save_draft(given, {"reason": "half a thought"})
    steering.take_back(given, reason="Anna is ill", actor=lena)
    given.refresh_from_db()
    assert given.released_at is not None
    assert given.draft == {"reason": "half a thought"}
    assert places_taken(given.item) == 0
    assert acts() == [("take back item", "Anna is ill")]


def test_taking_an_item_back_counts_a_waiting_surplus_judgement(campaign, anna, ben, lena):
    given = next_assignment(campaign, anna)
    late = Assignment.objects.create(
        item=given.item, annotator=ben, a_is_left=True, lease_expires_at=timezone.now() - timedelta(hours=1)
    )
    assert judging.submit(late, Answer("tie"), actor=ben).surplus
    steering.take_back(given, reason="Anna is ill", actor=lena)
    assert not Judgement.objects.get().surplus


def test_what_was_judged_is_not_taken_back(campaign, anna, lena):
    given = next_assignment(campaign, anna)
    judging.submit(given, Answer("tie"), actor=anna)
    with pytest.raises(UserError, match="has judged this item already"):
        steering.take_back(given, reason="Late", actor=lena)


def test_a_handed_item_is_what_its_annotator_gets_next_and_takes_a_place(campaign, anna, ben, lena):
    given = steering.hand_to(item_at(campaign, 1), ben, reason="His field", actor=lena)
    assert next_assignment(campaign, ben) == given
    assert next_assignment(campaign, anna).item.position == 0
    assert given.a_is_left is not None
    assert given.lease_expires_at > timezone.now() + timedelta(days=2)
    assert acts() == [("hand over item", "His field")]


def test_handed_pairs_take_the_next_sides_of_the_annotator_s_sequence(study, anna, lena):
    campaign = make_campaign(study, [anna], cases=make_cases(study, 8))
    sides = []
    for position in range(8):
        given = steering.hand_to(item_at(campaign, position), anna, reason="Order", actor=lena)
        sides.append(given.a_is_left)
    assert sides.count(True) == 4


def test_an_item_is_handed_to_nobody_who_had_it_or_may_not_have_it(study, campaign, anna, ben, chidi, lena):
    first, second = item_at(campaign, 0), item_at(campaign, 1)

    def refused(item, person, match):
        with pytest.raises(UserError, match=match):
            steering.hand_to(item, person, reason="Because", actor=lena)

    given = next_assignment(campaign, anna)
    refused(given.item, ben, "places of this item are taken")
    steering.take_back(given, reason="Slow", actor=lena)
    refused(given.item, anna, "has had this item")
    refused(first, chidi, "is no annotator")
    second.tag = "cardiology"
    second.save()
    refused(second, ben, "needs “cardiology”")
    study.memberships.filter(user=ben).update(specialty="Cardiology, surgery")
    campaign.participations.filter(user=ben).update(max_items=0)
    refused(second, ben, "0 is the most")
    campaign.participations.filter(user=ben).update(max_items=None)
    steering.hand_to(second, ben, reason="A cardiologist", actor=lena)


def test_known_answers_and_untrained_annotators_are_left_to_the_program(campaign, anna, lena):
    item = item_at(campaign, 0)
    Campaign.objects.update(training_pass_mark=0.8)
    with pytest.raises(UserError, match="not passed the training"):
        steering.hand_to(item, anna, reason="Because", actor=lena)
    Campaign.objects.update(training_pass_mark=None)
    item.gold, item.overlap = {"outcome": "tie"}, 0
    item.save()
    with pytest.raises(UserError, match="by the program alone"):
        steering.hand_to(item, anna, reason="Because", actor=lena)


def test_a_lease_is_only_made_longer_and_one_that_ran_out_needs_a_place(campaign, anna, ben, lena):
    given = next_assignment(campaign, anna)
    steering.extend_lease(given, hours=48, reason="On call", actor=lena)
    given.refresh_from_db()
    assert given.lease_expires_at > timezone.now() + timedelta(hours=47)
    with pytest.raises(UserError, match="only ever made longer"):
        steering.extend_lease(given, hours=1, reason="On call", actor=lena)
    with pytest.raises(UserError, match="give 1 to 336"):
        steering.extend_lease(given, hours=1000, reason="On call", actor=lena)
    Assignment.objects.update(lease_expires_at=timezone.now() - timedelta(hours=1))
    steering.hand_to(given.item, ben, reason="Anna is away", actor=lena)
    with pytest.raises(UserError, match="other people have taken"):
        steering.extend_lease(given, hours=48, reason="Back again", actor=lena)


# People


def test_somebody_added_judges_from_then_on(study, campaign, chidi, lena):
    join(study, chidi, "annotator")
    steering.add_annotator(campaign, chidi, reason="Ben left", actor=lena)
    assert next_assignment(campaign, chidi) is not None
    assert acts() == [("add annotator", "Ben left")]


def test_who_is_no_member_or_has_seen_the_arms_is_not_added(study, campaign, anna, chidi, lena):
    with pytest.raises(UserError, match="no member of the study"):
        steering.add_annotator(campaign, chidi, reason="Because", actor=lena)
    with pytest.raises(UserError, match="Round 1” already"):
        steering.add_annotator(campaign, anna, reason="Because", actor=lena)
    unblinding.unblind(campaign, reason="Interim look", actor=lena)
    with pytest.raises(UserError, match="looked at the arms"):
        steering.add_annotator(campaign, lena, reason="Because", actor=lena)


def test_a_lead_taken_off_does_not_come_back_after_reading_answers(study, campaign, lena, adam):
    steering.add_annotator(campaign, lena, reason="Short of people", actor=adam)
    judging.submit(next_assignment(campaign, lena), Answer("tie"), actor=lena)
    steering.take_off(campaign, lena, reason="Leads again", actor=adam)
    with pytest.raises(UserError, match="no longer judge blind"):
        steering.add_annotator(campaign, lena, reason="Short of people", actor=adam)


def test_who_is_taken_off_leaves_their_judgements_and_frees_what_they_hold(study, anna, ben, lena):
    campaign = make_campaign(study, [anna, ben], cases=make_cases(study, 2), overlap=1)
    judging.submit(next_assignment(campaign, anna), Answer("tie"), actor=anna)
    held = next_assignment(campaign, anna)
    assert steering.take_off(campaign, anna, reason="On leave", actor=lena) == 1
    assert not campaign.annotators.filter(pk=anna.pk).exists()
    assert Judgement.objects.filter(annotator=anna).count() == 1
    assert next_assignment(campaign, ben).item == held.item
    with pytest.raises(UserError, match="is no annotator"):
        steering.take_off(campaign, anna, reason="On leave", actor=lena)


# Overlap and caps


def test_overlap_is_raised_for_all_or_some_and_surplus_counts_then(study, anna, ben, lena):
    campaign = make_campaign(study, [anna, ben], cases=make_cases(study, 3), overlap=1)
    one = next_assignment(campaign, anna)
    other = Assignment.objects.create(
        item=one.item, annotator=ben, a_is_left=True, lease_expires_at=timezone.now() - timedelta(hours=1)
    )
    judging.submit(one, Answer("tie"), actor=anna)
    assert judging.submit(other, Answer("tie"), actor=ben).surplus
    some = [one.item.position]
    assert steering.raise_overlap(campaign, overlap=2, positions=some, reason="Agreement", actor=lena) == 1
    assert [item.overlap for item in campaign.items.all()].count(2) == 1
    assert steering.raise_overlap(campaign, overlap=2, reason="More power", actor=lena) == 2
    campaign.refresh_from_db()
    assert campaign.overlap == 2
    assert not Judgement.objects.filter(surplus=True, item=one.item).exists()


def test_overlap_is_never_lowered_nor_raised_beyond_the_annotators(campaign, lena):
    with pytest.raises(UserError, match="only ever raised"):
        steering.raise_overlap(campaign, overlap=1, reason="Fewer", actor=lena)
    with pytest.raises(UserError, match="has 2"):
        steering.raise_overlap(campaign, overlap=3, reason="More", actor=lena)
    with pytest.raises(UserError, match="no regular item 7"):
        steering.raise_overlap(campaign, overlap=2, positions=[7], reason="More", actor=lena)


def test_caps_are_only_raised(campaign, anna, lena):
    with pytest.raises(UserError, match="no cap"):
        steering.raise_cap(campaign, cap=5, reason="More", actor=lena)
    Campaign.objects.update(max_per_annotator=5)
    steering.raise_cap(campaign, cap=8, annotator=anna, reason="Has time", actor=lena)
    assert campaign.participations.get(user=anna).max_items == 8
    with pytest.raises(UserError, match="only ever raised"):
        steering.raise_cap(campaign, cap=8, annotator=anna, reason="Has time", actor=lena)
    steering.raise_cap(campaign, cap=None, reason="All have", actor=lena)
    campaign.refresh_from_db()
    assert campaign.max_per_annotator is None


# Every act


def every_act(campaign, given, people, actor):
    anna, chidi = people
    return [
        lambda reason: steering.take_back(given, reason=reason, actor=actor),
        lambda reason: steering.extend_lease(given, hours=48, reason=reason, actor=actor),
        lambda reason: steering.hand_to(item_at(campaign, 1), anna, reason=reason, actor=actor),
        lambda reason: steering.add_annotator(campaign, chidi, reason=reason, actor=actor),
        lambda reason: steering.take_off(campaign, anna, reason=reason, actor=actor),
        lambda reason: steering.raise_overlap(campaign, overlap=2, reason=reason, actor=actor),
        lambda reason: steering.raise_cap(campaign, cap=9, reason=reason, actor=actor),
    ]


def test_no_act_goes_without_a_reason_or_in_a_closed_campaign(study, campaign, anna, chidi, lena):
    join(study, chidi, "annotator")
    Campaign.objects.update(max_per_annotator=5)
    campaign.refresh_from_db()
    given = next_assignment(campaign, anna)
    for act in every_act(campaign, given, (anna, chidi), lena):
        with pytest.raises(UserError, match="Say why"):
            act("  ")
    campaigning.close(campaign, actor=lena)
    for act in every_act(campaign, given, (anna, chidi), lena):
        with pytest.raises(UserError, match="is closed"):
            act("A reason")
    assert [action for action, _ in acts()] == ["close campaign"]


# The page


def steer(campaign, act=""):
    return reverse(
        f"annotations:steer_{act}" if act else "annotations:campaign_steer",
        args=(campaign.study.slug, campaign.public_id),
    )


def test_the_lead_does_every_act_on_the_page_and_reads_why_afterwards(client, study, campaign, anna, chidi, lena):
    join(study, chidi, "annotator")
    Campaign.objects.update(max_per_annotator=5)
    given = next_assignment(campaign, anna)
    client.force_login(lena)
    posts = [
        ("extend", {"assignment": given.pk, "hours": "48"}),
        ("take_back", {"assignment": given.pk}),
        ("add", {"annotator": chidi.pk}),
        ("hand", {"item": "1", "annotator": chidi.pk}),
        ("overlap", {"overlap": "2", "items": "1, 2"}),
        ("cap", {"annotator": chidi.pk, "cap": "9"}),
        ("take_off", {"annotator": anna.pk}),
    ]
    for act, fields in posts:
        response = client.post(steer(campaign, act), fields | {"reason": f"Because of {act}"})
        assert response.status_code == 302, (act, response.content)
    page = client.get(steer(campaign)).content.decode()
    assert all(f"Because of {act}" in page for act, _ in posts)


def test_a_mistyped_number_or_a_foreign_id_changes_nothing(client, campaign, anna, lena):
    client.force_login(lena)
    given = next_assignment(campaign, anna)
    why = {"reason": "Because"}
    assert client.post(steer(campaign, "overlap"), {"overlap": "two"} | why).status_code == 400
    assert client.post(steer(campaign, "overlap"), {"overlap": "2", "items": "1, x"} | why).status_code == 400
    assert client.post(steer(campaign, "take_back"), {"assignment": "7"} | why).status_code == 404
    assert client.post(steer(campaign, "add"), {"annotator": "x"} | why).status_code == 404
    assert client.post(steer(campaign, "add"), {"annotator": make_user("dora").pk} | why).status_code == 404
    assert client.post(steer(campaign, "hand"), {"item": "99", "annotator": anna.pk} | why).status_code == 404
    elsewhere = make_campaign(campaign.study, [anna])
    assert client.post(steer(elsewhere, "take_back"), {"assignment": given.pk} | why).status_code == 404
    assert acts() == []


def test_only_leads_steer(client, study, campaign, anna, ben, chidi):
    join(study, chidi, "viewer")
    for person, expected in ((anna, 403), (chidi, 403), (make_user("dora"), 404)):
        client.force_login(person)
        assert client.get(steer(campaign)).status_code == expected
        for act in ("take_back", "extend", "hand", "add", "take_off", "overlap", "cap"):
            assert client.post(steer(campaign, act), {"reason": "Mine"}).status_code == expected


def test_older_acts_are_a_page_further_on(client, campaign, lena):
    client.force_login(lena)
    for n in range(30):
        AuditEvent.objects.create(
            actor=lena,
            action="extend lease",
            object_type="annotations.campaign",
            object_id=campaign.pk,
            detail={"reason": f"Act {n}."},
        )
    page = client.get(steer(campaign)).content.decode()
    assert "Act 29." in page
    assert "Act 4." not in page
    older = client.get(steer(campaign), {"before": AuditEvent.objects.order_by("-pk")[24].pk}).content.decode()
    assert "Act 4." in older


def test_a_lead_who_judges_reads_their_own_reasons_only(client, study, campaign, anna, lena, adam):
    steering.take_back(next_assignment(campaign, anna), reason="Anna prefers A", actor=adam)
    client.force_login(lena)
    assert "Anna prefers A" in client.get(steer(campaign)).content.decode()
    make_campaign(study, [lena])
    assert "Anna prefers A" not in client.get(steer(campaign)).content.decode()


def test_who_has_decided_items_is_not_added(study, anna, ben, lena, adam):
    campaign = make_campaign(study, [anna, ben], cases=make_cases(study, 1), consensus="adjudicated")
    for person, outcome in ((anna, "tie"), (ben, "both_unacceptable")):
        judge(campaign.items.get(), person, outcome)
    adjudicating.adjudicate(campaign.items.get(), Answer("tie"), reason="Both are right.", actor=lena)
    with pytest.raises(UserError, match="has decided items"):
        steering.add_annotator(campaign, lena, reason="Short of people", actor=adam)


# Two at a time


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer")
def test_hands_and_claims_at_the_same_time_never_overshoot_the_overlap(study, anna, ben, chidi, lena):
    campaign = make_campaign(study, [anna, ben, chidi], cases=make_cases(study, 12), overlap=1)

    def in_thread(work):
        try:
            return work()
        except UserError as error:
            return str(error)
        finally:
            connections.close_all()

    def hand(position):
        return steering.hand_to(item_at(campaign, position), chidi, reason="Race", actor=lena)

    with ThreadPoolExecutor(6) as pool:
        done = [pool.submit(in_thread, lambda p=p: hand(p)) for p in range(12)]
        done += [
            pool.submit(in_thread, lambda w=w: next_assignment(campaign, w)) for w in (anna, ben) for _ in range(6)
        ]
        done += [
            pool.submit(
                in_thread, lambda: steering.raise_overlap(campaign, overlap=2, positions=[0], reason="Race", actor=lena)
            )
        ]
        [future.result(timeout=60) for future in done]
    for item in campaign.items.all():
        assert places_taken(item) <= item.overlap
