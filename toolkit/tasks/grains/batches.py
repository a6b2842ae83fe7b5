"""Summarise a run of `predict grains`: one table of all micrographs, and batches compared."""

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

MOST_BATCHES = 8  # that are drawn

# Fields of a record that the table of micrographs leaves out.
INTERNAL = "outputs", "outputs_sha256", "task", "run"
# Columns of NAME-grains.csv.
DIAMETER = 4
TOUCHES_FRAME = 8

RUN_FILES = "summary.csv", "batches.csv", "batches.png"


def flat_record(value: Any, name: str = "") -> dict[str, Any]:
    """A nested record as one row: names joined by underscores, None left out."""
    if isinstance(value, list):
        value = " ".join(value) or None
    if not isinstance(value, dict):
        return {} if value is None else {name: value}

    row = {}
    for key, inner in value.items():
        row |= flat_record(inner, f"{name}_{key}" if name else key)
    return row


def conclude(
    records: Callable[[], Iterable[dict[str, Any]]], folder: Path
) -> list[str]:
    """Write the summary of a run; returns the names of the files.

    `summary.csv` has a row for each micrograph. When micrographs come from several folders,
    `batches.png` and `batches.csv` compare these.
    """
    summary = summary_table(records).encode(errors="backslashreplace")
    batches, left_out, in_pixels = diameters_by_batch(records)
    write_bytes(folder / "summary.csv", summary)
    if len(batches) < 2:
        return ["summary.csv"]

    write_bytes(
        folder / "batches.csv",
        pairwise_tests(batches).encode(errors="backslashreplace"),
    )
    write_png(folder / "batches.png", batch_chart(batches, left_out, in_pixels))
    return list(RUN_FILES)


def summary_table(records: Callable[[], Iterable[dict[str, Any]]]) -> str:
    """The records of all micrographs that were not skipped, as CSV."""

    def rows() -> Iterator[dict[str, Any]]:
        for record in records():
            if record["status"] != "skipped":
                yield flat_record(
                    {k: v for k, v in record.items() if k not in INTERNAL}
                )

    # Records differ in their fields, so one pass collects the columns and another writes.
    columns = list(dict.fromkeys(itertools.chain.from_iterable(rows())))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows():
        writer.writerow({name: cell(value) for name, value in row.items()})

    return text.getvalue()


def batch_chart(
    batches: dict[str, np.ndarray], left_out: int, in_pixels: bool
) -> np.ndarray:
    """The cumulative distributions of the first batches, RGB uint8 (H, W, 3)."""
    shown = dict(itertools.islice(batches.items(), MOST_BATCHES))
    curves = []
    for name, values in shown.items():
        label = f"{name}: {len(values)} grains, D50 {np.median(values):.3g}"
        curves.append(
            (label, values, np.arange(1, len(values) + 1) / len(values))
        )

    # The title names the pair that differs most.
    tests = []
    for a, b in itertools.combinations(shown, 2):
        tests.append((kolmogorov_smirnov(batches[a], batches[b])[1], a, b))
    p, first, second = min(tests)

    title = f"{first} and {second}: two-sample Kolmogorov-Smirnov p = {p:.2g}"
    title += ", if grains are independent"
    title += f"; the least of {len(tests)} pairs" if len(tests) > 1 else ""
    title += (
        f"; first {MOST_BATCHES} of {len(batches)}"
        if len(batches) > MOST_BATCHES
        else ""
    )
    title += (
        f"; {left_out} micrographs without a scale left out" if left_out else ""
    )

    unit = "px: alike only at one magnification" if in_pixels else "um"
    return chart([], curves, title, f"equivalent diameter, {unit}")


def diameters_by_batch(
    records: Callable[[], Iterable[dict[str, Any]]],
) -> tuple[dict[str, np.ndarray], int, bool]:
    """Sorted diameters of the grains of each folder of inputs, read from the tables of the run.

    Grains that touch the frame are left out. When some micrographs have a scale and others have
    none, those without are left out.

    Returns
    -------
    diameters by folder, empty when there are fewer than two folders; the number of micrographs
    left out for want of a scale; whether lengths are in pixels.

    Raises
    ------
    ToolkitError
        With status 2, when a table is not where its record says.
    """
    # Micrometres and pixels cannot be compared: take one unit and count the
    # rest.
    units = Counter(
        record["unit"] for record in records() if record["status"] == "ok"
    )
    unit = "micrometre" if units["micrometre"] else "pixel"
    left_out = units.total() - units[unit]

    def comparable() -> Iterator[tuple[Path, dict[str, Any]]]:
        for record in records():
            if record["status"] == "ok" and record["unit"] == unit:
                yield Path(record["input"]).absolute().parent, record

    # Read the records twice rather than hold the tables of thousands of
    # images.
    folders = {folder for folder, _ in comparable()}
    if len(folders) < 2:
        return {}, 0, unit == "pixel"

    # Folders are named shortly where that is clear.
    names_differ = len({folder.name for folder in folders}) == len(folders)
    parts = {}
    for folder, record in comparable():
        name = folder.name if names_differ else str(folder)
        diameters = table_diameters(record)
        if diameters is not None:
            parts.setdefault(name, []).append(diameters)

    batches = {}
    for name, arrays in parts.items():
        joined = np.sort(np.concatenate(arrays))
        if joined.size:
            batches[name] = joined

    return batches, left_out, unit == "pixel"


def table_diameters(record: dict[str, Any]) -> np.ndarray | None:
    """Diameters (n,) of the grains inside the frame in a record's table; None of an empty table."""
    path = next(
        output for output in record["outputs"] if output.endswith("-grains.csv")
    )
    if not Path(path).exists():
        remedy = "Merge in the folder that the shards were predicted from."
        raise ToolkitError(f"There is no {path} here.", remedy, status=2)

    grains = read_table(path)
    if not grains.size:
        return None
    return grains[grains[:, TOUCHES_FRAME] == 0, DIAMETER]


def read_table(path: str) -> np.ndarray:
    """The numbers of a table of grains (n, columns); (0, 0) when it has nothing but a header."""
    lines = Path(path).read_text().splitlines()[1:]
    return (
        np.genfromtxt(lines, delimiter=",", ndmin=2)
        if lines
        else np.zeros((0, 0))
    )


def pairwise_tests(batches: dict[str, np.ndarray]) -> str:
    """Compare every two batches by the two-sample Kolmogorov-Smirnov test, as CSV.

    The test takes grains to be independent.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    counts = "grains", "other_grains"
    medians = "median", "other_median"
    writer.writerow(
        ["batch", "other", *counts, *medians, "ks_distance", "p_value"]
    )

    for (a, x), (b, y) in itertools.combinations(batches.items(), 2):
        distance, p = kolmogorov_smirnov(x, y)
        medians = f"{np.median(x):.6g}", f"{np.median(y):.6g}"
        writer.writerow(
            [
                cell(a),
                cell(b),
                len(x),
                len(y),
                *medians,
                f"{distance:.4f}",
                f"{p:.4g}",
            ]
        )

    return text.getvalue()


def kolmogorov_smirnov(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Distance and p value of the two-sample Kolmogorov-Smirnov test."""
    # It takes half a second to import; a single micrograph need not wait for it.
    from scipy.stats import ks_2samp

    return tuple(ks_2samp(x, y))
