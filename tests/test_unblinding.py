"""An early look at the arms of an open campaign is asked for, explained, on record, and printed."""

import json
from io import StringIO

import pytest
from django.core.exceptions import PermissionDenied
from django.core.management import CommandError, call_command
from django.urls import reverse

from accounts.errors import UserError
from accounts.models import AuditEvent
from annotations import campaigning, planning, steering, unblinding
from annotations.models import Model, Unblinding
from reports import build
from reports.models import Report
from tests.factories import join, make_campaign, make_cases, make_study
from tests.report_rows import campaign_on, judge, summaries

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def reports_dir(settings, tmp_path):
    settings.REPORTS_DIR = tmp_path / "reports"


@pytest.fixture
def evaluation(lena, chidi):
    row = summaries(4)
    join(row.study, lena, "lead")
    join(row.study, chidi, "viewer")
    return row


@pytest.fixture
def campaign(evaluation, anna, ben):
    """Open: Anna and Ben have judged three of four pairs."""
    for person in (anna, ben):
        join(evaluation.study, person, "annotator")
    made = campaign_on(evaluation, "comparison", [anna, ben], name="blind")
    made.items.update(overlap=2)
    for item in made.items.all()[:3]:
        judge(item, anna, "prefer_b")
        judge(item, ben, "prefer_b")
    return made


def address(name, campaign, *more):
    return reverse(f"annotations:{name}", args=[campaign.study.slug, campaign.public_id, *more])


# Who, and on what terms


def test_a_look_needs_a_reason_and_stands_in_the_audit_trail(campaign, lena):
    with pytest.raises(UserError, match="Say why"):
        unblinding.unblind(campaign, reason=" ", actor=lena)
    unblinding.unblind(campaign, reason="Planned interim look", actor=lena)
    event = AuditEvent.objects.get(action="unblind")
    assert (event.actor, event.detail) == (lena, {"reason": "Planned interim look"})


def test_only_leads_who_judge_nothing_open_may_look(evaluation, campaign, anna, chidi, lena):
    for person in (anna, chidi):
        with pytest.raises(PermissionDenied):
            unblinding.unblind(campaign, reason="Curious", actor=person)
    make_campaign(evaluation.study, [lena])
    with pytest.raises(PermissionDenied, match="hidden from you"):
        unblinding.unblind(campaign, reason="Curious", actor=lena)
    assert not Unblinding.objects.exists()


def test_what_is_closed_or_shows_no_output_hides_nothing(campaign, lena, anna):
    labels = make_study("triage")
    join(labels, lena, "lead")
    with pytest.raises(UserError, match="hides no arms"):
        unblinding.unblind(make_campaign(labels, [anna], kind="label"), reason="Interim look", actor=lena)
    campaigning.close(campaign, actor=lena)
    with pytest.raises(UserError, match="closed"):
        unblinding.unblind(campaign, reason="Interim look", actor=lena)


def test_who_has_looked_judges_in_no_open_campaign_of_the_study(evaluation, campaign, anna, lena):
    other = make_campaign(evaluation.study, [anna])
    unblinding.unblind(campaign, reason="Interim look", actor=lena)
    with pytest.raises(UserError, match="looked at the arms"):
        steering.add_annotator(other, lena, reason="Short of people", actor=lena)
    plan = {"study": evaluation.study, "kind": "comparison", "name": "New", "overlap": 1, "annotators": [lena]}
    plan |= {"models": list(Model.objects.filter(name__in=["base", "sft"]))}
    with pytest.raises(UserError, match="looked at the arms") as caught:
        planning.plan_campaign(**plan)
    assert caught.value.details == ["lena"]
    campaigning.close(campaign, actor=lena)  # now everybody may look
    assert planning.plan_campaign(**plan).annotators.get() == lena


# What is hidden until then


def test_the_campaign_page_names_no_arm_of_an_open_campaign(client, campaign, lena, chidi):
    names = [model.name for model in Model.objects.all()]
    client.force_login(lena)
    page = address("campaign", campaign)
    assert "hidden while the campaign is open" in client.get(page).content.decode()
    assert f">{names[0]}, {names[1]}<" not in client.get(page).content.decode()
    campaign.models.set(Model.objects.all())
    assert "Seed" not in client.get(page).content.decode()
    unblinding.unblind(campaign, reason="Interim look", actor=lena)
    assert "Seed" in client.get(page).content.decode()
    assert "Interim look" in client.get(page).content.decode()
    client.force_login(chidi)  # a viewer sees that somebody looked, and no arm
    assert "unblinded early" in client.get(page).content.decode()
    assert "Seed" not in client.get(page).content.decode()


def test_the_export_of_an_open_campaign_asks_for_the_reason_first(client, campaign, lena):
    client.force_login(lena)
    export = address("campaign_export", campaign)
    form = client.get(export)["Location"]
    assert form.startswith(address("campaign_unblind", campaign))
    assert "Why now?" in client.get(form).content.decode()
    assert client.post(form, {"reason": "", "next": export}).status_code == 400
    assert client.post(form, {"reason": "Interim look", "next": export})["Location"] == export
    assert b"prefer_b" in b"".join(client.get(export).streaming_content)


def test_the_form_leads_to_no_other_site(client, campaign, lena):
    client.force_login(lena)
    form = address("campaign_unblind", campaign)
    assert "evil" not in client.get(form, {"next": "https://evil.example/"}).content.decode()
    posted = client.post(form, {"reason": "Interim look", "next": "https://evil.example/"})
    assert posted["Location"] == address("campaign", campaign)


def test_viewers_and_annotators_never_get_the_form(client, campaign, anna, chidi):
    for person in (anna, chidi):
        client.force_login(person)
        assert client.get(address("campaign_unblind", campaign)).status_code == 403
        assert client.post(address("campaign_unblind", campaign), {"reason": "Mine"}).status_code == 403


def test_the_evaluation_page_leaves_out_what_was_judged_in_an_open_campaign(client, evaluation, campaign, lena, chidi):
    page = reverse("reports:evaluation", args=[evaluation.study.slug, evaluation.pk])
    for person, offered in ((lena, True), (chidi, False)):
        client.force_login(person)
        text = client.get(page).content.decode()
        assert "not shown by arm" in text
        assert "win rate" not in text.lower()
        assert (address("campaign_unblind", campaign) in text) == offered
    unblinding.unblind(campaign, reason="Interim look", actor=lena)
    client.force_login(lena)
    assert "win rate" in client.get(page).content.decode().lower()
    campaigning.close(campaign, actor=lena)
    client.force_login(chidi)
    assert "win rate" in client.get(page).content.decode().lower()


def test_an_interim_report_meets_the_form_and_is_then_printed_with_the_look(client, evaluation, campaign, lena):
    client.force_login(lena)
    new = reverse("reports:report_new", args=[evaluation.study.slug])
    data = {"evaluations": [evaluation.pk], "campaigns": [campaign.pk]}
    assert client.post(new, data)["Location"].startswith(address("campaign_unblind", campaign))
    assert not Report.objects.exists()
    unblinding.unblind(campaign, reason="Planned interim look", actor=lena)
    text = client.post(new, data, follow=True).content.decode()
    pseudonym = evaluation.study.memberships.get(user=lena).pseudonym
    assert f"by lead {pseudonym} on" in text
    assert "Planned interim look" in text


def test_a_report_on_agreement_alone_shows_no_arm_and_needs_no_look(client, evaluation, campaign, lena):
    client.force_login(lena)
    new = reverse("reports:report_new", args=[evaluation.study.slug])
    response = client.post(new, {"campaigns": [campaign.pk]})
    assert response["Location"] == reverse("reports:report", args=[evaluation.study.slug, Report.objects.get().pk])
    assert client.get(response["Location"]).status_code == 200


def test_an_interim_report_is_read_by_who_has_looked_and_by_all_once_the_campaign_is_closed(
    client, evaluation, campaign, lena, chidi, adam
):
    report = build.build(study=evaluation.study, evaluations=[evaluation], campaigns=[campaign])
    pages = [
        reverse("reports:report", args=[evaluation.study.slug, report.pk]),
        reverse("reports:report_archive", args=[evaluation.study.slug, report.pk]),
        reverse("reports:report_file", args=[evaluation.study.slug, report.pk, "arms.csv"]),
    ]
    unblinding.unblind(campaign, reason="Interim look", actor=lena)
    for person, expected in ((chidi, 403), (adam, 302), (lena, 200)):
        client.force_login(person)
        assert [client.get(page).status_code for page in pages] == [expected] * 3, person
    campaigning.close(campaign, actor=lena)
    client.force_login(chidi)
    assert [client.get(page).status_code for page in pages] == [200] * 3


# On record


def test_reports_keep_every_look_as_a_caution_and_in_their_lineage(evaluation, campaign, lena, adam):
    unblinding.unblind(campaign, reason="Planned interim look", actor=lena)
    unblinding.unblind(campaign, reason="Safety board asked", actor=adam)
    campaigning.close(campaign, actor=lena)  # it goes on being true
    document = build.collect(evaluation.study, [evaluation], [campaign]).document
    said = [caution["text"] for caution in document["warnings"] if caution["code"] == "unblinded"]
    assert len(said) == 2
    assert "by a site admin" in said[1]
    assert [look["reason"] for look in document["lineage"]["campaigns"]["blind"]["unblindings"]] == [
        "Planned interim look",
        "Safety board asked",
    ]
    assert "lena" not in json.dumps(document)


def command(name, *arguments):
    out = StringIO()
    call_command(name, *map(str, arguments), "--json", stdout=out)
    return json.loads(out.getvalue())


@pytest.mark.parametrize("name", ["report", "export_judgements"])
def test_a_command_says_why_while_judgements_are_still_to_come(tmp_path, evaluation, campaign, name):
    target = {"report": ["--out", tmp_path / "out"], "export_judgements": [tmp_path / "out.csv"]}[name]
    with pytest.raises(CommandError, match="--unblind") as caught:
        command(name, evaluation.study.slug, *target)
    assert caught.value.returncode == 1
    assert not Report.objects.exists()
    assert list(tmp_path.glob("out*")) == []
    assert unblinding.looks([campaign])[campaign.pk] == []
    command(name, evaluation.study.slug, *target, "--unblind", "Stopping rule")
    (look,) = unblinding.looks([campaign])[campaign.pk]
    assert (look.who, look.reason) == ("a command on the server", "Stopping rule")


def test_a_command_on_a_campaign_that_is_all_judged_needs_no_reason_and_is_on_record(
    tmp_path, evaluation, campaign, anna, ben
):
    for person in (anna, ben):
        judge(campaign.items.get(position=3), person, "tie")
    found = command("report", evaluation.study.slug, "--out", tmp_path / "out")
    assert [caution["code"] for caution in found["warnings"]].count("unblinded") == 1
    assert unblinding.looks([campaign])[campaign.pk][0].reason == "every judgement is in"


def test_what_can_not_be_written_unblinds_nothing(tmp_path, evaluation, campaign):
    with pytest.raises(CommandError):
        command("export_judgements", evaluation.study.slug, tmp_path / "out.xlsx", "--unblind", "Because")
    assert unblinding.looks([campaign])[campaign.pk] == []


def test_agreement_alone_by_command_is_no_look(tmp_path, evaluation, campaign):
    command("report", evaluation.study.slug, "--campaign", "blind", "--out", tmp_path / "out")
    assert unblinding.looks([campaign])[campaign.pk] == []


def test_a_campaign_that_nobody_has_judged_yet_has_nothing_to_hide_from_an_export(tmp_path, lena, anna):
    study = make_study()
    campaign = make_campaign(study, [anna], cases=make_cases(study, 1))
    assert command("export_judgements", study.slug, tmp_path / "out.csv")["rows"] == 0
    assert unblinding.looks([campaign])[campaign.pk] == []
