"""Do the intervals of stats/ cover, and do its tests keep their level? Simulated studies of known truth.

    python -m benchmarks.validate_stats [--quick] [--only TEXT] [--processes 2] [--write docs/statistics.md]

Every row calls the public function as a report does, on many studies of one shape and size, and counts how often the
interval holds the truth (coverage of nominal 95 %) or how often P <= 0.05 though the null hypothesis holds (type I
error). The truth is the estimate on one study of 100,000 cases, where it is not known by construction. 500 resamples
a study, where reports take 10,000. A verdict is given where the promise is broken by more than two Monte Carlo
standard errors: coverage of 93 to 97 % at 300 cases and 90 % below, type I error of at most 6 %.
"""

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.stats_checks import HUGE, Check, R, checks
from stats.results import TestResult

SIZES = (30, 100, 300)
MARKERS = ("<!-- table of validate_stats: begin -->", "<!-- table of validate_stats: end -->")


@dataclass(frozen=True)
class Row:
    check: int
    n: int
    share: float  # of the defined ones
    error: float  # Monte Carlo standard error
    undefined: float


def truth_of(check: Check) -> float:
    if check.truth is not None:
        return check.truth
    small = 60_000 if check.method.startswith("Bradley") else HUGE
    R["n_resamples"] = 2
    result = check.run(np.random.default_rng(12345), small, 0)
    return result.effect if isinstance(result, TestResult) else result.value


def simulate(task: tuple[int, int]) -> list[Row]:
    """All sizes of one check, so that its truth is worked out once."""
    index, studies = task
    check = list(checks())[index]
    truth = truth_of(check) if check.kind == "coverage" else 0.0
    R["n_resamples"] = check.n_resamples
    return [_simulate(check, index, n, max(20, int(studies * check.studies)), truth) for n in SIZES]


def _simulate(check: Check, index: int, n: int, studies: int, truth: float) -> Row:
    rng, hits = np.random.default_rng([index, n]), np.full(studies, np.nan)
    for i in range(studies):
        result = check.run(rng, n, i)
        if check.kind == "coverage":
            if result.low == result.low:
                hits[i] = result.low - 1e-9 <= truth <= result.high + 1e-9
        elif isinstance(result, TestResult) and result.p_value == result.p_value:
            hits[i] = result.p_value <= 0.05
    defined = hits[~np.isnan(hits)]
    share = float(defined.mean()) if len(defined) else np.nan
    nominal = 0.95 if check.kind == "coverage" else 0.05
    spread = np.sqrt(max(share * (1 - share), nominal * (1 - nominal) / 4) / max(len(defined), 1))
    return Row(index, n, share, float(spread), 1 - len(defined) / studies)


def verdict(check: Check, row: Row) -> str:
    slack = 2 * row.error
    if check.kind == "type I":
        return "TOO HIGH" if row.share - slack > 0.06 else "conservative" if row.share + slack < 0.04 else ""
    if row.share + slack < 0.90:
        return "UNDER 90 %"
    if row.n >= 300 and row.share + slack < 0.93:
        return "TOO LOW"
    return "conservative" if row.share - slack > 0.97 else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="40 studies an interval instead of 800")
    parser.add_argument("--studies", type=int, default=0, help="an interval; tests get two to four times as many")
    parser.add_argument("--only", default="", help="methods whose name holds this text")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--write", type=Path, help="a page whose marked table is replaced")
    options = parser.parse_args()
    studies = options.studies or (40 if options.quick else 800)
    rows = list(checks())
    chosen = [i for i, check in enumerate(rows) if options.only.lower() in check.method.lower()]
    start = time.perf_counter()
    found: list[Row] = []
    with ProcessPoolExecutor(options.processes, initializer=threadpool_limits, initargs=(1,)) as pool:
        for made in pool.map(simulate, [(i, studies) for i in chosen], chunksize=1):
            found += made
            for row in made:
                print(line(rows[row.check], row), flush=True)
    minutes = (time.perf_counter() - start) / 60
    summary = (
        f"{len(chosen)} checks of three sizes, {studies:,} studies an interval (fewer for the two models) "
        f"and two to four times as many a test, "
        f"{minutes:.0f} minutes with {options.processes} processes"
    )
    print(summary)
    if options.write:
        command = f"python -m benchmarks.validate_stats --studies {studies}"
        write(options.write, f"`{command}`: {summary}.\n\n{table(rows, found)}")


def line(check: Check, row: Row) -> str:
    return (
        f"{check.kind:9}{check.method:48.47}{check.shape:19}{row.n:5}{100 * row.share:7.1f} ±{100 * row.error:4.1f}"
        f"{100 * row.undefined:7.1f} % none  {verdict(check, row)}"
    )


def table(rows: list[Check], found: list[Row]) -> str:
    """Markdown: a line a method and shape, a column a size; per cent ± Monte Carlo standard error."""
    by_place = {(row.check, row.n): row for row in found}
    made = []
    for kind, title in (("coverage", "Coverage of 95 % intervals"), ("type I", "Type I error at 5 %")):
        made += [f"### {title}", "", f"| method | data | {' | '.join(f'n = {n}' for n in SIZES)} |"]
        made.append("|---" * (2 + len(SIZES)) + "|")
        for index in sorted({row.check for row in found if rows[row.check].kind == kind}, key=lambda i: rows[i].method):
            check = rows[index]
            cells = [cell(check, by_place[index, n]) for n in SIZES]
            made.append(f"| {check.method} | {check.shape} | {' | '.join(cells)} |")
        made.append("")
    return "\n".join(made)


def cell(check: Check, row: Row) -> str:
    marks = {"": "", "conservative": " (conservative)"}
    mark = marks.get(verdict(check, row), f" **{verdict(check, row).lower()}**")
    none = f", {100 * row.undefined:.0f} % none" if row.undefined >= 0.005 else ""
    return f"{100 * row.share:.1f} ± {100 * row.error:.1f}{none}{mark}"


def write(page: Path, text: str) -> None:
    before, rest = page.read_text().split(MARKERS[0])
    page.write_text(f"{before}{MARKERS[0]}\n\n{text}\n{MARKERS[1]}{rest.split(MARKERS[1])[1]}")


if __name__ == "__main__":
    sys.exit(main())
