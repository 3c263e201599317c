"""One finished example: the whole loop in small, its judgements made by a program.

Each step looks whether it is done already, so that a demo that was stopped goes on where it was.
"""

from collections.abc import Callable
from typing import Any

from django.conf import settings

from accounts.errors import UserError
from accounts.models import User
from annotations.models import Campaign, Model, Study
from annotations.planning import plan_campaign
from annotations.policy import Policy
from demo.completions import completions, finished
from demo.load import SIMULATED
from demo.simulate import judge_all
from reports import analysis, build, evaluation
from reports.models import Evaluation, Report
from training.launch import queue_run, resume
from training.models import Run, TrainingDataset
from training.snapshots import freeze

Say = Callable[[str], None]
# Short runs: enough to see the loop work on two cores, not enough to be good. One row at a time: under 4 GB of memory.
SHORT = {
    "per_device_train_batch_size": 1,
    "per_device_eval_batch_size": 1,
    "gradient_accumulation_steps": 2,
    "gradient_checkpointing": False,
    "logging_steps": 1,
}
SFT = {"max_steps": 12} | SHORT
DPO = {"max_steps": 6} | SHORT


def _campaign(study: Study, name: str, people: dict[str, User], **fields: Any) -> Campaign:
    found = study.campaigns.filter(name=name).first()
    annotators = [people[who] for who in SIMULATED]
    campaign = found or plan_campaign(
        study=study,
        name=name,
        annotators=annotators,
        overlap=len(annotators),
        seed=1,
        simulated=True,
        actor=people["lena"],
        **fields,
    )
    judge_all(campaign, actor=people["lena"])
    return campaign


def _run(study: Study, name: str, dataset: TrainingDataset, actor: User, **fields: Any) -> Run:
    base = Model.objects.get(name=settings.EMBEDDED_MODEL_NAME)
    row = Run.objects.filter(name=name).first() or queue_run(
        study=study, name=name, base=base, dataset=dataset, seed=1, actor=actor, **fields
    )
    return finished(row, "training", lambda row: resume(run=row, actor=actor))


def make_example(people: dict[str, User], say: Say, url: str) -> Report:
    """Preferences, SFT, DPO, an evaluation of the three arms and its report, on the study “example”."""
    study, lena = Study.objects.get(slug="example"), people["lena"]
    base = Model.objects.get(name=settings.EMBEDDED_MODEL_NAME)
    report = study.reports.first()
    where = f"{url}/s/{study.slug}/results/reports/"
    if report:
        say(f"The example report: {where}{report.pk}/")
        return report
    say("Making the example: a small study from pairs to report, judged by a program. It takes some minutes …")
    completions(study, base, n=2, limit=12, actor=lena)
    pairs = _campaign(study, "Simulated preferences", people, kind="comparison", models=[base], split="train")
    say("  pairs judged; fine-tuning with SFT …")
    sft_data = study.datasets.filter(kind="sft").first() or freeze(
        study=study, kind="sft", campaigns=[], policy=Policy(), actor=lena
    )
    sft = _run(study, "example-sft", sft_data, lena, method="sft", hyperparameters=SFT)
    say("  fine-tuning with DPO …")
    preferences = study.datasets.filter(kind="preference").first()
    preferences = preferences or freeze(study=study, kind="preference", campaigns=[pairs], policy=Policy(), actor=lena)
    dpo = _run(study, "example-dpo", preferences, lena, method="dpo", parent=sft, hyperparameters=DPO)
    say("  summaries of the test cases by the three arms …")
    compared = _evaluation(study, [base, sft.model, dpo.model], lena)
    report = _report(study, compared, people)
    say(f"The example report is ready: {where}{report.pk}/")
    return report


def _evaluation(study: Study, arms: list[Model | None], actor: User) -> Evaluation:
    models = [arm for arm in arms if arm is not None]
    if len(models) != len(arms):
        raise UserError("A run of the example ended without an adapter. Look at its page under Training.")
    # C12: what is compared, and how, is fixed before any output of a test case exists.
    analysis.lock(study, actor, changes={"arms": [model.name for model in models]})
    row = study.evaluations.first() or evaluation.start(
        study=study, arms=models, sampling={"temperature": 0.0, "max_tokens": 96, "seed": 1}, actor=actor
    )
    return finished(row, "generation", lambda row: evaluation.retry(row, actor))


def _report(study: Study, compared: Evaluation, people: dict[str, User]) -> Report:
    for kind, name in (("likert", "Simulated grades"), ("comparison", "Simulated comparisons")):
        campaign = _campaign(
            study,
            name,
            people,
            kind=kind,
            **evaluation.scope(compared),
        )
        compared.campaigns.add(campaign)
    return build.build(study=study, evaluations=[compared], campaigns=list(study.campaigns.all()), actor=people["lena"])
