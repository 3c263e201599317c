"""P values adjusted for the size of their family."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from statsmodels.stats.multitest import multipletests

from stats.intake import FloatArray, floats

METHODS = ("holm", "bonferroni", "fdr_bh")


def adjust(p_values: npt.ArrayLike, method: str = "holm") -> FloatArray:
    """Adjusted P values (m,), in the order given, in [0, 1].

    "holm" and "bonferroni" control the family-wise error under any dependence; "fdr_bh" the false discovery rate,
    for what is exploratory. An undefined (nan) P stays nan and does not count in the family. ValueError outside
    [0, 1].

    Source: Holm 1979, Scand J Stat 6:65; Benjamini & Hochberg 1995, J R Stat Soc B 57:289; computed by statsmodels.

    >>> adjust([0.01, 0.04, 0.03]).round(4).tolist()
    [0.03, 0.06, 0.06]
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, not {method!r}")
    raw = floats(p_values, "p_values")
    defined = ~np.isnan(raw)
    if ((raw[defined] < 0) | (raw[defined] > 1)).any():
        raise ValueError("p_values must lie between 0 and 1")
    adjusted = np.full(raw.shape, np.nan)
    if defined.any():
        adjusted[defined] = multipletests(raw[defined], method=method)[1]
    return adjusted
