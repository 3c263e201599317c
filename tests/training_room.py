"""Plain functions for the tests of the training room: judge, freeze, queue, and what a recipe leaves behind."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.utils import timezone

from accounts.models import User
from annotations import judging
from annotations.judging import Answer
from annotations.models import Assignment, Campaign, Item, Judgement, Model, Study
from annotations.preferences import Policy
from annotations.weights import directory_sha256
from tests.factories import make_campaign, make_cases, make_model, make_study
from training import launch, snapshots
from training.models import Run, TrainingDataset


def judge(item: Item, annotator: User, outcome: str, strength: str = "clearly", **values: str) -> Judgement:
    """What the rating page does when somebody submits."""
    assignment = Assignment.objects.create(
        item=item, annotator=annotator, lease_expires_at=timezone.now() + timedelta(hours=1)
    )
    why = "missing_information" if outcome == "cannot_judge" else ""
    answer = Answer(outcome, strength=strength, cannot_judge=why, values=values)
    return judging.submit(assignment, answer, actor=annotator)


def compare(campaign: Campaign, votes: dict[User, str], item: int = 0, strength: str = "clearly") -> list[Judgement]:
    return [judge(campaign.items.all()[item], who, vote, strength) for who, vote in votes.items()]


def judged_study(annotator: User) -> Study:
    """A study `summaries` with a campaign `first` of judged pairs: three to train on, one to validate."""
    study = make_study(slug="summaries")
    cases = make_cases(study, 3) + make_cases(study, 1, split="validation")
    campaign = make_campaign(study, [annotator], cases=cases, name="first")
    for number, vote in enumerate(["prefer_a", "prefer_b", "prefer_a", "prefer_b"]):
        compare(campaign, {annotator: vote}, item=number)
    return study


def paper_base(directory: Path, name: str = "the-base") -> Model:
    """A base model for tests in which no recipe starts."""
    directory.mkdir()
    (directory / "model.safetensors").write_bytes(name.encode())
    return make_model(name, kind="base", path=str(directory))


def freeze(study: Study, kind: str = "sft") -> TrainingDataset:
    return snapshots.freeze(study=study, kind=kind, campaigns=list(study.campaigns.all()), policy=Policy())


def queue(study: Study, base: Model, method: str = "sft", **arguments: Any) -> Run:
    return launch.queue_run(study=study, method=method, base=base, **arguments)


def leave_result(run: Run, **more: object) -> None:
    """What a recipe leaves behind when it has succeeded."""
    adapter = run.path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text("{}")
    (adapter / "adapter_model.safetensors").write_bytes(b"learnt")
    result = {"adapter_sha256": directory_sha256(adapter), "base_sha256": "b" * 64, "steps": 3, "max_steps": 3}
    (run.path / "result.json").write_text(json.dumps(result | more))


def leave_error(run: Run, kind: str, message: str) -> None:
    """What a recipe leaves behind when it has failed."""
    (run.path / "error.json").write_text(json.dumps({"kind": kind, "message": message}))


def abandon(run: Run) -> None:
    """Its supervisor was killed a while ago."""
    Run.objects.filter(pk=run.pk).update(heartbeat_at=timezone.now() - timedelta(minutes=5))
