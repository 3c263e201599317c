"""An adapter knows every case it has seen, its parents included; none of them, nor their groups, may test it (C7)."""

import pytest

from annotations.models import Case, Model, Status, Study
from tests.factories import make_cases, make_model, make_study
from training import lineage
from training.models import DatasetRow, Run, TrainingDataset

pytestmark = pytest.mark.django_db


def make_adapter(study: Study, name: str, cases: list[Case], parent: Run | None = None, kind: str = "sft") -> Model:
    """An adapter as a finished run leaves it behind."""
    dataset = TrainingDataset.objects.create(
        study=study,
        kind=kind,
        directory=name,
        sha256="0" * 64,
        n_train=len(cases),
        n_validation=0,
        template_version=1,
    )
    for position, case in enumerate(cases):
        DatasetRow.objects.create(dataset=dataset, split=case.split, position=position, case=case)
    base = Model.objects.filter(kind="base").first() or make_model("base", kind="base", path="/models/base")
    model = make_model(name, kind="adapter", base=base, path=f"/runs/{name}/adapter")
    Run.objects.create(
        study=study,
        name=name,
        method="dpo" if parent else "sft",
        base=base,
        dataset=dataset,
        parent=parent,
        directory=name,
        status=Status.SUCCEEDED,
        model=model,
    )
    return model


@pytest.fixture
def chain():
    """SFT on two cases, DPO on two others, continuing it."""
    study = make_study()
    cases = make_cases(study, 4)
    sft = make_adapter(study, "sft", cases[:2])
    dpo = make_adapter(study, "dpo", cases[2:], parent=sft.made_by_run, kind="preference")
    return study, cases, sft, dpo


def test_the_lineage_of_an_adapter_includes_its_parents(chain):
    _, cases, sft, dpo = chain
    assert set(lineage.training_cases(sft)) == set(cases[:2])
    assert set(lineage.training_cases(dpo)) == set(cases)
    assert lineage.training_cases(sft.base).count() == 0
    assert [run.name for run in lineage.runs_of(dpo)] == ["dpo", "sft"]


def test_a_case_that_a_parent_was_trained_on_leaks(chain):
    _, cases, sft, dpo = chain
    assert lineage.leaked([sft], [cases[2]]) == {}
    assert set(lineage.leaked([sft, dpo], cases)) == {case.pk for case in cases}
    assert "dpo" in lineage.leaked([dpo], [cases[0]])[cases[0].pk]
    assert "run sft" in lineage.leaked([dpo], [cases[0]])[cases[0].pk]


def test_another_case_of_the_same_patient_leaks_within_the_study_only(chain):
    study, cases, sft, _ = chain
    sibling = make_cases(study, 1, split="test", group=cases[0].group)[0]
    fresh = make_cases(study, 1, split="test")[0]
    stranger = make_cases(make_study(), 1, split="test", group=cases[0].group)[0]
    found = lineage.leaked([sft], [sibling, fresh, stranger])
    assert set(found) == {sibling.pk}
    assert cases[0].external_id in found[sibling.pk]


def test_an_adapter_registered_again_and_a_server_of_it_leak_as_the_adapter_does(chain):
    _, cases, _, dpo = chain
    Model.objects.filter(pk=dpo.pk).update(sha256="d" * 64)
    copy = make_model("copy", kind="adapter", base=dpo.base, path="/elsewhere", sha256="d" * 64)
    served = make_model("server", kind="endpoint", url="http://127.0.0.1:8001/v1", served_name="dpo")
    for model in (copy, served):
        assert [run.name for run in lineage.runs_of(model)] == ["dpo", "sft"]
        assert set(lineage.leaked([model], cases)) == {case.pk for case in cases}
    assert lineage.unknown([copy, served, dpo, dpo.base]) == []


def test_the_hash_in_a_runs_result_maps_too(chain):
    _, cases, sft, _ = chain
    Run.objects.filter(name="sft").update(result={"adapter_sha256": "e" * 64})
    copy = make_model("copy", kind="adapter", base=sft.base, path="/elsewhere", sha256="e" * 64)
    assert set(lineage.training_cases(copy)) == set(cases[:2])


def test_models_whose_training_data_nobody_knows_are_named(chain):
    _, cases, sft, _ = chain
    strangers = [
        make_model("foreign", kind="adapter", base=sft.base, path="/foreign"),
        make_model("hashed", kind="adapter", base=sft.base, path="/hashed", sha256="f" * 64),
        make_model("server", kind="endpoint", url="http://127.0.0.1:8001/v1", served_name="something"),
        make_model("imported"),
    ]
    ideal = make_model("ideal", kind="ideal")
    assert lineage.leaked(strangers, cases) == {}
    assert lineage.unknown([sft.base, sft, ideal, *strangers]) == strangers


def test_the_base_model_leaks_nothing(chain):
    _, cases, sft, _ = chain
    assert lineage.leaked([sft.base], cases) == {}
