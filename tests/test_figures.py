import xml.etree.ElementTree as ET

import pytest

from annotations.models import Model
from reports import build, figures
from tests.report_rows import campaign_on, judge, summaries, yes_no

pytestmark = pytest.mark.django_db


@pytest.fixture
def document(anna, ben):
    """Both kinds of judging, so that every figure but the confusion matrix has data."""
    evaluation = summaries(3, arms=("base", "sft", "dpo"))
    likert = campaign_on(evaluation, "likert", [anna, ben])
    wins = campaign_on(evaluation, "comparison", [anna, ben])
    for i, item in enumerate(likert.items.all()):
        judge(item, anna, faithful=1 + i % 5, complete=2 + i % 3)
        judge(item, ben, faithful=1 + (i + i % 2) % 5, complete=3)
    for i, item in enumerate(wins.items.all()):
        judge(item, anna, ["prefer_a", "prefer_b", "tie"][i % 3])
        judge(item, ben, ["prefer_a", "both_unacceptable"][i % 2])
    return build.collect(evaluation.study, [evaluation], [likert, wins]).document


def test_every_figure_is_drawn_with_a_text_alternative_that_holds_its_numbers(document, tmp_path):
    drawn = figures.draw(document, tmp_path / "figures")
    assert [figure["file"] for figure in drawn] == [
        "figures/arms-mean-likert.svg",
        "figures/arms-win-rate.svg",
        "figures/contrasts-mean-likert.svg",
        "figures/contrasts-win-rate.svg",
        "figures/likert-faithful.svg",
        "figures/likert-complete.svg",
        "figures/wins.svg",
        "figures/agreement.svg",
    ]
    for figure in drawn:
        root = ET.parse(tmp_path / figure["file"]).getroot()
        assert root.tag.endswith("svg")
        assert any(letter.isdigit() for letter in figure["alt"])
    value = document["arms"]["base"]["mean_likert.faithful"]["value"]
    assert f"base, mean Likert score, faithful: {value:.2f}" in drawn[0]["alt"]


def test_the_same_document_gives_the_same_bytes(document, tmp_path):
    for name in ("one", "two"):
        figures.draw(document, tmp_path / name / "figures")
    for path in (tmp_path / "one" / "figures").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / "figures" / path.name).read_bytes()


def test_confusion_matrices_stand_side_by_side(tmp_path):
    evaluation = yes_no()
    document = build.collect(evaluation.study, [evaluation], []).document
    figure = next(f for f in figures.draw(document, tmp_path / "figures") if "confusion" in f["file"])
    assert figure["alt"] == (
        "base: correct Yes 2 of 4, No 2 of 4, unparsed 1. sft: correct Yes 3 of 4, No 4 of 4, unparsed 0."
    )


def test_names_of_models_are_text_and_nothing_else(tmp_path):
    evaluation = yes_no()
    Model.objects.filter(name="sft").update(name='$x^2$ <script>alert(1)</script> & "long" ' + "y" * 60)
    document = build.collect(evaluation.study, [evaluation], []).document
    for figure in figures.draw(document, tmp_path / "figures"):
        tags = {element.tag for element in ET.parse(tmp_path / figure["file"]).iter()}
        assert not any(tag.endswith("}script") for tag in tags)


def test_a_document_without_numbers_draws_nothing(tmp_path):
    evaluation = summaries(1)
    document = build.collect(evaluation.study, [evaluation], []).document
    assert figures.draw(document, tmp_path / "figures") == []
