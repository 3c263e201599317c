"""Judgements leave and come back as they were; a broken file changes nothing and says where it is broken."""

import csv
import json
from dataclasses import replace
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from accounts.errors import UserError
from accounts.models import User
from annotations import judgement_files, judging
from annotations.assignment import next_assignment
from annotations.exporting import COLUMNS, judgement_rows
from annotations.judgement_import import import_judgements
from annotations.judging import Answer, Ideal
from annotations.models import Assignment, Case, CaseImport, Item, Judgement, Membership, Revision
from tests.factories import join, make_campaign, make_cases, make_completion, make_study

pytestmark = pytest.mark.django_db
REASONS = ['=HYPERLINK("http://x")', "'-5 mg", 'two\nlines, a "quote" and ünïcode', "'quoted'", "@anna", ""]


def run(command, *args):
    out = StringIO()
    if command == "export_judgements":
        args += ("--unblind", "Moved to another server")  # the campaigns are open, and not all is judged
    call_command(command, *map(str, args), "--json", stdout=out)
    return json.loads(out.getvalue())


def copy_of(study, slug, people):
    """The same study without its judgements: same cases, campaigns and members."""
    fresh = make_study(study.task, slug=slug)
    for row in Membership.objects.filter(study=study):
        Membership.objects.create(study=fresh, user=row.user, role=row.role, pseudonym=row.pseudonym)
    imported = CaseImport.objects.create(study=fresh, filename="c", sha256="0" * 64, rows=1)
    cases = {}
    for case in study.cases.all():
        old = case.pk
        case.pk, case.study, case.imported = None, fresh, imported
        case.save(force_insert=True)
        cases[old] = case
    for campaign in study.campaigns.all():
        names = tuple(campaign.models.order_by("name").values_list("name", flat=True))
        copy = make_campaign(
            fresh, people, kind=campaign.kind, models=names, cases=[], name=campaign.name, overlap=campaign.overlap
        )
        copy.rubric, copy.rubric_version = campaign.rubric, campaign.rubric_version
        copy.save()
        copy.rubric_versions.all().delete()
        for version in campaign.rubric_versions.all():
            copy.rubric_versions.create(number=version.number, content=version.content)
        for item in campaign.items.regular():
            case = cases[item.case_id]
            a = (
                make_completion(case, item.completion_a.model, item.completion_a.text, index=item.completion_a.index)
                if item.completion_a
                else None
            )
            b = (
                make_completion(case, item.completion_b.model, item.completion_b.text, index=item.completion_b.index)
                if item.completion_b
                else None
            )
            copy.items.create(case=case, completion_a=a, completion_b=b, position=item.position, overlap=item.overlap)
    return fresh


@pytest.fixture
def study(anna, ben):
    study = make_study()
    join(study, anna, "annotator")
    join(study, ben, "annotator")
    return study


@pytest.fixture
def judged(study, anna, ben):
    """Every outcome, a correction, an undo and a surplus judgement, in a comparison and a Likert campaign."""
    campaign = make_campaign(study, [anna, ben], cases=make_cases(study, 6), overlap=1, name="Compare", seed=4)
    answers = [
        Answer("prefer_a", strength="clearly", reason=REASONS[0]),
        Answer("prefer_b", strength="slightly", reason=REASONS[1]),
        Answer("tie", reason=REASONS[2]),
        Answer("both_unacceptable", reason=REASONS[3]),
        Answer("cannot_judge", cannot_judge="outside_my_field", reason=REASONS[4]),
        Answer("defective"),
    ]
    made = []
    for answer in answers:
        made.append(judging.submit(next_assignment(campaign, anna), answer, actor=anna))
    judging.revise(made[0], Answer("prefer_b", strength="clearly"), change_reason="Read again", actor=anna)
    late = Assignment.objects.create(
        item=made[1].item, annotator=ben, a_is_left=True, lease_expires_at=made[1].created_at
    )
    assert judging.submit(late, Answer("tie"), actor=ben).surplus
    judging.undo(made[2], actor=anna)
    likert = make_campaign(study, [anna, ben], kind="likert", name="Points", cases=make_cases(study, 2))
    judging.submit(
        next_assignment(likert, ben), Answer("judged", values={"faithful": 5, "complete": 1}, reason="ok"), actor=ben
    )
    judging.submit(next_assignment(likert, ben), Answer("cannot_judge", cannot_judge="missing_information"), actor=ben)
    return study


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_what_is_exported_and_imported_into_a_fresh_study_is_the_same(judged, anna, ben, tmp_path, suffix):
    path = tmp_path / f"judgements.{suffix}"
    written = run("export_judgements", judged.slug, path)
    assert written["rows"] == 8 + 1 + 4  # eight first answers and changes, one undo, two Likert answers of two criteria
    fresh = copy_of(judged, f"fresh-{suffix}", [anna, ben])
    for name in ("Compare", "Points"):
        run("import_judgements", fresh.slug, path, "--campaign", name)
    again = tmp_path / f"again.{suffix}"
    run("export_judgements", fresh.slug, again)
    assert again.read_bytes() == path.read_bytes()
    old, new = (
        sorted(
            Judgement.objects.filter(item__campaign__study=which).values_list(
                "item__case__external_id", "annotator", "surplus", "assignment__a_is_left", "item__campaign__name"
            )
        )
        for which in (judged, fresh)
    )
    assert old == new
    for campaign in fresh.campaigns.all():
        twin = judged.campaigns.get(name=campaign.name)
        assert judging.current_revisions(campaign).count() == judging.current_revisions(twin).count()


@pytest.fixture
def rich(study, anna, ben):
    """A comparison that asks for everything, corrected under a second version of its rubric; hidden items besides."""
    campaign = make_campaign(study, [anna, ben], cases=make_cases(study, 2), overlap=2, name="Rich")
    campaign.rubric |= {
        "criteria": [{"name": "safe", "title": "Safe"}, {"name": "brief", "title": "Brief"}],
        "chips": ["=invents", "too long"],
        "marks": True,
        "ideal": True,
    }
    campaign.save()
    campaign.rubric_versions.update(content=campaign.rubric)
    whole = Answer(
        "prefer_b",
        strength="slightly",
        values={"safe": 1, "brief": 4},
        reason=REASONS[2],
        chips=["too long", "=invents"],
        marks=[{"output": "b", "sentence": 0, "kind": "wrong", "severity": "dangerous"}],
        ideal=Ideal("a", '=Cough,\n"since" Monday.'),
        flagged=True,
    )
    first = judging.submit(next_assignment(campaign, anna), whole, actor=anna)
    other = judging.submit(next_assignment(campaign, ben), Answer("defective", flagged=True), actor=ben)
    judging.submit(next_assignment(campaign, anna), replace(whole, outcome="tie", marks=[], ideal=None), actor=anna)
    judging.undo(other, actor=ben)
    campaign.rubric |= {"chips": ["too short"]}
    campaign.rubric_version = 2
    campaign.save()
    campaign.rubric_versions.create(number=2, content=campaign.rubric)
    judging.revise(first, replace(whole, chips=["too short"]), change_reason="Read again", actor=anna)
    pair = {"completion_a": first.item.completion_a, "completion_b": first.item.completion_b}
    hidden = {"repeat_of": first.item}, {"gold": {"outcome": "tie"}}, {"gold": {"outcome": "tie"}, "training": True}
    for position, fields in enumerate(hidden, start=50):
        item = Item.objects.create(
            campaign=campaign, case=first.item.case, position=position, overlap=0, **pair, **fields
        )
        given = Assignment.objects.create(item=item, annotator=anna, a_is_left=True, lease_expires_at=timezone.now())
        judging.submit(given, Answer("tie", values={"safe": 3, "brief": 3}), actor=anna)
    return campaign


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_everything_that_can_be_said_goes_round_word_for_word(rich, anna, ben, tmp_path, suffix):
    path, again = tmp_path / f"judgements.{suffix}", tmp_path / f"again.{suffix}"
    run("export_judgements", rich.study.slug, path)
    fresh = copy_of(rich.study, f"fresh-{suffix}", [anna, ben])
    result = run("import_judgements", fresh.slug, path, "--campaign", "Rich")
    assert result["dropped"] == {"gold": 3, "repeat": 3, "training": 3}
    run("export_judgements", fresh.slug, again)
    kept = [row for _, row in judgement_files.read(path) if not row["item"]]
    assert [row for _, row in judgement_files.read(again)] == kept
    assert run("import_judgements", fresh.slug, path, "--campaign", "Rich")["dropped"]["already_there"] == len(kept)
    twins = [
        [
            judging.answer_of(revision)
            for revision in Revision.objects.filter(rubric_version=2, ideal__isnull=False, **of)
        ]
        for of in ({"judgement__item__campaign": rich}, {"judgement__item__campaign__study": fresh})
    ]
    assert twins[0] == twins[1]
    assert twins[0][0].chips == ["too short"]


def test_an_export_says_which_rows_are_of_repeats_and_known_answers(rich):
    rows = list(judgement_rows(study=rich.study))
    assert [row["item"] for row in rows if row["item"]] == ["repeat"] * 3 + ["gold"] * 3 + ["training"] * 3
    assert [(row["criterion"], row["value"]) for row in rows[:3]] == [
        ("safe", 1),
        ("brief", 4),
        ("preference", "prefer_b"),
    ]
    assert {row["rubric"] for row in rows} == {1, 2}


def test_points_marks_and_corrections_turn_with_the_models(rich, anna, ben, tmp_path):
    fresh = copy_of(rich.study, "fresh", [anna, ben])
    path = tmp_path / "turned.jsonl"
    case = rich.items.first().case.external_id
    common = {"case": case, "annotator": "anna", "model_a": "beta", "model_b": "alpha", "strength": "clearly"}
    common |= {"marks": [{"output": "a", "sentence": 0, "kind": "correct"}], "ideal": "Cough.", "chips": ["too short"]}
    said = {"safe": 1, "brief": 4, "preference": "prefer_a"}
    path.write_text("\n".join(json.dumps({**common, "criterion": name, "value": v}) for name, v in said.items()))
    import_judgements(study=fresh, path=path, campaign=fresh.campaigns.get())
    revision = Revision.objects.get(judgement__item__campaign__study=fresh)
    assert (revision.outcome, revision.values) == ("prefer_b", {"safe": 5, "brief": 2})
    assert revision.marks[0]["output"] == "b"
    assert revision.ideal.edited_from.model.name == "beta"  # the preferred one, where the file doesn't say
    assert revision.rubric_version == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chips": "too short"}, "not a JSON list"),
        ({"chips": '["rude"]'}, "no reason “rude”"),
        ({"marks": "[3]"}, "not a JSON object"),
        ({"marks": '[{"sentence": 9, "kind": "correct"}]'}, "sentence that isn't there"),
        ({"marks": '[{"sentence": 0, "kind": "correct", "quote": "Other."}]'}, "not the marked one"),
        ({"ideal": "Cough."}, "doesn't say of which"),
        ({"ideal": "Cough.", "ideal_of": "c"}, "not a or b"),
        ({"flagged": "maybe"}, "not 1 or empty"),
        ({"rubric": "3"}, "not a version"),
        ({"item": "odd"}, "item “odd”"),
    ],
)
def test_a_broken_column_is_named(rich, anna, ben, tmp_path, change, message):
    fresh = copy_of(rich.study, "fresh", [anna, ben])
    path = tmp_path / "broken.csv"
    said = {"safe": 1, "brief": 4, "preference": "tie"}
    row = {"case": rich.items.first().case.external_id, "annotator": "anna", **change}
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*row, "criterion", "value"])
        writer.writeheader()
        writer.writerows({**row, "criterion": name, "value": value} for name, value in said.items())
    with pytest.raises(UserError) as caught:
        import_judgements(study=fresh, path=path, campaign=fresh.campaigns.get())
    assert message in str(caught.value)


def test_importing_twice_changes_nothing(judged, anna, ben, tmp_path):
    path = tmp_path / "judgements.csv"
    run("export_judgements", judged.slug, path)
    fresh = copy_of(judged, "fresh", [anna, ben])
    run("import_judgements", fresh.slug, path, "--campaign", "Compare")
    count = Revision.objects.count()
    result = run("import_judgements", fresh.slug, path, "--campaign", "Compare")
    assert (result["judgements"], Revision.objects.count()) == (0, count)
    assert result["dropped"] == {"already_there": 9, "other_campaign": 4}


def test_the_file_has_exactly_the_columns_of_the_contract_and_pseudonyms(judged, tmp_path):
    path = tmp_path / "judgements.csv"
    run("export_judgements", judged.slug, path)
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    pseudonyms = set(Membership.objects.filter(study=judged).values_list("pseudonym", flat=True))
    assert {row["annotator"] for row in rows} == pseudonyms
    run("export_judgements", judged.slug, path, "--names")
    assert {row["annotator"] for _, row in judgement_files.read(path)} == {"anna", "ben"}


def test_values_are_the_words_of_the_contract(judged):
    rows = list(judgement_rows(study=judged))
    said = {row["value"] for row in rows if row["criterion"] == "preference"}
    assert said == {
        *("prefer_a", "prefer_b", "tie", "both_unacceptable"),
        *("cannot_judge:outside_my_field", "defective", "withdrawn"),
    }
    assert {row["shown_left"] for row in rows if row["campaign"] == "Compare"} <= {"alpha", "beta"}
    likert = [(row["criterion"], row["value"]) for row in rows if row["campaign"] == "Points"]
    assert likert[:2] == [("faithful", 5), ("complete", 1)]
    assert likert[2:] == [(name, "cannot_judge:missing_information") for name in ("faithful", "complete")]


def test_no_cell_of_the_csv_can_run_as_a_formula(judged, tmp_path):
    path = tmp_path / "judgements.csv"
    run("export_judgements", judged.slug, path)
    with path.open(encoding="utf-8", newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert not [cell for cell in cells if cell[:1] in "=+-@\t\r" and cell]


class TestForeignFiles:
    """Judgements made elsewhere: fewer columns, other orders, unknown people."""

    @pytest.fixture
    def campaign(self, study, anna):
        return make_campaign(study, [anna], cases=make_cases(study, 3), name="Compare")

    def load(self, campaign, tmp_path, text, suffix="csv", **options):
        path = tmp_path / f"file.{suffix}"
        path.write_text(text, encoding="utf-8")
        return import_judgements(study=campaign.study, path=path, campaign=campaign, **options)

    def names(self, campaign):
        return list(Case.objects.filter(items__campaign=campaign).order_by("pk").values_list("external_id", flat=True))

    def test_columns_with_one_possible_value_may_be_left_out(self, campaign, tmp_path):
        one, two, _ = self.names(campaign)
        self.load(campaign, tmp_path, f"case,value\n{one},prefer_b\n{two},tie\n")
        revision = Revision.objects.get(outcome="prefer_b")
        assert revision.chosen == revision.judgement.item.completion_b
        assert revision.strength == ""  # not asked for there, so not made up here
        assert revision.judgement.assignment.a_is_left is None  # nor the side

    def test_models_named_the_other_way_round_are_turned(self, campaign, tmp_path):
        one, *_ = self.names(campaign)
        header = "case,model_a,model_b,shown_left,value\n"
        self.load(campaign, tmp_path, f"{header}{one},beta,alpha,beta,prefer_a\n")
        revision = Revision.objects.get()
        assert revision.outcome == "prefer_b"
        assert revision.chosen.model.name == "beta"
        assert revision.judgement.assignment.a_is_left is False

    def test_unknown_annotators_are_listed_and_nothing_is_imported(self, campaign, tmp_path):
        one, two, _ = self.names(campaign)
        text = f"case,annotator,value\n{one},anna,tie\n{one},R7,tie\n{two},R8,tie\n"
        with pytest.raises(UserError) as caught:
            self.load(campaign, tmp_path, text)
        assert caught.value.details == ["R7", "R8"]
        assert not Judgement.objects.exists()
        result = self.load(campaign, tmp_path, text, create_annotators=True)
        assert result.created_annotators == ["R7", "R8"]
        assert result.judgements == 3
        assert not User.objects.get(memberships__pseudonym="R7").has_usable_password()

    def test_judgements_beyond_the_overlap_are_surplus_the_latest_first(self, campaign, tmp_path):
        one, *_ = self.names(campaign)
        text = (
            "case,annotator,value,submitted\n"
            f"{one},late,tie,2026-03-02T10:00:00+00:00\n{one},early,prefer_a,2026-03-01T10:00:00+00:00\n"
        )
        assert self.load(campaign, tmp_path, text, create_annotators=True).surplus == 1
        assert Judgement.objects.get(surplus=True).annotator.memberships.get().pseudonym == "late"

    def test_every_problem_is_named_with_its_line_and_nothing_is_imported(self, campaign, tmp_path):
        one, two, three = self.names(campaign)
        text = (
            "case,annotator,criterion,value,strength\n"
            f"{one},anna,preference,tie,\n"
            "nowhere,anna,preference,tie,\n"
            f"{two},anna,preference,maybe,\n"
            f"{three},anna,style,tie,\n"
        )
        with pytest.raises(UserError) as caught:
            self.load(campaign, tmp_path, text)
        lines = caught.value.details
        assert [line.split(":")[0] for line in lines] == ["Line 3", "Line 4", "Line 5"]
        assert "nowhere" in lines[0]
        assert "maybe" in lines[1]
        assert "style" in lines[2]
        assert not Judgement.objects.exists()
        assert not Assignment.objects.exists()

    @pytest.mark.parametrize(
        ("text", "suffix", "message"),
        [
            ("", "csv", "no rows"),
            ("case,colour\nx,red\n", "csv", "unknown column “colour”"),
            ("case,value\nx\n", "csv", "Line 2"),
            ('{"case": "x"\n', "jsonl", "Line 1: not JSON"),
            ("[1]\n", "jsonl", "Line 1: not a JSON object"),
            ("case,value\n", "txt", "neither .csv nor .jsonl"),
        ],
    )
    def test_a_broken_file_says_what_and_where(self, campaign, tmp_path, text, suffix, message):
        with pytest.raises(UserError, match=message):
            self.load(campaign, tmp_path, text, suffix)

    def test_a_file_in_another_encoding_is_refused_by_line(self, campaign, tmp_path):
        path = tmp_path / "file.csv"
        path.write_bytes("case,value\nx,tie\nä,tie\n".encode("latin-1"))
        with pytest.raises(UserError, match="line 3"):
            import_judgements(study=campaign.study, path=path, campaign=campaign)

    def test_a_missing_revision_is_noticed(self, campaign, tmp_path):
        one, *_ = self.names(campaign)
        with pytest.raises(UserError) as caught:
            self.load(campaign, tmp_path, f"case,value,revision\n{one},tie,1\n{one},prefer_a,3\n")
        assert "some are missing" in caught.value.details[0]

    def test_a_different_answer_to_what_is_there_is_a_problem(self, campaign, anna, tmp_path):
        judging.submit(next_assignment(campaign, anna), Answer("tie"), actor=anna)
        one = Judgement.objects.get().item.case.external_id
        with pytest.raises(UserError) as caught:
            self.load(campaign, tmp_path, f"case,value\n{one},defective\n")
        assert "already, differently" in caught.value.details[0]

    def test_two_samples_of_one_model_are_matched_by_case(self, study, anna, tmp_path):
        cases = make_cases(study, 1)
        campaign = make_campaign(study, [anna], models=("alpha", "alpha"), cases=[], name="Own samples")
        model = campaign.models.get()
        a, b = make_completion(cases[0], model), make_completion(cases[0], model, index=1)
        campaign.items.create(case=cases[0], completion_a=a, completion_b=b, position=0)
        self.load(campaign, tmp_path, f"case,model_a,model_b,shown_left,value\n{cases[0]},alpha,alpha,b,prefer_b\n")
        revision = Revision.objects.get()
        assert revision.chosen == b
        assert revision.judgement.assignment.a_is_left is False
        (row,) = judgement_rows(study=study)
        assert row["shown_left"] == "b"

    def test_the_command_names_the_campaigns_there_are(self, campaign, tmp_path):
        with pytest.raises(CommandError, match="Campaigns: Compare"):
            call_command("import_judgements", campaign.study.slug, str(tmp_path / "x.csv"), "--campaign", "Nothing")


def test_a_label_campaign_goes_round(anna, tmp_path):
    study = make_study("triage")
    join(study, anna, "annotator")
    campaign = make_campaign(study, [anna], kind="label", name="Label", models=())
    judging.submit(
        next_assignment(campaign, anna),
        Answer("judged", values={"personnel": "nurse", "urgency": "soon"}),
        actor=anna,
    )
    path = tmp_path / "label.jsonl"
    run("export_judgements", study.slug, path)
    fresh = copy_of(study, "fresh", [anna])
    run("import_judgements", fresh.slug, path, "--campaign", "Label")
    assert Revision.objects.get(judgement__item__campaign__study=fresh).values == {
        "personnel": "nurse",
        "urgency": "soon",
    }
