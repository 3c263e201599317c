import json
import re

import pytest
from django.urls import reverse
from django.utils import timezone

from accounts.errors import UserError
from annotations import unblinding
from annotations.models import Campaign, Status, Worker
from reports import build, evaluation
from reports.models import Evaluation
from tests.factories import join, make_cases, make_completion, make_model, make_study
from tests.report_rows import campaign_on, judge, summaries, yes_no

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def reports_dir(settings, tmp_path):
    settings.REPORTS_DIR = tmp_path / "reports"


@pytest.fixture
def done(lena, anna, ben):
    """A finished evaluation, nothing judged yet, of a study that Lena leads."""
    row = summaries(2)
    join(row.study, lena, "lead")
    join(row.study, anna, "annotator")
    join(row.study, ben, "viewer")
    return row


@pytest.fixture
def report(done):
    """Without figures, as there are no numbers: quickly made."""
    return build.build(study=done.study, evaluations=[done])


@pytest.fixture
def labelled(lena):
    """A finished evaluation that is scored against references."""
    row = yes_no()
    join(row.study, lena, "lead")
    return row


def pages(done, report):
    slug = done.study.slug
    return {
        "results": reverse("reports:results", args=[slug]),
        "plan_lock": reverse("reports:plan_lock", args=[slug]),
        "evaluation_new": reverse("reports:evaluation_new", args=[slug]),
        "evaluation": reverse("reports:evaluation", args=[slug, done.pk]),
        "evaluation_campaign": reverse("reports:evaluation_campaign", args=[slug, done.pk]),
        "report_new": reverse("reports:report_new", args=[slug]),
        "report": reverse("reports:report", args=[slug, report.pk]),
        "report_archive": reverse("reports:report_archive", args=[slug, report.pk]),
        "report_file": reverse("reports:report_file", args=[slug, report.pk, "report.json"]),
    }


LEAD_ONLY = {"plan_lock", "evaluation_new", "evaluation_campaign", "report_new"}


def test_every_page_opens_for_the_lead(client, lena, done, report):
    client.force_login(lena)
    for name, url in pages(done, report).items():
        response = client.get(url)
        assert response.status_code == 200, name
        if "text/html" in response["Content-Type"]:
            assert " style=" not in response.content.decode(), name


def test_viewers_read_and_annotators_and_strangers_do_not(client, anna, ben, chidi, done, report):
    for user, expected in ((ben, 200), (anna, 403), (chidi, 404)):
        client.force_login(user)
        for name, url in pages(done, report).items():
            wanted = 403 if user == ben and name in LEAD_ONLY else expected
            assert client.get(url).status_code == wanted, (user, name)


def test_a_lead_who_judges_an_open_campaign_sees_no_arms_until_it_is_closed(client, lena, done, report):
    campaign = campaign_on(done, "comparison", [lena])
    client.force_login(lena)
    for name, url in pages(done, report).items():
        assert client.get(url).status_code == 403, name
    plan = {"name": "Another", "kind": "likert", "annotators": [lena.pk], "overlap": 1}
    assert client.post(pages(done, report)["evaluation_campaign"], plan).status_code == 403
    assert not Campaign.objects.filter(name="Another").exists()
    Campaign.objects.filter(pk=campaign.pk).update(closed_at=timezone.now())
    assert client.get(pages(done, report)["results"]).status_code == 200


def test_another_study_s_evaluations_and_reports_do_not_exist_here(client, lena, done, report):
    other = make_study()
    join(other, lena, "lead")
    client.force_login(lena)
    assert client.get(reverse("reports:evaluation", args=[other.slug, done.pk])).status_code == 404
    assert client.get(reverse("reports:report", args=[other.slug, report.pk])).status_code == 404
    assert client.get(reverse("reports:report_file", args=[other.slug, report.pk, "report.json"])).status_code == 404


def test_only_the_report_s_own_files_are_served(client, lena, done, report):
    client.force_login(lena)
    base = reverse("reports:report_file", args=[done.study.slug, report.pk, "x"]).removesuffix("x")
    for name in ("../report.json", "figures/../report.json", "/etc/passwd", "nothing.csv", "figures", ".."):
        assert client.get(f"{base}{name}").status_code == 404, name


def test_files_come_with_the_right_type_and_a_chart_may_only_style_itself(client, lena, labelled):
    report = build.build(study=labelled.study, evaluations=[labelled])
    client.force_login(lena)

    def get(name):
        return client.get(reverse("reports:report_file", args=[labelled.study.slug, report.pk, name]))

    figure = json.loads((report.path / "report.json").read_text())["figures"][0]["file"]
    chart = get(figure)
    assert chart["Content-Type"] == "image/svg+xml"
    assert "script" not in chart["Content-Security-Policy"]
    assert "default-src 'none'" in chart["Content-Security-Policy"]
    assert get("report.html")["Content-Type"].startswith("text/html")
    assert "unsafe-inline" not in get("report.html")["Content-Security-Policy"]
    assert get("arms.csv")["Content-Disposition"].startswith("attachment")


def test_the_report_page_gives_effect_and_interval_before_p_and_never_a_p_of_zero(client, lena, labelled):
    report = build.build(study=labelled.study, evaluations=[labelled])
    client.force_login(lena)
    page = client.get(pages(labelled, report)["report"]).content.decode()
    cells = [" ".join(cell.split()) for cell in re.findall(r"<td[^>]*>(.*?)</td>", page, re.DOTALL)]
    at = cells.index("+0.29")
    assert " to " in cells[at + 1]
    assert re.fullmatch(r"(&lt; )?\.\d+", cells[at + 2])
    assert "0.000" not in page
    assert "Only 8 cases" in page
    assert f'src="{"files/"}figures/arms-f1.svg"' in page


def test_the_lead_locks_the_plan_on_the_page(client, lena):
    study = make_study("classification")
    join(study, lena, "lead")
    cases = make_cases(study, 1, "test")
    for name in ("base", "sft"):
        make_completion(cases[0], make_model(name))
    client.force_login(lena)
    url = reverse("reports:plan_lock", args=[study.slug])
    data = {"arm_1": "base", "arm_2": "sft", "primary_metric": "f1", "primary_criterion": ""}
    assert "required" in client.post(url, data).content.decode()  # not without the confirmation
    study.refresh_from_db()
    assert study.analysis_locked_at is None
    client.post(url, data | {"confirm": "on"})
    study.refresh_from_db()
    assert study.analysis["arms"] == ["base", "sft"]
    assert study.analysis_locked_at is not None


def test_an_evaluation_is_not_offered_before_the_plan_is_locked(client, lena):
    study = make_study()
    join(study, lena, "lead")
    client.force_login(lena)
    assert "Start an evaluation" not in client.get(reverse("reports:results", args=[study.slug])).content.decode()
    response = client.get(reverse("reports:evaluation_new", args=[study.slug]))
    assert response.url == reverse("reports:plan_lock", args=[study.slug])


def test_without_a_worker_nothing_is_started_and_the_form_says_so(client, lena, done):
    client.force_login(lena)
    url = reverse("reports:evaluation_new", args=[done.study.slug])
    response = client.post(url, {"arm_1": "base", "split": "test"})
    assert "No worker is serving" in response.content.decode()
    assert Evaluation.objects.count() == 1


def test_the_lead_starts_an_evaluation_and_sees_it_wait(client, lena, done):
    Worker.objects.create(name="w", queues="generation", heartbeat_at=timezone.now())
    client.force_login(lena)
    url = reverse("reports:evaluation_new", args=[done.study.slug])
    response = client.post(url, {"arm_1": "base", "arm_2": "sft", "split": "test"}, follow=True)
    page = response.content.decode()
    assert "badge-queued" in page
    assert 'hx-trigger="every 2s"' in page
    assert "had been evaluated 1 time before" in page


def test_polling_ends_with_the_evaluation(client, lena, done):
    client.force_login(lena)
    url = reverse("reports:evaluation", args=[done.study.slug, done.pk])
    response = client.get(url, headers={"HX-Request": "true"})
    page = response.content.decode()
    assert "hx-trigger" not in page
    assert "<html" not in page
    assert response["HX-Refresh"] == "true"
    Evaluation.objects.update(status=Status.RUNNING)
    running = client.get(url, headers={"HX-Request": "true"})
    assert 'hx-trigger="every 2s"' in running.content.decode()
    assert "HX-Refresh" not in running


def test_the_arms_metric_is_previewed_once_outputs_are_there(client, lena, labelled):
    client.force_login(lena)
    page = client.get(reverse("reports:evaluation", args=[labelled.study.slug, labelled.pk])).content.decode()
    assert "0.57" in page
    assert "0.86" in page


def test_a_blind_campaign_on_the_outputs_is_planned_from_the_evaluation(client, lena, anna):
    row = summaries(3)
    join(row.study, lena, "lead")
    join(row.study, anna, "annotator")
    client.force_login(lena)
    url = reverse("reports:evaluation_campaign", args=[row.study.slug, row.pk])
    data = {"name": "blind", "kind": "comparison", "annotators": [anna.pk], "overlap": 2}
    assert "only 1 annotators" in client.post(url, data).content.decode()
    assert row.campaigns.count() == 0
    response = client.post(url, data | {"overlap": 1})
    assert response.status_code == 302
    campaign = row.campaigns.get()
    assert campaign.items.count() == 3
    used = {c for item in campaign.items.all() for c in (item.completion_a_id, item.completion_b_id)}
    assert used == set(row.completions.values_list("pk", flat=True))


def test_the_lead_makes_a_report_on_the_page_and_reads_it(client, lena, anna, ben):
    row = summaries(4)
    join(row.study, lena, "lead")
    campaign = campaign_on(row, "comparison", [anna, ben], simulated=True)
    for item in campaign.items.all():
        judge(item, anna, "prefer_b")
        judge(item, ben, "prefer_b")
    unblinding.unblind(campaign, reason="Planned interim look", actor=lena)
    client.force_login(lena)
    url = reverse("reports:report_new", args=[row.study.slug])
    page = client.post(url, {"evaluations": [row.pk], "campaigns": [campaign.pk]}, follow=True).content.decode()
    assert "sft against base" in page
    assert "made by a program" in page
    assert row.study.reports.get().campaigns.get() == campaign
    assert "Plan a campaign" in client.post(url, {}).content.decode()


def test_the_results_page_of_an_empty_study_says_what_to_do(client, lena):
    study = make_study()
    join(study, lena, "lead")
    client.force_login(lena)
    page = client.get(reverse("reports:results", args=[study.slug])).content.decode()
    assert "not locked" in page
    assert "No evaluation yet" in page
    assert "No report yet" in page


def test_a_failed_evaluation_can_be_tried_again_by_the_lead_only(client, lena, ben, done):
    Worker.objects.create(name="w", queues="generation", heartbeat_at=timezone.now())
    Evaluation.objects.update(status=Status.FAILED, error="The server is gone.")
    url = reverse("reports:evaluation_retry", args=[done.study.slug, done.pk])
    client.force_login(ben)
    assert client.post(url).status_code == 403
    client.force_login(lena)
    assert "The server is gone." in client.get(url.removesuffix("retry/")).content.decode()
    client.post(url)
    done.refresh_from_db()
    assert done.status == Status.QUEUED


def test_a_report_whose_files_are_gone_says_so(report):
    import shutil

    from reports import exports

    shutil.rmtree(report.path)
    with pytest.raises(UserError, match="Make the report again"):
        exports.document(report)


def test_pages_name_no_case_text(client, lena, done, report):
    client.force_login(lena)
    case = done.study.cases.first()
    for url in pages(done, report).values():
        response = client.get(url)
        body = response.getvalue() if response.streaming else response.content
        assert case.inputs["text"].encode() not in body
    assert evaluation.earlier_evaluations(done) == 0
