"""freeze_dataset and train, as a script calls them (C9): one JSON object, or a message that says what to do."""

import json
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from annotations.models import Status, Worker
from tests.factories import make_campaign, make_cases, make_model, make_study
from tests.training_room import compare
from training.models import Run, TrainingDataset

pytestmark = pytest.mark.django_db


@pytest.fixture
def study(anna, tmp_path):
    study = make_study(slug="summaries")
    cases = make_cases(study, 2) + make_cases(study, 1, split="validation") + make_cases(study, 1, split="test")
    campaign = make_campaign(study, [anna], cases=cases, name="first")
    for number, vote in enumerate(["prefer_a", "tie", "prefer_b", "prefer_a"]):
        compare(campaign, {anna: vote}, item=number)
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "model.safetensors").write_bytes(b"weights")
    make_model("the-base", kind="base", path=str(tmp_path / "base"))
    return study


@pytest.fixture
def run(capsys):
    def call(*arguments: str) -> dict:
        call_command(*arguments, "--json", skip_checks=True)
        return json.loads(capsys.readouterr().out)

    return call


def refused(*arguments: str) -> str:
    with pytest.raises(CommandError) as caught:
        call_command(*arguments, skip_checks=True)
    assert caught.value.returncode == 1
    return str(caught.value)


def test_freeze_dataset_prints_ids_counts_and_hash(study, run):
    said = run("freeze_dataset", "summaries", "--kind", "preference", "--campaign", "first")
    dataset = TrainingDataset.objects.get(pk=said["dataset"])
    assert (said["rows"], said["train"], said["validation"]) == (2, 1, 1)
    assert said["dropped"] == {"test_split": 1, "tie": 1}
    assert said["sha256"] == dataset.sha256
    assert said["campaigns"] == ["first"]


def test_without_a_campaign_every_one_that_counts_is_used(study, run):
    assert run("freeze_dataset", "summaries", "--kind", "preference")["campaigns"] == ["first"]
    said = run("freeze_dataset", "summaries", "--kind", "sft")
    assert (said["campaigns"], said["by_source"]) == ([], {"references": 3})


def test_a_policy_file_decides(study, run, tmp_path):
    path = tmp_path / "policy.toml"
    path.write_text("min_annotators = 2\n")
    message = refused("freeze_dataset", "summaries", "--kind", "preference", "--policy", str(path))
    assert "too_few_annotators: 3" in message


def test_what_is_not_there_is_said_with_what_is(study):
    assert "no study “nothing”. Studies: summaries" in refused("freeze_dataset", "nothing", "--kind", "sft")
    missing = ("freeze_dataset", "summaries", "--kind", "sft", "--campaign", "second")
    assert "no campaign “second”. Campaigns: first" in refused(*missing)
    train = ("train", "summaries", "--method", "dpo", "--base")
    assert "no model “llama”. Base models: the-base" in refused(*train, "llama")
    assert "no dataset 99" in refused(*train, "the-base", "--dataset", "99")
    assert "no run 99" in refused(*train, "the-base", "--from-run", "99")
    assert "write it as key=value" in refused(*train, "the-base", "--set", "beta")
    assert "did you mean 'beta'" in refused(*train, "the-base", "--set", "betta=1")
    assert not Run.objects.exists()


def test_train_queues_and_says_which_dataset_and_parent_it_took(study, run):
    frozen = run("freeze_dataset", "summaries", "--kind", "preference")
    said = run("train", "summaries", "--method", "dpo", "--base", "the-base", "--set", "beta=0.2", "--name", "mine")
    row = Run.objects.get(pk=said["run"])
    assert (row.name, row.status, row.hyperparameters) == ("mine", Status.QUEUED, {"beta": 0.2})
    assert (said["dataset"], said["dataset_sha256"]) == (frozen["dataset"], frozen["sha256"])
    assert said["from_run"] is None
    assert "starts from the base model" in said["warning"]


def test_wait_fails_at_once_where_no_worker_is_alive(study):
    message = refused("train", "summaries", "--method", "sft", "--base", "the-base", "--wait")
    assert "No worker is serving the queue “training”" in message
    assert not Run.objects.exists()


def test_wait_reports_how_the_run_ended(study, monkeypatch):
    Worker.objects.create(name="host:1", queues="training", heartbeat_at=timezone.now() + timedelta(minutes=1))

    def cancel(seconds: float) -> None:
        Run.objects.get().transition(Status.CANCELLED, error="Cancelled before it began.")

    monkeypatch.setattr("annotations.doorbell.time.sleep", cancel)
    message = refused("train", "summaries", "--method", "sft", "--base", "the-base", "--wait")
    assert "ended cancelled. Cancelled before it began." in message


@pytest.mark.parametrize("command", ["freeze_dataset", "train"])
def test_bad_use_ends_with_status_2(command, capsys):
    from django.core.management import ManagementUtility

    with pytest.raises(SystemExit) as caught:
        ManagementUtility(["manage.py", command, "summaries", "--nonsense"]).execute()
    assert caught.value.code == 2
