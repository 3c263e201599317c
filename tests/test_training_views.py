"""The training pages: who may see and do what, what they say, and that polling ends by itself."""

import json
import re
from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.models import AuditEvent
from annotations.models import Membership, Model, Status, Study, Worker
from tests.factories import join
from tests.training_room import abandon, freeze, judged_study, leave_result, paper_base, queue
from training import launch, runs
from training.models import Run, TrainingDataset

pytestmark = pytest.mark.django_db
ROLE = Membership.Role
URL = "/s/summaries/training/"


@pytest.fixture
def study(anna) -> Study:
    return judged_study(anna)


@pytest.fixture
def base(tmp_path) -> Model:
    return paper_base(tmp_path / "base")


@pytest.fixture
def vera(ben, study):
    """A viewer."""
    join(study, ben, ROLE.VIEWER)
    return ben


@pytest.fixture
def lead(client, lena, study):
    """The lead's browser; she judges nothing herself."""
    join(study, lena, ROLE.LEAD)
    client.force_login(lena)
    return client


@pytest.fixture
def running(study, base):
    """A run that is at work, as far as the page can tell."""
    run = queue(study, base, "dpo")
    run.claim("w")
    metrics = {"loss": 0.6931, "rewards/margins": 0.0, "rewards/accuracies": 0.5, "logps/chosen": -9.0}
    lines = [
        {"type": "status", "status": "training", "time": 100.0, "step": 0, "max_steps": 10},
        {"type": "log", "time": 110.0, "step": 1, "max_steps": 10, "metrics": metrics | {"logps/rejected": -9.5}},
        {"type": "eval", "time": 111.0, "step": 1, "max_steps": 10, "metrics": {"eval_loss": 0.69}},
    ]
    (run.path / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    Run.objects.filter(pk=run.pk).update(step=1, max_steps=10)
    run.refresh_from_db()
    return run


@pytest.fixture
def finished(running):
    step0 = {"loss": 0.6931472, "expected_loss": 0.6931472, "max_abs_margin": 0.0}
    leave_result(
        running, proof={"step0": step0, "reference": "base"}, versions={"torch": "2.13.0"}, stopped_early=False
    )
    return runs.finalise(running)


def page(client, url: str) -> str:
    response = client.get(url)
    assert response.status_code == 200, url
    return response.content.decode()


# --- access


def test_strangers_get_404_annotators_403_and_viewers_see_but_do_not_act(client, chidi, anna, vera, study, finished):
    join(study, anna, ROLE.ANNOTATOR)
    seen = [URL, f"{URL}runs/{finished.pk}/", f"{URL}runs/{finished.pk}/live/", f"{URL}runs/{finished.pk}/loss.svg"]
    seen += [f"{URL}datasets/{finished.dataset_id}/", f"{URL}datasets/{finished.dataset_id}/files/train.jsonl"]
    leads = [f"{URL}datasets/new/", f"{URL}runs/new/", f"{URL}runs/{finished.pk}/files/adapter_config.json"]
    actions = [f"{URL}runs/{finished.pk}/stop/", f"{URL}runs/{finished.pk}/resume/"]
    assert {client.get(url).status_code for url in [*seen, *leads]} == {302}
    client.force_login(chidi)
    assert {client.get(url).status_code for url in [*seen, *leads]} == {404}
    client.force_login(anna)
    assert {client.get(url).status_code for url in [*seen, *leads]} == {403}
    client.force_login(vera)
    assert {client.get(url).status_code for url in seen} == {200}
    assert {client.get(url).status_code for url in leads} == {403}
    assert {client.post(url).status_code for url in actions} == {403}
    assert "Launch a run" not in page(client, URL)


def test_a_lead_who_judges_an_open_campaign_reads_no_rows(lead, lena, study):
    dataset = freeze(study, "preference")
    campaign = study.campaigns.get()
    campaign.annotators.add(lena)
    urls = [f"{URL}datasets/{dataset.pk}/", f"{URL}datasets/{dataset.pk}/files/train.jsonl"]
    assert {lead.get(url).status_code for url in urls} == {403}
    campaign.closed_at = timezone.now()
    campaign.save()
    assert {lead.get(url).status_code for url in urls} == {200}


def test_datasets_and_runs_of_another_study_do_not_exist_here(lead, adam, running):
    study = running.study
    study.pk, study.slug = None, "another"
    study.save()
    lead.force_login(adam)
    assert lead.get(f"/s/another/training/runs/{running.pk}/").status_code == 404
    assert lead.get(f"/s/another/training/datasets/{running.dataset_id}/").status_code == 404


# --- datasets


def test_a_preview_counts_and_freezing_freezes(lead, study):
    campaign = study.campaigns.get()
    form = {"kind": "preference", "campaigns": [campaign.pk], "consensus": "majority", "min_annotators": 1}
    form |= {"min_strength": "slightly", "unparsed_as_wrong": "on", "partly_as_wrong": "on"}
    assert f'value="{campaign.pk}"' in page(lead, f"{URL}datasets/new/")
    shown = lead.post(f"{URL}datasets/new/", form | {"preview": "1"}).content.decode()
    assert re.search(r'stat-value">3</span><span class="stat-label">training rows', shown)
    assert not TrainingDataset.objects.exists()
    response = lead.post(f"{URL}datasets/new/", form | {"freeze": "1"})
    dataset = TrainingDataset.objects.get()
    assert response["Location"] == f"{URL}datasets/{dataset.pk}/"
    assert dataset.created_by.username == "lena"
    assert dataset.sha256 in page(lead, response["Location"])
    assert dataset.sha256[:12] in page(lead, URL)


def test_a_freeze_that_keeps_nothing_says_why_in_the_form(lead, study):
    form = {"kind": "preference", "campaigns": [study.campaigns.get().pk], "consensus": "majority"}
    form |= {"min_strength": "slightly", "min_annotators": 5, "freeze": "1"}
    shown = lead.post(f"{URL}datasets/new/", form).content.decode()
    assert "too_few_annotators: 4" in shown
    assert 'value="5"' in shown


def test_the_preview_names_the_dropped_cases_with_the_reason_in_words(lead, study):
    form = {"kind": "preference", "campaigns": [study.campaigns.get().pk], "consensus": "majority"}
    form |= {"min_strength": "slightly", "min_annotators": 5, "preview": "1"}
    shown = lead.post(f"{URL}datasets/new/", form).content.decode()
    assert "fewer answers than the policy" in shown
    assert study.cases.first().external_id in shown


def test_a_dataset_is_downloaded_and_the_download_is_on_record(lead, study):
    dataset = freeze(study)
    response = lead.get(f"{URL}datasets/{dataset.pk}/files/train.jsonl")
    assert b"".join(response.streaming_content) == (dataset.path / "train.jsonl").read_bytes()
    assert AuditEvent.objects.get(action="download dataset").detail == {"file": "train.jsonl"}
    assert lead.get(f"{URL}datasets/{dataset.pk}/files/..%2F..%2Fenv").status_code == 404


def test_a_dataset_that_was_changed_says_so(lead, study):
    dataset = freeze(study)
    (dataset.path / "train.jsonl").chmod(0o640)
    (dataset.path / "train.jsonl").write_text("{}\n")
    assert "train.jsonl was changed after it was frozen" in page(lead, f"{URL}datasets/{dataset.pk}/")


# --- launching


def test_a_run_is_launched_from_the_form(lead, study, base):
    dataset = freeze(study)
    shown = page(lead, f"{URL}runs/new/")
    assert "No training worker is running" in shown
    form = {"base": base.pk, "dataset": dataset.pk, "name": "", "seed": 3, "hyperparameter-learning_rate": "1e-4"}
    response = lead.post(f"{URL}runs/new/?method=sft", form)
    run = Run.objects.get()
    assert response["Location"] == f"{URL}runs/{run.pk}/"
    assert (run.name, run.seed, run.hyperparameters) == ("summaries-sft-1", 3, {"learning_rate": 1e-4})
    shown = page(lead, response["Location"])
    assert "Place 1 in the queue" in shown
    assert "No training worker is running" in shown
    Worker.objects.create(name="w", queues="training", heartbeat_at=timezone.now() + timedelta(minutes=1))
    assert "No training worker is running" not in page(lead, response["Location"])


def test_a_wrong_setting_is_said_in_the_form_and_nothing_is_queued(lead, study, base):
    dataset = freeze(study)
    form = {"base": base.pk, "dataset": dataset.pk, "seed": 0, "hyperparameter-lora_r": "many", "name": "kept"}
    shown = lead.post(f"{URL}runs/new/?method=sft", form).content.decode()
    assert "lora_r is &#x27;many&#x27;; it must be a whole number" in shown
    assert 'value="kept"' in shown
    assert not Run.objects.exists()


def test_the_form_says_what_is_missing(lead, study, base):
    assert "There is no preference dataset yet" in page(lead, f"{URL}runs/new/?method=dpo")
    freeze(study, "preference")
    shown = page(lead, f"{URL}runs/new/?method=dpo")
    assert "No SFT run has succeeded yet" in shown
    assert "ten times TRL" in shown


# --- watching


def test_the_page_of_a_running_run_polls_and_shows_charts(lead, running):
    url = f"{URL}runs/{running.pk}/"
    shown = page(lead, url)
    assert f'hx-get="{url}live/"' in shown
    assert 'hx-trigger="every 2s"' in shown
    assert "Time left: about 2 min" in shown
    assert "loss 0.6931" in shown
    sources = re.findall(r'src="([^"]+\.svg\?step=[^"]+)"', shown)
    assert [source.split("/")[-1].split(".")[0] for source in sources] == ["loss", "margins", "accuracies", "logps"]
    for source in sources:
        response = lead.get(source)
        assert response["Content-Type"] == "image/svg+xml"
        assert b"<svg" in response.content
    assert lead.get(f"{url}weights.svg").status_code == 404


def test_charts_carry_no_inline_style(lead, running):
    content = lead.get(f"{URL}runs/{running.pk}/loss.svg").content.decode()
    assert "style" not in content
    assert "<script" not in content


def test_polling_ends_by_construction(lead, finished):
    partial = page(lead, f"{URL}runs/{finished.pk}/live/")
    assert "hx-trigger" not in partial
    assert "hx-get" not in partial
    assert "<html" not in partial


def test_the_result_shows_proof_hashes_and_what_was_dropped(lead, finished):
    shown = page(lead, f"{URL}runs/{finished.pk}/")
    assert "0.693147 (expected 0.693147" in shown
    assert finished.result["adapter_sha256"] in shown
    assert finished.dataset.sha256 in shown
    assert "torch 2.13.0" in shown
    overview = page(lead, URL)
    assert finished.model.name in overview
    assert finished.model.sha256[:12] in overview


def test_a_lead_downloads_the_adapter_and_nothing_else(lead, finished):
    response = lead.get(f"{URL}runs/{finished.pk}/files/adapter_model.safetensors")
    assert b"".join(response.streaming_content) == b"learnt"
    assert lead.get(f"{URL}runs/{finished.pk}/files/config.json").status_code == 404
    assert AuditEvent.objects.get(action="download adapter").object_id == str(finished.pk)


def test_stop_and_keep_cancel_and_resume_are_buttons(lead, running):
    url = f"{URL}runs/{running.pk}/"
    assert "Stop and keep the adapter" in page(lead, url)
    lead.post(f"{url}stop/", {"keep": "1"})
    running.refresh_from_db()
    assert running.status == Status.STOPPING
    assert (running.path / runs.STOP_AND_KEEP).exists()
    lead.post(f"{url}stop/")
    assert not (running.path / runs.STOP_AND_KEEP).exists()
    abandon(running)
    runs.sweep()
    running.refresh_from_db()
    assert running.status == Status.CANCELLED


def test_an_interrupted_run_says_why_and_can_be_resumed(lead, running):
    url = f"{URL}runs/{running.pk}/"
    abandon(running)
    runs.sweep()
    shown = page(lead, url)
    assert "The recipe was killed" in shown
    assert "Resume</button>" in shown
    lead.post(f"{url}resume/")
    running.refresh_from_db()
    assert running.status == Status.QUEUED
    response = lead.post(f"{url}resume/")
    assert response.status_code == 400
    assert "can&#x27;t become queued" in response.content.decode()


def test_a_dpo_run_from_the_base_says_that_sft_first_is_better(lead, running):
    assert launch.FROM_BASE.split(",")[0] in page(lead, f"{URL}runs/{running.pk}/")


def test_every_page_of_the_room_is_free_of_inline_code(lead, finished):
    urls = [URL, f"{URL}datasets/new/", f"{URL}runs/new/", f"{URL}runs/{finished.pk}/"]
    for url in [*urls, f"{URL}datasets/{finished.dataset_id}/"]:
        shown = page(lead, url)
        assert not re.search(r'\sstyle=|<style|\son[a-z]+="|<script(?![^>]*\ssrc=)', shown), url


# --- blinding


def test_a_lead_who_judges_an_open_campaign_cannot_learn_from_a_preview_how_others_judged(lead, lena, study):
    campaign = study.campaigns.get()
    campaign.annotators.add(lena)
    form = {"kind": "preference", "campaigns": [campaign.pk], "consensus": "majority", "min_strength": "slightly"}
    for action in ("preview", "freeze"):
        response = lead.post(f"{URL}datasets/new/", form | {"min_annotators": 5, action: "1"})
        assert response.status_code == 403
        assert "too_few_annotators" not in response.content.decode()
    assert lead.get(f"{URL}datasets/new/").status_code == 403
    assert not TrainingDataset.objects.exists()


def test_a_lead_who_judges_an_open_campaign_launches_no_run_that_would_freeze_a_dataset(lead, lena, study, base):
    study.campaigns.get().annotators.add(lena)
    lead.post(f"{URL}runs/new/?method=dpo", {"base": base.pk, "seed": 0})
    assert not TrainingDataset.objects.exists()
    assert not Run.objects.exists()


def test_counts_of_what_was_dropped_are_hidden_from_a_lead_who_judges(lead, lena, study, finished):
    TrainingDataset.objects.update(dropped={"tied": 17})
    campaign = study.campaigns.get()
    urls = [URL, f"{URL}runs/{finished.pk}/", f"{URL}runs/{finished.pk}/live/"]
    assert ["tied 17" in page(lead, url) for url in urls] == [True] * 3
    campaign.annotators.add(lena)
    for url in urls:
        assert "tied" not in page(lead, url)
        assert "hidden while you judge" in page(lead, url)
