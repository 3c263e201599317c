"""The pages for studies, cases, completions and models, asked for as people ask for them."""

import io
import json
from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from annotations.models import Case, Completion, Generation, Model, Status, Study, Worker
from tests.factories import join, make_campaign, make_cases, make_completion, make_model, make_study

pytestmark = pytest.mark.django_db
NEW = {
    "slug": "portal",
    "task": "triage",
    "title": "Portal messages",
    "description": "",
    "instructions": "",
    "config": "",
}
LABELS = '[[label_fields]]\nname = "urgency"\nlevel = "ordinal"\nlabels = ["routine", "urgent"]\n'


def url(name, *args):
    return reverse(f"annotations:{name}", args=args)


@pytest.fixture
def study(lena, anna):
    made = make_study()
    join(made, lena, "lead")
    join(made, anna, "annotator")
    return made


@pytest.fixture
def lead(client, lena):
    client.force_login(lena)
    return client


def upload(*rows, name="cases.jsonl"):
    file = io.BytesIO("".join(json.dumps(row) + "\n" for row in rows).encode())
    file.name = name
    return file


def pages(study, case, generation):
    slug = study.slug
    return {
        "study": url("study", slug),
        "cases": url("cases", slug),
        "case": url("case", slug, case.pk),
        "case_import": url("case_import", slug),
        "generations": url("generations", slug),
        "generation": url("generation", slug, generation.pk),
        "completion_import": url("completion_import", slug),
    }


LEAD_ONLY = {"case_import", "completion_import"}


@pytest.mark.parametrize("who", ["lead", "viewer", "annotator", "stranger", "nobody"])
def test_each_page_opens_for_whom_it_is_for(client, study, lena, anna, ben, chidi, who):
    join(study, ben, "viewer")
    (case,) = make_cases(study, 1)
    generation = Generation.objects.create(study=study, model=make_model(), sampling={"seed": 0})
    person = {"lead": lena, "viewer": ben, "annotator": anna, "stranger": chidi}.get(who)
    if person:
        client.force_login(person)
    for name, address in pages(study, case, generation).items():
        expected = {"lead": 200, "viewer": 403 if name in LEAD_ONLY else 200, "annotator": 403, "stranger": 404}
        response = client.get(address)
        assert response.status_code == expected.get(who, 302), name
        if response.status_code == 200:
            body = response.content.decode()
            assert " style=" not in body
            assert " onclick=" not in body


def test_objects_of_another_study_do_not_exist(lead, study):
    other = make_study()
    (case,) = make_cases(other, 1)
    generation = Generation.objects.create(study=other, model=make_model())
    assert lead.get(url("case", study.slug, case.pk)).status_code == 404
    assert lead.get(url("generation", study.slug, generation.pk)).status_code == 404
    assert lead.post(url("generation_stop", study.slug, generation.pk)).status_code == 404


def test_viewers_change_nothing(client, study, ben):
    join(study, ben, "viewer")
    client.force_login(ben)
    row = Generation.objects.create(study=study, model=make_model())
    for address in [
        url("generations", study.slug),
        url("generation_stop", study.slug, row.pk),
        url("generation_retry", study.slug, row.pk),
        url("case_import", study.slug),
        url("completion_import", study.slug),
    ]:
        assert client.post(address).status_code == 403
    assert Generation.objects.get().status == Status.QUEUED


# --- studies


def test_the_site_admin_makes_a_study(client, adam):
    client.force_login(adam)
    response = client.post(url("study_new"), NEW | {"config": LABELS})
    assert response.status_code == 302
    study = Study.objects.get(slug="portal")
    assert (study.title, study.created_by, study.label_field("urgency")["level"]) == (
        "Portal messages",
        adam,
        "ordinal",
    )
    assert "urgency" in client.get(response["Location"]).content.decode()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"config": ""}, "A triage study needs its labels"),
        ({"config": "labels ="}, "The configuration is not valid TOML"),
        ({"config": LABELS, "slug": "Two words"}, "name of a study in addresses"),
        ({"config": LABELS, "slug": "new"}, "name of a study in addresses"),
    ],
)
def test_a_study_that_can_not_be_is_explained_in_place(client, adam, change, expected):
    client.force_login(adam)
    response = client.post(url("study_new"), NEW | change)
    assert response.status_code == 200
    assert expected in response.content.decode()
    assert not Study.objects.exists()


def test_only_site_admins_make_studies_and_models(lead, study):
    assert lead.get(url("study_new")).status_code == 403
    assert lead.get(url("models")).status_code == 403
    assert lead.post(url("models_register")).status_code == 403


def test_the_overview_says_what_is_next(lead, study):
    body = lead.get(url("study", study.slug)).content.decode()
    assert body.index("1. Import cases") < body.index("badge-open") < body.index("2. Generate")
    make_completion(make_cases(study, 1)[0], make_model())
    body = lead.get(url("study", study.slug)).content.decode()
    assert body.index("3. Plan a campaign") < body.index("badge-open") < body.index("4. Judge")


# --- cases


def test_a_case_file_is_imported_by_upload(lead, study):
    file = upload({"ID": 1, "text": "Cough.", "reference": "Cough."}, {"ID": 2, "text": "Fever."})
    response = lead.post(
        url("case_import", study.slug), {"file": file, "mapping": "external_id=ID", "split": "test"}, follow=True
    )
    assert list(study.cases.values_list("external_id", "split")) == [("1", "test"), ("2", "test")]
    body = response.content.decode()
    assert "2 cases of 2 groups imported: 0 train, 0 validation, 2 test." in body
    assert "1 have a reference, 1 have none" in body


def test_what_is_wrong_with_a_case_file_is_shown_in_place(lead, study):
    file = upload({"external_id": "a", "text": "Cough."}, {"external_id": "a", "text": "<b>"}, {"external_id": "c"})
    body = lead.post(url("case_import", study.slug), {"file": file}).content.decode()
    assert "cases.jsonl was not imported: 2 problems." in body
    assert "line 2: external_id “a” stands in line 1 already." in body
    assert "line 3: has no “text”" in body
    assert not Case.objects.exists()
    body = lead.post(url("case_import", study.slug), {"file": upload({}), "mapping": "nonsense"}).content.decode()
    assert "Write field=column" in body


def test_the_import_page_says_what_must_not_be_imported(lead, study):
    assert "identified patients" in lead.get(url("case_import", study.slug)).content.decode()


def test_cases_are_found_by_split_and_identifier(lead, study):
    make_cases(study, 2, split="train")
    make_cases(study, 1, split="test", external_id="special")
    body = lead.get(url("cases", study.slug), {"split": "test"}).content.decode()
    assert "special" in body
    assert "1 cases found" in body
    assert "special" not in lead.get(url("cases", study.slug), {"q": "other"}).content.decode()
    assert "special" in lead.get(url("cases", study.slug), {"q": "SPEC"}).content.decode()


def test_a_long_list_is_paged_with_few_queries(lead, study, django_assert_max_num_queries):
    make_cases(study, 60)
    with django_assert_max_num_queries(10):
        body = lead.get(url("cases", study.slug)).content.decode()
    assert "Page 1 of 2" in body
    assert body.count('scope="row"') == 50


def test_models_stay_hidden_from_a_lead_who_judges(lead, study, lena):
    campaign = make_campaign(study, [lena], models=("secret-a", "secret-b"))
    case = campaign.items.first().case
    body = lead.get(url("case", study.slug, case.pk)).content.decode()
    assert "secret" not in body
    assert "Summary" not in body  # nor the texts, whose order could tell
    assert "stays hidden from you until it is closed" in body
    campaign.closed_at = timezone.now()
    campaign.save()
    body = lead.get(url("case", study.slug, case.pk)).content.decode()
    assert "secret-a" in body
    assert case.completions.first().text in body


def test_clinical_text_is_escaped(lead, study):
    (case,) = make_cases(study, 1, inputs={"text": "<script>alert(1)</script>"})
    make_completion(case, make_model(), "<img src=x>")
    body = lead.get(url("case", study.slug, case.pk)).content.decode()
    assert "<script>alert" not in body
    assert "<img src=x>" not in body


# --- completions


@pytest.fixture
def base(db):
    return make_model("base", kind="base", path="/nowhere", sha256="0" * 64)


FORM = {"split": "", "n": 1, "temperature": 0, "max_tokens": 8, "seed": 0, "limit": ""}


def test_a_generation_is_queued_and_watched(lead, study, base, lena):
    make_cases(study, 3)
    response = lead.post(url("generations", study.slug), FORM | {"model": base.pk, "limit": 2})
    row = Generation.objects.get()
    assert response["Location"] == url("generation", study.slug, row.pk)
    assert (row.created_by, row.limit, row.sampling["max_tokens"]) == (lena, 2, 8)
    body = lead.get(response["Location"]).content.decode()
    assert "0 of 2 written" in body
    assert "No generation worker is running" in body
    assert 'hx-trigger="every 2s"' in body


@pytest.mark.parametrize("name", ["generations", "generation"])
def test_polling_ends_with_the_work(lead, study, base, name):
    make_cases(study, 1)
    row = Generation.objects.create(study=study, model=base, sampling={}, skipped={"prompt_too_long": ["c1"]})
    address = url(name, study.slug, *([row.pk] if name == "generation" else []))
    part = lead.get(address, headers={"HX-Request": "true"}).content.decode()
    assert "hx-get" in part
    assert "<html" not in part
    Generation.objects.update(status="succeeded")
    part = lead.get(address, headers={"HX-Request": "true"}).content.decode()
    assert "hx-" not in part
    assert "1" in part
    if name == "generation":
        assert "fit into the model" in part
        assert "c1" in part


def test_a_living_worker_needs_no_warning(lead, study):
    Worker.objects.create(name="w", queues="generation", heartbeat_at=timezone.now())
    assert "No generation worker" not in lead.get(url("generations", study.slug)).content.decode()
    Worker.objects.update(heartbeat_at=timezone.now() - timedelta(minutes=5))
    assert "No generation worker" in lead.get(url("generations", study.slug)).content.decode()


def test_what_can_not_be_generated_is_explained_in_place(lead, study, base):
    body = lead.post(url("generations", study.slug), FORM | {"model": base.pk}).content.decode()
    assert "There are no cases to generate for" in body
    make_cases(study, 1)
    body = lead.post(url("generations", study.slug), FORM | {"model": base.pk, "n": 3}).content.decode()
    assert "would be identical" in body
    imported = make_model("imported")
    body = lead.post(url("generations", study.slug), FORM | {"model": imported.pk}).content.decode()
    assert "Select a valid choice" in body
    assert not Generation.objects.exists()


def test_a_generation_is_stopped_and_tried_again(lead, study, base):
    row = Generation.objects.create(study=study, model=base)
    lead.post(url("generation_stop", study.slug, row.pk))
    row.refresh_from_db()
    assert row.status == Status.CANCELLED
    assert lead.post(url("generation_stop", study.slug, row.pk)).status_code == 400
    Generation.objects.update(status="failed", error="The server doesn't answer.")
    assert "Try again" in lead.get(url("generation", study.slug, row.pk)).content.decode()
    lead.post(url("generation_retry", study.slug, row.pk))
    row.refresh_from_db()
    assert (row.status, row.error) == (Status.QUEUED, "")
    Generation.objects.update(status="running")
    lead.post(url("generation_stop", study.slug, row.pk))
    row.refresh_from_db()
    assert row.status == Status.STOPPING


def test_completions_are_imported_by_upload(lead, study):
    (case,) = make_cases(study, 1)
    rows = [{"external_id": case.external_id, "summary": "Fine."}]
    data = {"file": upload(*rows, name="out.jsonl"), "model_name": "elsewhere", "mapping": "text=summary"}
    response = lead.post(url("completion_import", study.slug), data, follow=True)
    assert "1 completions of 1 cases imported for elsewhere; 0 are empty" in response.content.decode()
    assert Completion.objects.get().text == "Fine."
    data["file"] = upload(*rows, name="out.jsonl")
    body = lead.post(url("completion_import", study.slug), data).content.decode()
    assert "already" in body


# --- models


def test_models_are_registered_on_their_page(client, adam, tmp_path):
    client.force_login(adam)
    body = client.post(url("models"), {"name": "m", "kind": "path", "path": str(tmp_path / "none")}).content.decode()
    assert "is not a directory on this machine" in body
    body = client.post(url("models"), {"name": "m", "kind": "url"}).content.decode()
    assert "needed for the kind of model" in body
    body = client.post(url("models"), {"name": "m", "kind": "url", "url": "http://127.0.0.1:9/v1"}).content.decode()
    assert "answer" in body
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    response = client.post(url("models"), {"name": "m", "kind": "path", "path": str(tmp_path)}, follow=True)
    assert "“m” is registered." in response.content.decode()
    assert Model.objects.get().sha256


def test_a_server_that_does_not_answer_is_no_crash(client, adam, settings):
    settings.VLLM_URL = "http://127.0.0.1:9/v1"
    client.force_login(adam)
    assert client.get(url("models")).status_code == 200
    response = client.post(url("models_register"))
    assert response.status_code == 400
    assert "answer" in response.content.decode()
