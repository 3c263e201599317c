"""C6: nothing that somebody who judges can fetch tells which model wrote what."""

import re

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.utils import timezone

from annotations.models import Assignment, Campaign, Completion
from tests.factories import join, make_campaign, make_cases, make_completion, make_study, make_user

pytestmark = pytest.mark.django_db
NAMES = ("zebra-base-7b", "quokka-dpo-7b")
SECRET_PK = 9_000_001


@pytest.fixture
def study(anna, lena):
    study = make_study(slug="blind")
    join(study, anna, "annotator")
    join(study, lena, "lead")
    return study


def blind_campaign(study, people, kind="comparison"):
    """A campaign whose completions have ids that can be recognised in a page."""
    campaign = make_campaign(study, people, kind=kind, models=NAMES, cases=[], name=f"Round {kind}")
    for position, case in enumerate(make_cases(study, 3)):
        start = SECRET_PK + 10 * Completion.objects.count()
        rows = [
            make_completion(case, model, pk=start + n, text=f"Text {n} of case {position}.", tokens=777_001)
            for n, model in enumerate(campaign.models.order_by("-name"))
        ]
        pair = kind == "comparison"
        campaign.items.create(
            case=case, completion_a=rows[0], completion_b=rows[1] if pair else None, position=position
        )
    return campaign


def leaks(response):
    """Names of models, and ids of completions, in a response."""
    text = response.content.decode() if not response.streaming else b"".join(response.streaming_content).decode()
    text += "\n".join(f"{name}: {value}" for name, value in response.items())
    text += str(response.cookies)
    found = [name for name in NAMES if name in text]
    return found + re.findall(r"\b90000\d\d\b|777001", text)


def addresses(study, campaign, assignment):
    """Every URL of the site, filled in with what belongs to this study."""
    fill = {
        "slug": study.slug,
        "public_id": campaign.public_id,
        "pk": 1,
        "chart": "loss",
        "name": "train.jsonl",
        "token": "x" * 20,
        "uidb64": "MQ",
    }

    def walk(patterns, namespace=""):
        for pattern in patterns:
            if isinstance(pattern, URLResolver):
                yield from walk(pattern.url_patterns, f"{pattern.namespace or namespace}")
            elif isinstance(pattern, URLPattern) and pattern.name:
                converters = pattern.pattern.converters
                values = {name: fill.get(name, 1) for name in converters}
                if type(converters.get("pk")).__name__ == "UUIDConverter":
                    values["pk"] = assignment.pk
                yield reverse(f"{namespace}:{pattern.name}" if namespace else pattern.name, kwargs=values)

    return sorted(set(walk(get_resolver().url_patterns)))


@pytest.mark.parametrize("kind", ["comparison", "likert"])
def test_no_address_of_the_site_tells_an_annotator_the_model(study, anna, kind):
    campaign = blind_campaign(study, [anna], kind)
    client = Client()
    client.force_login(anna)
    client.get(reverse("annotations:judge", args=[campaign.public_id]))
    assignment = Assignment.objects.get()
    seen = 0
    for address in addresses(study, campaign, assignment):
        for headers in ({}, {"HX-Request": "true"}):
            response = client.get(address, headers=headers)
            assert leaks(response) == [], address
            seen += response.status_code == 200
    assert seen >= 4  # home, rating page, history, profile: the walk did reach pages


def test_the_whole_way_through_a_campaign_stays_blind(study, anna):
    campaign = blind_campaign(study, [anna])
    client = Client()
    client.force_login(anna)
    page = reverse("annotations:judge", args=[campaign.public_id])
    for fields in (
        {"choice": "left"},  # incomplete
        {"choice": "left", "strength": "clearly"},
        {"choice": "tie"},
        {"choice": "cannot_judge", "cannot_judge": "missing_information"},
    ):
        for headers in ({}, {"HX-Request": "true"}):
            assert leaks(client.get(page, headers=headers)) == []
        waiting = Assignment.objects.filter(submitted_at__isnull=True).get()
        assert leaks(client.post(page, {"assignment": waiting.pk, **fields})) == []
    for row in Assignment.objects.all():
        assert leaks(client.get(reverse("annotations:judge_revise", args=[campaign.public_id, row.pk]))) == []
    assert leaks(client.get(page)) == []


def test_both_columns_have_the_same_markup(study, anna):
    campaign = blind_campaign(study, [anna])
    client = Client()
    client.force_login(anna)
    page = client.get(reverse("annotations:judge", args=[campaign.public_id])).content.decode()
    columns = re.findall(r'<section class="pane pane-output".*?</section>', page, re.S)
    assert len(columns) == 2
    unmarked = [re.sub(r"</?mark>", "", column) for column in columns]  # words that differ, in both alike
    plain = [re.sub(r"Text \d of case \d\.|output-\d|Output [AB]", "", column) for column in unmarked]
    assert plain[0] == plain[1]


def test_the_markup_does_not_depend_on_the_side(study, anna):
    campaign = blind_campaign(study, [anna])
    client = Client()
    client.force_login(anna)
    page = reverse("annotations:judge", args=[campaign.public_id])
    shown = []
    for a_is_left in (True, False):
        client.get(page)
        Assignment.objects.update(a_is_left=a_is_left)
        text = re.sub(r"</?mark>", "", client.get(page).content.decode())
        shown.append(re.sub(r'Text \d of case \d\.|value="[\w]{64}"', "", text))
    assert shown[0] == shown[1]


def test_a_lead_who_judges_is_blinded_until_the_campaign_closes(study, lena):
    campaign = blind_campaign(study, [lena])
    client = Client()
    client.force_login(lena)
    export = reverse("annotations:campaign_export", args=[study.slug, campaign.public_id])
    page = reverse("annotations:campaign", args=[study.slug, campaign.public_id])
    assert client.get(export).status_code == 403
    assert leaks(client.get(page)) == []
    assert "Seed" not in client.get(page).content.decode()
    assert leaks(client.get(reverse("annotations:campaigns", args=[study.slug]))) == []
    Campaign.objects.update(closed_at=timezone.now())
    assert client.get(export).status_code == 200
    assert leaks(client.get(page)) == list(NAMES)


@pytest.mark.parametrize("who", ["lena", "adam"])
def test_who_judges_can_not_plan_a_campaign_that_would_name_the_model_of_each_text(study, lena, adam, who):
    person = {"lena": lena, "adam": adam}[who]
    blinded = blind_campaign(study, [person])
    client = Client()
    client.force_login(person)
    page = reverse("annotations:campaign_plan", args=[study.slug])
    base = blinded.models.get(name=NAMES[0])
    fields = {"name": "Base alone", "kind": "likert", "models": [base.pk], "annotators": [lena.pk], "overlap": 1}
    fields |= {"seed": 1, "reason": "optional", "start": ""}
    assert client.get(page).status_code == 403
    assert client.post(page, fields).status_code == 403
    assert not Campaign.objects.filter(name="Base alone").exists()
    assert page not in client.get(reverse("annotations:campaigns", args=[study.slug])).content.decode()
    Campaign.objects.update(closed_at=timezone.now())
    assert client.post(page, fields).status_code == 302


def test_what_order_and_sides_are_drawn_with_is_shown_only_once_a_campaign_is_closed(study, anna, lena):
    campaign = blind_campaign(study, [anna])
    page = reverse("annotations:campaign", args=[study.slug, campaign.public_id])
    client, annotator = Client(), Client()
    client.force_login(lena)
    annotator.force_login(anna)
    judging_page = annotator.get(reverse("annotations:judge", args=[campaign.public_id])).content.decode()
    assert campaign.secret not in client.get(page).content.decode() + judging_page
    Campaign.objects.update(closed_at=timezone.now())
    assert campaign.secret in client.get(page).content.decode()


def test_no_page_shows_a_blinded_lead_an_output_with_its_model(study, lena):
    campaign = blind_campaign(study, [lena])
    client = Client()
    client.force_login(lena)
    client.get(reverse("annotations:judge", args=[campaign.public_id]))
    assignment = Assignment.objects.get()
    case = reverse("annotations:case", args=[study.slug, assignment.item.case_id])
    pages = {*addresses(study, campaign, assignment), case}
    for address in sorted(pages):
        response = client.get(address)
        text = b"".join(response.streaming_content) if response.streaming else response.content
        assert not (b"Text 0 of case" in text and any(name.encode() in text for name in NAMES)), address


def test_a_lead_who_does_not_judge_sees_the_models(study, lena, anna):
    campaign = blind_campaign(study, [anna])
    client = Client()
    client.force_login(lena)
    assert leaks(client.get(reverse("annotations:campaign", args=[study.slug, campaign.public_id]))) == list(NAMES)


def test_annotators_never_see_each_others_answers(study, anna):
    ben = make_user("ben")
    join(study, ben, "annotator")
    campaign = blind_campaign(study, [anna, ben])
    ones, others = Client(), Client()
    ones.force_login(anna)
    others.force_login(ben)
    page = reverse("annotations:judge", args=[campaign.public_id])
    ones.get(page)
    ones.post(page, {"assignment": Assignment.objects.get().pk, "choice": "tie", "reason": "Anna thinks so."})
    for name in ("judge", "history"):
        text = others.get(reverse(f"annotations:{name}", args=[campaign.public_id])).content.decode()
        assert "Anna thinks so." not in text
