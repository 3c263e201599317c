"""The blinding check in a report: what was guessed, against chance, with its cautions."""

import csv
import io

import pytest
from django.utils import timezone

from annotations.models import Guess
from reports import build, exports
from reports.presentation import layout
from tests.report_rows import campaign_on, judge, summaries

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def reports_dir(settings, tmp_path):
    settings.REPORTS_DIR = tmp_path / "reports"


def guessed(kind, people, scores, **fields):
    """A judged campaign with one guess an item: 1 right, -1 wrong, 0 don't know."""
    evaluation = summaries(len(scores))
    campaign = campaign_on(evaluation, kind, people, **fields)
    models = [arm.model for arm in evaluation.arms.select_related("model")]
    words = ("the older system", "the newer system")
    arms = {str(model.pk): text for model, text in zip(models, words, strict=True)}
    campaign.blinding_check = {"items": len(scores), "arms": arms}
    campaign.save()
    for item, score in zip(campaign.items.all(), scores, strict=False):
        for person in people:
            values = {} if kind == "comparison" else {"faithful": 3}
            judgement = judge(item, person, "tie" if kind == "comparison" else "judged", **values)
            right = item.completion_a.model
            wrong = next(model for model in models if model != right)
            Guess.objects.create(
                assignment=judgement.assignment,
                completion=item.completion_a,
                guessed={1: right, -1: wrong, 0: None}[score],
            )
    return evaluation, campaign


def documented(evaluation, campaign):
    return build.collect(evaluation.study, [evaluation], [campaign]).document


def codes(document):
    return {caution["code"] for caution in document["warnings"]}


def test_counts_shares_and_bangs_index_are_those_worked_out_by_hand(anna):
    document = documented(*guessed("comparison", [anna], [1, 1, 1, -1, 0, 0]))
    entry = document["blinding"]["comparison"]
    assert (entry["right"], entry["wrong"], entry["dont_know"], entry["guesses"]) == (3, 1, 2, 6)
    assert entry["chance"] == 0.5
    assert entry["share_right"]["value"] == 0.75
    assert entry["share_right_of_all"]["value"] == 0.5
    assert entry["arms"]["base"]["bang"]["value"] == pytest.approx((3 - 1) / 6)
    assert entry["arms"]["sft"]["bang"]["value"] is None  # nobody was asked about its outputs
    assert not codes(document) & {"guessed_right", "guessed_wrong"}


def test_who_guesses_right_more_often_than_chance_is_a_caution(anna):
    document = documented(*guessed("comparison", [anna], [1] * 12))
    assert "guessed_right" in codes(document)
    text = next(c["text"] for c in document["warnings"] if c["code"] == "guessed_right")
    assert "12 of 12 guesses were right (100%" in text
    assert "chance 50%" in text


def test_who_takes_one_arm_for_the_other_is_a_caution_too(anna):
    assert "guessed_wrong" in codes(documented(*guessed("comparison", [anna], [-1] * 12)))


def test_everybody_without_an_idea_is_no_caution_and_no_number(anna):
    document = documented(*guessed("likert", [anna], [0] * 12))
    assert not codes(document) & {"guessed_right", "guessed_wrong"}
    assert document["blinding"]["likert"]["share_right"]["value"] is None
    assert document["blinding"]["likert"]["arms"]["base"]["bang"]["value"] == 0.0


def test_two_guesses_about_one_case_are_drawn_together(anna, ben):
    document = documented(*guessed("comparison", [anna, ben], [1, -1, 1, 1, 1, 1]))
    assert "cluster bootstrap" in document["blinding"]["comparison"]["share_right"]["method"]


def test_guesses_after_closing_are_counted(anna):
    evaluation, campaign = guessed("comparison", [anna], [1, -1, 1])
    campaign.closed_at = timezone.now()
    campaign.save()
    Guess.objects.filter(pk=Guess.objects.first().pk).update(created_at=timezone.now())
    document = documented(evaluation, campaign)
    assert document["blinding"]["comparison"]["after_closing"] == 1
    assert "1 guess came after the campaign was closed" in " ".join(document["methods"])


def test_not_asked_is_said_in_methods_page_and_table(anna):
    evaluation = summaries(2)
    campaign = campaign_on(evaluation, "comparison", [anna])
    judge(campaign.items.first(), anna, "tie")
    document = documented(evaluation, campaign)
    assert document["blinding"] == {"comparison": {"asked": False}}
    assert "were not asked to guess the arms" in " ".join(document["methods"])
    report = build.build(study=evaluation.study, evaluations=[evaluation], campaigns=[campaign])
    assert "Annotators were not asked to guess." in (report.path / "report.html").read_text()
    assert "not asked" in (report.path / "blinding.csv").read_text()


def test_page_and_table_hold_what_was_found(anna):
    evaluation, campaign = guessed("comparison", [anna], [1, 1, 1, -1, 0, 0])
    report = build.build(study=evaluation.study, evaluations=[evaluation], campaigns=[campaign])
    page = (report.path / "report.html").read_text()
    assert "Blinding check" in page
    assert "3, 1, 2" in page
    assert "Bang&#x27;s blinding index" in page
    rows = list(csv.DictReader(io.StringIO((report.path / "blinding.csv").read_text())))
    assert [row["statistic"] for row in rows] == ["share_right", "share_right_of_all", "bang", "bang"]
    assert float(rows[0]["value"]) == 0.75
    assert {row["arm"] for row in rows[2:]} == {"base", "sft"}
    assert exports.document(report)["blinding"]["comparison"]["asked"] is True


def test_a_report_frozen_before_there_were_guesses_is_still_shown(anna):
    evaluation, campaign = guessed("comparison", [anna], [1, -1])
    document = documented(evaluation, campaign)
    del document["blinding"]
    assert layout(document | {"figures": []})["blinding"] == []
