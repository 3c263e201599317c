"""The simulation behind docs/statistics.md: that it runs, and that it would notice a broken method."""

import numpy as np
import pytest

from benchmarks import shapes, validate_stats
from benchmarks.stats_checks import Check, R, checks
from stats import paired
from stats.results import Estimate, TestResult


def test_every_check_makes_a_study_and_a_result(monkeypatch):
    monkeypatch.setitem(R, "n_resamples", 5)
    made = list(checks())
    assert {check.kind for check in made} == {"coverage", "type I"}
    for check in made:
        result = check.run(np.random.default_rng(0), 30, 0)
        assert isinstance(result, TestResult if check.kind == "type I" else Estimate | TestResult), check


def test_patients_ignored_are_noticed(monkeypatch):
    """The t interval of 300 cases, four a patient and correlated, covers too little."""

    def ignoring(rng, n, seed):
        groups = shapes.patients(rng, n, "clustered")
        return paired.mean(2 * rng.normal(size=groups.max() + 1)[groups] + rng.normal(size=n))

    check = Check("coverage", "mean", "clustered", ignoring, truth=0.0)
    row = validate_stats._simulate(check, 0, 300, 300, 0.0)
    assert row.share < 0.8
    assert validate_stats.verdict(check, row) == "UNDER 90 %"


@pytest.mark.parametrize(("share", "verdict"), [(0.95, ""), (0.915, "TOO LOW"), (0.99, "conservative")])
def test_verdicts(share, verdict):
    check = Check("coverage", "mean", "balanced", lambda *_: None)
    assert validate_stats.verdict(check, validate_stats.Row(0, 300, share, 0.005, 0.0)) == verdict


def test_the_table_is_written_between_its_marks(tmp_path):
    page = tmp_path / "page.md"
    begin, end = validate_stats.MARKERS
    page.write_text(f"before\n{begin}\nold\n{end}\nafter\n")
    row = [validate_stats.Row(0, n, 0.95, 0.01, 0.02) for n in validate_stats.SIZES]
    validate_stats.write(page, validate_stats.table(list(checks()), row))
    text = page.read_text()
    assert "old" not in text
    assert "95.0 ± 1.0, 2 % none" in text
    assert text.startswith("before")
    assert text.endswith("after\n")
