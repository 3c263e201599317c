"""A lead plans a campaign on a page: little is needed, everything can be chosen, and errors stand at their field."""

import re

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from annotations.models import Campaign
from tests.factories import join, make_campaign, make_cases, make_completion, make_model, make_study
from tests.report_rows import summaries

pytestmark = pytest.mark.django_db


@pytest.fixture
def study(anna, ben, lena):
    study = make_study(reason_chips=["invents a finding", "too long"])
    join(study, lena, "lead")
    for person in (anna, ben):
        join(study, person, "annotator")
    return study


@pytest.fixture
def models(study):
    models = [make_model(name) for name in ("delta-7b", "echo-7b", "foxtrot-7b")]
    for case in make_cases(study, 10):
        for model in models:
            make_completion(case, model)
    return models


@pytest.fixture
def page(study, lena):
    client = Client()
    client.force_login(lena)
    return Page(client, reverse("annotations:campaign_plan", args=[study.slug]))


class Page:
    def __init__(self, client, url):
        self.client, self.url = client, url

    def text(self):
        return self.client.get(self.url).content.decode()

    def preview(self, **fields):
        response = self.client.post(self.url, fields | {"preview": ""})
        assert response.status_code == 200
        return response.content.decode()

    def start(self, **fields):
        return self.client.post(self.url, fields | {"start": ""})


def least(models, people, **fields):
    """What is needed, as a browser sends it where nothing else was touched."""
    needed = {"name": "Round 1", "kind": "comparison"}
    return needed | {"models": [m.pk for m in models], "annotators": [p.pk for p in people]} | fields


def error_at(text, field):
    """The error that stands at a field; empty where there is none."""
    found = re.search(rf'id="id_{field}_error">(.*?)</div>', text, re.S)
    return re.sub(r"<[^>]*>", " ", found[1]).strip() if found else ""


def test_name_kind_models_and_annotators_are_enough(page, study, models, anna, ben):
    assert page.start(**least(models, [anna, ben])).status_code == 302
    campaign = Campaign.objects.get()
    assert (campaign.overlap, campaign.consensus, campaign.seed) == (2, "majority", 1)
    assert campaign.rubric["reason"] == "optional"
    assert campaign.rubric["chips"] == study.reason_chips
    assert (campaign.items.count(), campaign.apart, campaign.training_pass_mark) == (30, 5, None)


def test_a_single_annotator_judges_alone_without_saying_so(page, models, anna):
    page.start(**least(models, [anna]))
    assert Campaign.objects.get().overlap == 1


def test_what_the_page_offers_untouched_is_what_the_least_gives(page, study, models, anna, ben):
    """The defaults shown in the page and those of a request without them are the same."""
    page.start(**least(models, [anna, ben], name="Least"))
    form = page.client.get(page.url).context["form"]
    shown = {name: form[name].value() for name in form.fields if form[name].value() not in (None, False, [])}
    assert page.start(**(shown | least(models, [anna, ben], name="Shown"))).status_code == 302
    least_, shown_ = Campaign.objects.get(name="Least"), Campaign.objects.get(name="Shown")
    assert shown_.design == least_.design
    assert shown_.rubric == least_.rubric


def test_every_choice_reaches_the_campaign(page, study, models, anna, ben):
    for case in study.cases.all():
        case.metadata = {"ward": "Cardiology"}
        case.save()
    study.memberships.filter(user__in=[anna, ben]).update(specialty="cardiology")
    known = "case,model_a,model_b,value,reason\n"
    for case in study.cases.all()[:3]:
        known += f"{case.external_id},delta-7b,echo-7b,prefer_a,Because.\n"
    chosen = {
        "overlap": 2,
        "overlap_share": 50,
        "consensus": "adjudicated",
        "against": "delta-7b",
        "criteria": "on",
        "reason": "required",
        "chips": "vague\r\nunsafe\r\n",
        "marks": "on",
        "ideal": "on",
        "show_reference": "yes",
        "known_file": SimpleUploadedFile("known.csv", known.encode()),
        "training_items": 2,
        "training_pass_mark": 50,
        "gold_rate": 5,
        "repeat_rate": 20,
        "max_per_annotator": 40,
        "route_by": "ward",
        "apart": 3,
        "seed": 7,
        "blinding_items": 4,
        "blinding_arms": "delta-7b = the old one",
    }
    page.start(**least(models, [anna, ben], **chosen))
    campaign = Campaign.objects.get()
    regular = campaign.items.regular()
    assert {item.completion_a.model.name for item in regular} == {"delta-7b"}
    assert (regular.count(), regular.filter(overlap=2).count()) == (17, 9)
    assert set(regular.values_list("tag", flat=True)) == {"cardiology"}
    assert campaign.items.filter(training=True).count() == 2
    assert campaign.items.filter(gold__isnull=False, training=False).count() == 1
    assert campaign.items.filter(repeat_of__isnull=False).count() == 3
    assert (campaign.consensus, campaign.max_per_annotator, campaign.route_by) == ("adjudicated", 40, "ward")
    assert (campaign.training_pass_mark, campaign.gold_rate, campaign.repeat_rate) == (0.5, 0.05, 0.2)
    assert (campaign.apart, campaign.seed, campaign.blinding_check["items"]) == (3, 7, 4)
    assert "the old one" in campaign.blinding_check["arms"].values()
    rubric = campaign.rubric
    assert [c["name"] for c in rubric["criteria"]] == ["faithful", "complete"]
    assert (rubric["reason"], rubric["chips"], rubric["show_reference"]) == ("required", ["vague", "unsafe"], True)
    assert (rubric["marks"], rubric["ideal"]) == (True, True)


def test_a_preview_says_what_would_be_and_makes_nothing(page, study, models, anna, ben):
    first = study.cases.first()
    first.completions.filter(model=models[0]).update(text="I am Echo 7B.")
    text = page.preview(**least(models, [anna, ben], overlap_share=50, repeat_rate=10))
    assert not Campaign.objects.exists()
    assert re.search(r'stat-value">30</span>.*?items', text)
    assert re.search(r'stat-value">45</span>.*?judgements', text)
    assert "15 items of 30 are judged by 2 annotators" in text
    assert "3 items of 30 will be judged a second time" in text
    assert re.search(rf'<a href="[^"]*/cases/{first.pk}/">{first.external_id}</a>, delta-7b: “Echo 7B”', text)
    assert re.search(r'<th scope="row">anna</th><td class="num">\d+</td>', text)


@pytest.mark.parametrize(
    ("fields", "field", "says"),
    [
        ({"name": ""}, "name", "required"),
        ({"models": []}, "models", "choose at least one model"),
        ({"overlap": 3}, "overlap", "only 2 annotators"),
        ({"overlap": 1, "overlap_share": 50}, "overlap_share", "the overlap is 1"),
        ({"consensus": "mean"}, "consensus", "Only points have a mean"),
        ({"pairs": "delta-7b:zulu"}, "pairs", "no pair of the chosen models"),
        ({"pairs": "delta-7b:echo-7b", "against": "delta-7b"}, "pairs", "Choose either"),
        ({"chips": "x" * 61}, "chips", "at most 60"),
        ({"gold_rate": 10}, "gold_rate", "need known answers"),
        ({"gold_rate": 60}, "gold_rate", "less than or equal to 50"),
        ({"known_from": "file"}, "known_file", "Choose the file"),
        ({"max_per_annotator": 3}, "max_per_annotator", "Allow 30 each"),
        ({"blinding_items": 5, "blinding_arms": "delta-7b: old"}, "blinding_arms", "not a model"),
    ],
)
def test_an_error_stands_at_its_field_in_an_open_group(page, models, anna, ben, fields, field, says):
    text = page.preview(**(least(models, [anna, ben]) | fields)).replace("&#x27;", "'")
    assert says in error_at(text, field)
    assert f'href="#id_{field}"' in text
    if field not in ("name", "models"):
        group = text[: text.index(f'id="id_{field}_error"')].rpartition("<details")[2]
        assert group.startswith(' class="plan-group" open>')
    assert "Preview</h2>" not in text


def test_an_error_of_the_chosen_model_stands_where_it_was_chosen(page, models, anna):
    text = page.preview(**least(models[:2], [anna], against="foxtrot-7b"))
    assert "no pair of the chosen models" in error_at(text, "against")


def test_a_file_of_known_answers_survives_the_preview(page, study, models, anna):
    rows = [f"{case.external_id},delta-7b,echo-7b,tie,Ünsafe\r\n" for case in study.cases.all()[:2]]
    file = SimpleUploadedFile("known.csv", ("case,model_a,model_b,value,reason\r\n" + "".join(rows)).encode())
    fields = least(models, [anna], training_items=2)
    response = page.client.post(page.url, fields | {"known_file": file, "preview": ""})
    form = response.context["form"]
    assert "Everybody begins with 2 training items" in response.content.decode()
    again = {name: form[name].value() for name in ("known_from", "known_text", "known_name")}
    assert "Training and gold items need" in page.preview(**fields, **(again | {"known_from": ""}))
    assert page.start(**(fields | again)).status_code == 302
    campaign = Campaign.objects.get()
    assert {item.gold["feedback"] for item in campaign.items.filter(training=True)} == {"Ünsafe"}
    assert campaign.design["known_answers"]["name"] == "known.csv"


def test_what_is_wrong_with_a_file_is_listed_by_its_lines(page, models, anna):
    file = SimpleUploadedFile("known.csv", b"case,value\nnowhere,tie\nelsewhere,tie\n")
    text = page.preview(**least(models, [anna], training_items=2, known_file=file))
    assert "Line 2" in error_at(text, "known_file")
    assert "Line 3" in error_at(text, "known_file")


def test_what_an_earlier_campaign_agreed_on_can_be_chosen(page, study, models, anna):
    make_campaign(study, [anna], name="Pilot", closed_at=timezone.now())
    make_campaign(study, [anna], name="Running")
    text = page.text()
    assert 'value="campaign:Pilot"' in text
    assert "campaign:Running" not in text
    text = page.preview(**least(models, [anna], known_from="campaign:Pilot", training_items=1))
    assert "has 0 items with an agreed answer" in error_at(text, "known_from")


def test_choices_of_another_kind_are_left_aside(page, study, models, anna, ben):
    fields = {"criteria": "on", "against": "delta-7b", "pairs": ""}
    assert page.start(**least(models, [anna, ben], kind="likert", **fields)).status_code == 302
    campaign = Campaign.objects.get()
    assert campaign.items.count() == 30
    assert campaign.consensus == "mean"


def test_a_label_campaign_needs_no_models_and_gets_no_reasons_about_outputs(lena, anna):
    study = make_study("triage", reason_chips=["follows too little"])
    join(study, lena, "lead")
    join(study, anna, "annotator")
    make_cases(study, 6, reference={"personnel": "nurse", "urgency": "soon"})
    client = Client()
    client.force_login(lena)
    page = Page(client, reverse("annotations:campaign_plan", args=[study.slug]))
    fields = least([], [anna], kind="label", known_from="references", training_items=2, chips="follows too little")
    assert page.start(**(fields | {"marks": "on", "blinding_items": 3})).status_code == 302
    campaign = Campaign.objects.get()
    assert campaign.rubric["chips"] == []
    assert (campaign.rubric["marks"], campaign.blinding_check) == (False, {})
    assert campaign.items.filter(training=True).count() == 2


def test_only_what_a_study_can_use_is_offered(page, study, models, lena):
    text = page.text()
    assert 'name="criteria"' in text
    assert 'name="ideal"' in text
    assert 'name="route_by"' not in text
    assert 'value="label"' not in text
    study.cases.update(metadata={"ward": "Cardiology"})
    assert '<option value="ward">' in page.text()


def test_a_name_that_says_which_models_are_judged_is_noticed(page, models, anna, ben):
    text = page.preview(**least(models, [anna, ben], name="Delta 7B against the rest"))
    assert "delta-7b is mentioned in the campaign&#x27;s name, which annotators read" in text


def test_every_field_has_a_label_and_every_group_a_title(page, models):
    text = page.text()
    form = page.client.get(page.url).context["form"]
    for field in form.visible_fields():
        if field.use_fieldset:
            assert re.search(rf'<fieldset[^>]*id="{field.auto_id}"[^>]*><legend>{field.label}</legend>', text), (
                field.name
            )
        else:
            assert f'<label for="{field.id_for_label}">' in text, field.name
    assert text.count('<details class="plan-group"') == text.count('<summary><span class="plan-group-title">') == 6


def test_a_study_without_models_and_people_says_where_they_come_from(lena):
    study = make_study()
    client = Client()
    client.force_login(lena)
    join(study, lena, "lead")
    text = client.get(reverse("annotations:campaign_plan", args=[study.slug])).content.decode()
    assert reverse("annotations:generations", args=[study.slug]) in text
    assert "No model has outputs in this study yet" in text


def test_the_campaign_page_lists_outputs_that_name_themselves_but_not_for_a_lead_who_judges(
    page, study, models, anna, ben, lena
):
    case = study.cases.first()
    case.completions.filter(model=models[0]).update(text="I am Echo 7B.")
    page.start(**least(models, [anna, ben]))
    campaign = Campaign.objects.get()
    url = reverse("annotations:campaign", args=[study.slug, campaign.public_id])
    text = page.client.get(url).content.decode()
    assert "1 output mentions a model or its maker" in text
    assert f"{case.external_id}</a>" in text
    assert "delta-7b" not in text  # which arm it was stays hidden while the campaign is open
    campaign.annotators.add(lena)
    assert case.external_id not in page.client.get(url).content.decode()
    Campaign.objects.update(closed_at=timezone.now())
    assert f"{case.external_id}</a>, delta-7b" in page.client.get(url).content.decode()


def test_an_evaluation_s_outputs_are_planned_with_the_same_choices(lena, anna, ben):
    row = summaries(6)
    for person, role in ((lena, "lead"), (anna, "annotator"), (ben, "annotator")):
        join(row.study, person, role)
    client = Client()
    client.force_login(lena)
    page = Page(client, reverse("reports:evaluation_campaign", args=[row.study.slug, row.pk]))
    fields = {"name": "blind", "kind": "comparison", "annotators": [anna.pk, ben.pk]}
    text = page.preview(**fields, repeat_rate=50, criteria="on")
    assert "3 items of 6 will be judged a second time" in text
    assert row.campaigns.count() == 0
    text = page.preview(**fields, overlap=5)
    assert "only 2 annotators" in error_at(text, "overlap")
    assert page.start(**fields, repeat_rate=50, criteria="on").status_code == 302
    campaign = row.campaigns.get()
    assert campaign.items.regular().count() == 6
    assert campaign.items.filter(repeat_of__isnull=False).count() == 3
    assert campaign.rubric["criteria"]
    assert set(campaign.models.all()) == {arm.model for arm in row.arms.all()}


def test_some_of_an_evaluation_s_arms_can_be_judged(lena, anna):
    row = summaries(4)
    join(row.study, lena, "lead")
    join(row.study, anna, "annotator")
    arm = row.arms.first().model
    client = Client()
    client.force_login(lena)
    page = Page(client, reverse("reports:evaluation_campaign", args=[row.study.slug, row.pk]))
    page.start(name="one", kind="likert", annotators=[anna.pk], models=[arm.pk])
    assert list(row.campaigns.get().models.all()) == [arm]
