"""Where two rooms of judging meet: what a lead does while somebody judges, and what is known of an item beforehand."""

from datetime import timedelta

import pytest
from django.core.exceptions import PermissionDenied
from django.urls import reverse
from django.utils import timezone

from accounts.errors import UserError
from annotations import (
    access,
    adjudicating,
    campaigning,
    judging,
    known_answers,
    planning,
    rubrics,
    steering,
    unblinding,
)
from annotations.assignment import next_assignment
from annotations.designs import Design
from annotations.judging import Answer
from annotations.models import Assignment, Judgement, Revision
from annotations.places import places_taken
from reports import cautions
from tests.factories import join, make_campaign, make_cases, make_completion, make_model, make_study

pytestmark = pytest.mark.django_db
CLEARLY_A, CLEARLY_B = (Answer(f"prefer_{side}", strength="clearly") for side in "ab")


@pytest.fixture
def study(lena):
    study = make_study()
    join(study, lena, "lead")
    return study


@pytest.fixture
def disputed(study, anna, ben):
    """One pair that its two annotators judge differently, in a campaign whose lead decides."""
    campaign = make_campaign(study, [anna, ben], cases=make_cases(study, 1), consensus="adjudicated")
    for person, answer in ((anna, CLEARLY_A), (ben, CLEARLY_B)):
        judging.submit(next_assignment(campaign, person), answer, actor=person)
    return campaign


def test_a_draft_never_shortens_the_time_a_lead_has_given(study, anna, lena):
    campaign = make_campaign(study, [anna])
    given = steering.hand_to(campaign.items.first(), anna, reason="hers", actor=lena)
    steering.extend_lease(given, hours=24 * 7, reason="holiday", actor=lena)
    judging.save_draft(Assignment.objects.get(), {"reason": "so"})
    given.refresh_from_db()
    assert given.lease_expires_at > timezone.now() + timedelta(days=6)
    judging.undo(judging.submit(given, Answer("tie"), actor=anna), actor=anna)
    given.refresh_from_db()
    assert given.lease_expires_at > timezone.now() + timedelta(days=6)


def test_an_item_that_was_taken_back_and_judged_all_the_same_can_be_undone_and_judged_again(study, anna, lena):
    campaign = make_campaign(study, [anna], cases=make_cases(study, 1))
    held = next_assignment(campaign, anna)
    steering.take_back(held, reason="she left", actor=lena)
    judgement = judging.submit(held, Answer("tie"), actor=anna)
    judging.undo(judgement, actor=anna)
    assert next_assignment(campaign, anna) == held
    judging.submit(held, CLEARLY_A, actor=anna)
    assert places_taken(held.item) == 1


class TestReworded:
    @pytest.fixture
    def opened(self, study, anna, client):
        """A page that Anna opened, and a rubric that changed since."""
        campaign = make_campaign(study, [anna])
        campaign.rubric |= {"chips": ["unsafe", "long"]}
        campaign.save()
        client.force_login(anna)
        client.get(reverse("annotations:judge", args=[campaign.public_id]))
        content = campaign.rubric | {"instructions": "The very opposite.", "chips": ["unsafe advice", "long"]}
        rubrics.change_rubric(campaign, content, reason="clearer", actor=study.created_by)
        return campaign

    def answer(self, opened, **more):
        return {"assignment": str(Assignment.objects.get().pk), "choice": "tie", "reason": "both fine", **more}

    def test_an_answer_to_the_old_words_is_refused_and_kept_below_the_new_ones(self, opened, client):
        page = reverse("annotations:judge", args=[opened.public_id])
        response = client.post(page, self.answer(opened, rubric_version="1", chips=["unsafe"]))
        text = response.content.decode()
        assert response.status_code == 409
        assert not Judgement.objects.exists()
        assert "The wording of this campaign has changed" in text
        assert "both fine" in text
        assert 'name="rubric_version" value="2"' in text
        client.post(page, self.answer(opened, rubric_version="2", chips=["unsafe advice"]))
        revision = Revision.objects.get()
        assert (revision.rubric_version, revision.chips) == (2, ["unsafe advice"])

    def test_a_correction_of_the_old_words_is_refused_too(self, opened, anna):
        judgement = judging.submit(next_assignment(opened, anna), Answer("tie"), actor=anna)
        with pytest.raises(UserError, match="wording"):
            judging.revise(judgement, CLEARLY_A, change_reason="misread", actor=anna, rubric_seen=1)


def test_rows_of_one_known_answer_that_name_the_models_both_ways_are_refused(study, anna, tmp_path):
    join(study, anna, "annotator")
    models = [make_model("alpha"), make_model("beta")]
    cases = make_cases(study, 3)
    for case in cases:
        for model in models:
            make_completion(case, model)
    name = cases[0].external_id
    rows = f"{name},alpha,beta,preference,prefer_a\n{name},beta,alpha,faithful,5\n{name},alpha,beta,complete,1\n"
    (tmp_path / "known.csv").write_text(f"case,model_a,model_b,criterion,value\n{rows}")
    design = Design(criteria=True, known_answers=known_answers.source(str(tmp_path / "known.csv")), training_items=1)
    with pytest.raises(UserError) as refused:
        planning.work_out(
            study=study, kind="comparison", name="q", annotators=[anna], overlap=1, models=models, design=design
        )
    assert "different orders" in str(refused.value.details)


def test_a_lead_s_decision_is_no_known_answer_where_the_annotators_agree_by_now(disputed, study, anna, lena):
    item = disputed.items.get()
    adjudicating.adjudicate(item, CLEARLY_A, reason="safer", actor=lena)
    first = Judgement.objects.get(annotator=anna)
    judging.revise(first, CLEARLY_B, change_reason="misread", actor=anna)
    campaigning.close(disputed, actor=lena, reason="enough")
    known = known_answers.agreed(study, disputed.name, kind="comparison", rubric=disputed.rubric)
    assert [row.gold["outcome"] for row in known] == ["prefer_b"]


def test_a_case_that_is_being_judged_names_no_model_to_a_lead_who_has_not_unblinded_it(disputed, study, lena, client):
    client.force_login(lena)
    case = disputed.items.get().case
    page = reverse("annotations:case", args=[study.slug, case.pk])
    text = client.get(page).content.decode()
    assert disputed.items.get().completion_a.text in text
    assert "alpha" not in text
    unblinding.unblind(disputed, reason="planned look", actor=lena)
    assert "alpha" in client.get(page).content.decode()


def test_who_has_looked_at_the_arms_decides_nothing(disputed, lena):
    access.require_adjudicator(lena, disputed)
    unblinding.unblind(disputed, reason="planned look", actor=lena)
    with pytest.raises(PermissionDenied, match="looked at this campaign's arms"):
        access.require_adjudicator(lena, disputed)


def test_a_file_with_semicolons_is_told_so(study, anna, tmp_path):
    (tmp_path / "known.csv").write_text("case;value\nc1;tie\n")
    with pytest.raises(UserError, match="semicolons"):
        known_answers.source(str(tmp_path / "known.csv"))


def test_a_report_says_which_decisions_were_made_when_models_could_be_seen(disputed, lena):
    item = disputed.items.get()
    adjudicating.adjudicate(item, CLEARLY_A, reason="safer", actor=lena)
    campaigning.close(disputed, actor=lena, reason="enough")
    assert "decided_unblinded" not in {caution["code"] for caution in cautions._of_campaign(disputed, [])}
    adjudicating.adjudicate(item, CLEARLY_B, reason="second thoughts", actor=lena)
    found = {caution["code"]: caution["text"] for caution in cautions._of_campaign(disputed, [])}
    assert found["decided_unblinded"].endswith("1 item that its annotators left open.")
