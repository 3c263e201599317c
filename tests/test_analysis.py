import pytest

from accounts.errors import UserError
from accounts.models import AuditEvent
from annotations.models import Study
from reports import analysis
from tests.factories import make_study

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("task", "metric", "criterion", "average"),
    [
        ("classification", "f1", "", "binary"),
        ("triage", "f1", "", "macro"),
        ("reasoning", "accuracy", "", "macro"),
        ("summarisation", "mean_likert", "faithful", "macro"),
    ],
)
def test_each_task_has_a_sound_default_plan(task, metric, criterion, average):
    decided = analysis.plan(make_study(task))
    assert (decided.primary_metric, decided.primary_criterion, decided.average) == (metric, criterion, average)
    assert not decided.partly_counts


def test_contrasts_are_each_arm_minus_the_one_before_unless_declared():
    study = make_study()
    assert analysis.plan(study, {"arms": ["base", "sft", "dpo"]}).planned_contrasts == (("base", "sft"), ("sft", "dpo"))
    declared = analysis.plan(study, {"arms": ["base", "sft", "dpo"], "contrasts": [["base", "dpo"]]})
    assert declared.planned_contrasts == (("base", "dpo"),)
    assert analysis.contrasts_among(declared, ["base", "sft", "dpo"]) == [
        (("base", "dpo"), True),
        (("base", "sft"), False),
        (("sft", "dpo"), False),
    ]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"primary": "f1"}, "primary. Known: primary_metric"),
        ({"primary_metric": "f1"}, "mean_likert or win_rate"),
        ({"primary_criterion": "beauty"}, "faithful, complete"),
        ({"arms": ["a", "b"], "contrasts": [["a", "c"]]}, "not among the arms"),
        ({"margin": -1}, "above 0"),
        ({"unparsed_counts": "missing"}, "can be wrong"),
    ],
)
def test_a_plan_that_cannot_be_carried_out_says_why(changes, says):
    with pytest.raises(UserError, match=r"(?s)" + says.replace(".", r"\.")):
        analysis.plan(make_study(), changes)


def test_locking_keeps_the_whole_plan_with_its_hash_and_is_audited(lena):
    study = analysis.lock(make_study(), lena, changes={"arms": ["base", "sft"]})
    assert study.analysis["n_resamples"] == 10_000
    assert study.analysis["primary_criterion"] == "faithful"
    assert study.analysis_sha256 == analysis.plan(study).sha256
    assert analysis.unchanged_since_lock(study)
    assert AuditEvent.objects.get(action="lock_analysis").actor == lena


def test_a_locked_plan_cannot_be_changed_and_locking_again_changes_nothing():
    study = analysis.lock(make_study(), changes={"arms": ["base", "sft"]})
    at = study.analysis_locked_at
    assert analysis.lock(study).analysis_locked_at == at
    assert analysis.lock(study, changes={"arms": ["base", "sft"]}).analysis_locked_at == at
    with pytest.raises(UserError, match="can't be changed"):
        analysis.lock(study, changes={"arms": ["base", "dpo"]})


def test_a_plan_without_arms_is_not_locked():
    study = make_study()
    with pytest.raises(UserError, match="names no arms"):
        analysis.lock(study)
    assert study.analysis_locked_at is None


def test_a_plan_edited_behind_the_lock_is_noticed():
    study = analysis.lock(make_study(), changes={"arms": ["base", "sft"]})
    Study.objects.filter(pk=study.pk).update(analysis=study.analysis | {"primary_criterion": "complete"})
    study.refresh_from_db()
    assert not analysis.unchanged_since_lock(study)
