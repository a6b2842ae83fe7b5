"""What a run of `predict grains` leaves besides its micrographs: a summary, and batches compared."""

import csv
import io
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from hvd.toolkit.core import ToolkitError
from hvd.toolkit.images import write_png
from hvd.toolkit.outputs import cell, write_bytes
from hvd.toolkit.tasks.grains.charts import chart

MOST_BATCHES = 8
INTERNAL = (
    "outputs",
    "outputs_sha256",
    "task",
    "run",
)  # of a record, what a table of micrographs leaves out
RUN_FILES = "summary.csv", "batches.csv", "batches.png"


def flat(value: Any, name: str = "") -> dict[str, Any]:
    """A nested record as one row: names joined by underscores."""
    if isinstance(value, list):
        value = " ".join(value) or None
    if not isinstance(value, dict):
        return {} if value is None else {name: value}
    found = {}
    for key, inner in value.items():
        found |= flat(inner, f"{name}_{key}" if name else key)

    return found


def conclude(records: Callable[[], Iterable[dict[str, Any]]], folder: Path) -> list[str]:
    """Write `summary.csv`, a row for each micrograph, and `batches.png` and `batches.csv` when
    micrographs come from several folders; returns the names of what was written."""

    def rows() -> Iterator[dict[str, Any]]:
        for record in records():
            if record["status"] != "skipped":
                yield flat({k: v for k, v in record.items() if k not in INTERNAL})

    batches, left_out, in_pixels = diameters_by_batch(records)
    columns = list(dict.fromkeys(itertools.chain.from_iterable(rows())))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: cell(value) for name, value in row.items()} for row in rows())
    write_bytes(folder / "summary.csv", text.getvalue().encode(errors="backslashreplace"))
    if len(batches) < 2:
        return ["summary.csv"]
    write_bytes(folder / "batches.csv", compared(batches).encode(errors="backslashreplace"))
    curves = []

    for name, values in itertools.islice(batches.items(), MOST_BATCHES):
        curves.append(
            (
                f"{name}: {len(values)} grains, D50 {np.median(values):.3g}",
                values,
                np.arange(1, len(values) + 1) / len(values),
            )
        )

    pairs = list(itertools.combinations(itertools.islice(batches, MOST_BATCHES), 2))
    p, first, second = min((two_samples(batches[a], batches[b])[1], a, b) for a, b in pairs)
    title = f"{first} and {second}: two-sample Kolmogorov-Smirnov p = {p:.2g}, if grains are independent"
    title += f"; the least of {len(pairs)} pairs" if len(pairs) > 1 else ""
    title += f"; first {MOST_BATCHES} of {len(batches)}" if len(batches) > MOST_BATCHES else ""
    title += f"; {left_out} micrographs without a scale left out" if left_out else ""
    label = "px: alike only at one magnification" if in_pixels else "um"
    write_png(folder / "batches.png", chart([], curves, title, f"equivalent diameter, {label}"))

    return list(RUN_FILES)


def diameters_by_batch(
    records: Callable[[], Iterable[dict[str, Any]]],
) -> tuple[dict[str, np.ndarray], int, bool]:
    """Sorted diameters of the whole grains of each folder of inputs, from the tables written, the number of micrographs left out
    because they have no scale where others have one, and whether none has. Nothing of fewer than two folders.

    Raises ToolkitError with status 2 when a table is not where its record says.
    """
    units = Counter(record["unit"] for record in records() if record["status"] == "ok")
    unit = "micrometre" if units["micrometre"] else "pixel"

    def scaled() -> Iterator[dict[str, Any]]:
        return (
            record for record in records() if record["status"] == "ok" and record["unit"] == unit
        )

    folders = {str(Path(record["input"]).absolute().parent) for record in scaled()}
    if len(folders) < 2:
        return {}, 0, unit == "pixel"
    by_name = len({Path(folder).name for folder in folders}) == len(folders)
    found = {}

    for record in scaled():
        path = next(output for output in record["outputs"] if output.endswith("-grains.csv"))
        if not Path(path).exists():
            raise ToolkitError(
                f"There is no {path} here.",
                "Merge in the folder that the shards were predicted from.",
                status=2,
            )

        grains = read_table(path)
        folder = Path(record["input"]).absolute().parent
        if grains.size:
            found.setdefault(folder.name if by_name else str(folder), []).append(
                grains[grains[:, 8] == 0, 4]
            )

    whole = {
        name: np.sort(np.concatenate(parts))
        for name, parts in found.items()
        if sum(map(len, parts))
    }

    return whole, units.total() - units[unit], unit == "pixel"


def read_table(path: str) -> np.ndarray:
    """The numbers of a table of grains (n, columns); none when it has a header alone."""
    lines = Path(path).read_text().splitlines()[1:]
    return np.genfromtxt(lines, delimiter=",", ndmin=2) if lines else np.zeros((0, 0))


def compared(batches: dict[str, np.ndarray]) -> str:
    """Every two batches by the two-sample Kolmogorov-Smirnov test, as CSV. The test takes grains as independent."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(
        [
            "batch",
            "other",
            "grains",
            "other_grains",
            "median",
            "other_median",
            "ks_distance",
            "p_value",
        ]
    )

    for (a, x), (b, y) in itertools.combinations(batches.items(), 2):
        distance, p = two_samples(x, y)
        medians = f"{np.median(x):.6g}", f"{np.median(y):.6g}"
        rows.writerow([cell(a), cell(b), len(x), len(y), *medians, f"{distance:.4f}", f"{p:.4g}"])

    return text.getvalue()


def two_samples(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Distance and p value of the two-sample Kolmogorov-Smirnov test."""
    from scipy.stats import (
        ks_2samp,
    )  # takes half a second to import, which a single micrograph need not wait for

    return tuple(ks_2samp(x, y))
