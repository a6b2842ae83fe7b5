"""Compare batches: the distributions of diameters of several folders of micrographs."""

import csv
import io
import itertools
import math
from typing import Any

import numpy as np

from hvd.toolkit.outputs import cell
from hvd.toolkit.tasks.grains.astm import ENOUGH_GRAINS
from hvd.toolkit.tasks.grains.charts import chart

MOST_BATCHES = 8  # that are drawn
SIGNIFICANT = 0.05  # p values from here on say nothing

# Distance, p values and a note
Test = dict[str, Any]


def batch_table(
    batches: dict[str, np.ndarray],
    tests: dict[tuple[str, str], Test],
    unit: str,
) -> str:
    """Compare every two batches by the two-sample Kolmogorov-Smirnov test, as CSV.

    The test takes grains to be independent. `p_holm` is corrected for the number of pairs (Holm,
    1979); `least_p` is the least p value that any diameters of so many grains could give.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    counts = "grains", "other_grains"
    medians = f"median_{unit}", f"other_median_{unit}"
    values = "ks_distance", "p_value", "p_holm", "least_p", "note"
    writer.writerow(["batch", "other", *counts, *medians, *values])

    for (a, b), test in tests.items():
        x, y = batches[a], batches[b]
        middle = [f"{np.median(v):.6g}" if len(v) else "" for v in (x, y)]
        numbers = [
            "" if test[name] is None else f"{test[name]:.4g}"
            for name in ("distance", "p", "p_holm", "least_p")
        ]
        writer.writerow(
            [cell(a), cell(b), len(x), len(y), *middle, *numbers, test["note"]]
        )

    return text.getvalue()


def pairwise_tests(
    batches: dict[str, np.ndarray],
) -> dict[tuple[str, str], Test]:
    """The Kolmogorov-Smirnov test of every two batches of diameters (n,).

    Values are None where a batch has no grain.
    """
    tests: dict[tuple[str, str], Test] = {}
    for (a, x), (b, y) in itertools.combinations(batches.items(), 2):
        tests[a, b] = comparison(x, y)

    # Holm's correction: the least of m values counts m times, the next m - 1 times, and so on.
    known = [test for test in tests.values() if test["p"] is not None]
    highest = 0.0
    for k, test in enumerate(sorted(known, key=lambda test: test["p"])):
        highest = max(highest, min(1.0, test["p"] * (len(known) - k)))
        test["p_holm"] = highest
    return tests


def comparison(x: np.ndarray, y: np.ndarray) -> Test:
    """Compare two batches of diameters (n,) and (m,)."""
    if not len(x) or not len(y):
        nothing = dict.fromkeys(("distance", "p", "p_holm", "least_p"))
        return nothing | {"note": "a batch has no whole grain"}

    # It takes half a second to import; a single micrograph need not wait for it.
    from scipy.stats import ks_2samp

    distance, p = ks_2samp(x, y)
    least_p = least_p_value(len(x), len(y))
    notes = []
    if least_p > SIGNIFICANT:
        notes.append(
            f"so few grains cannot give a p value below {least_p:.2g}, whatever they are"
        )
    if min(len(x), len(y)) < ENOUGH_GRAINS:
        notes.append(f"fewer than {ENOUGH_GRAINS} grains in a batch")
    return {
        "distance": float(distance),
        "p": float(p),
        "p_holm": None,
        "least_p": least_p,
        "note": "; ".join(notes),
    }


def least_p_value(n: int, m: int) -> float:
    """The least p value of the two-sided exact test, when all of one sample lie below the other.

    >>> round(least_p_value(5, 2), 4)
    0.0952
    """
    logarithm = math.lgamma(n + 1) + math.lgamma(m + 1) - math.lgamma(n + m + 1)
    return min(1.0, 2 * math.exp(logarithm))


def batch_chart(
    batches: dict[str, np.ndarray],
    tests: dict[tuple[str, str], Test],
    left_out: int,
    unit: str,
) -> np.ndarray:
    """The cumulative distributions of the first batches, RGB uint8 (H, W, 3)."""
    shown = dict(itertools.islice(batches.items(), MOST_BATCHES))
    curves = []
    for name, values in shown.items():
        if not len(values):
            continue
        label = f"{name}: {len(values)} grains, D50 {np.median(values):.3g}"
        curves.append(
            (label, values, np.arange(1, len(values) + 1) / len(values))
        )

    title = title_of_chart(tests)
    if len(batches) > MOST_BATCHES:
        title += (
            f"; curves of the first {MOST_BATCHES} of {len(batches)} batches"
        )
    if left_out:
        title += f"; {left_out} micrographs without a scale left out"
    if unit == "px":
        unit += ": alike only at one magnification"
    return chart([], curves, title, f"equivalent diameter, {unit}")


def title_of_chart(tests: dict[tuple[str, str], Test]) -> str:
    """Names the pair of batches that differs most, and what its p value is worth."""
    known = {
        pair: test for pair, test in tests.items() if test["p"] is not None
    }
    if not known:
        return "No two batches with whole grains"
    first, second = min(known, key=lambda pair: known[pair]["p"])
    test = known[first, second]
    title = f"{first} and {second}: Kolmogorov-Smirnov p = {test['p_holm']:.2g}"
    if len(known) > 1:
        title += f", the least of {len(known)} pairs, corrected (Holm)"
    if test["least_p"] > SIGNIFICANT:
        return f"{title}; so few grains cannot give less than {test['least_p']:.2g}"
    return f"{title}, if grains are independent"
