"""Summarise a run of `predict grains`: tables of micrographs and specimens, batches, and a page."""

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
from hvd.toolkit.tasks.grains.batches import batch_chart, batch_table
from hvd.toolkit.tasks.grains.page import run_page
from hvd.toolkit.tasks.grains.specimens import specimen_table

# Fields of a record that the table of micrographs leaves out.
INTERNAL = "outputs", "outputs_sha256", "task", "run"

# Columns of NAME-grains.csv.
AREA = 3
DIAMETER = 4
TOUCHES_FRAME = 8

RUN_FILES = (
    "report.html",
    "summary.csv",
    "specimens.csv",
    "batches.csv",
    "batches.png",
)

Record = dict[str, Any]
Records = Callable[[], Iterable[Record]]


def conclude(
    records: Records,
    folder: Path,
    out: Path,
) -> list[str]:
    """Write the summary of a run into `folder`, for `out`; returns the names of the files.

    `report.html` shows all micrographs, `summary.csv` has a row for each, and `specimens.csv` one
    for each folder. When micrographs come from several folders, `batches.png` and `batches.csv`
    compare these.
    """
    files = {"summary.csv": summary_table(records)}
    specimens, left_out, in_pixels = specimens_of(records)
    if specimens:
        files["specimens.csv"] = specimen_table(specimens)
    batches = {
        name: np.sort(np.sqrt(4 * areas / np.pi))
        for name, (_, areas) in specimens.items()
    }
    if len(batches) > 1:
        files["batches.csv"] = batch_table(batches)

    for name, text in files.items():
        write_bytes(folder / name, text.encode(errors="backslashreplace"))
    if len(batches) > 1:
        picture = batch_chart(batches, left_out, in_pixels)
        write_png(folder / "batches.png", picture)

    page = run_page(records, out, list(files), len(batches) > 1)
    write_bytes(folder / "report.html", page.encode(errors="xmlcharrefreplace"))
    written = {*files, "report.html"}
    if len(batches) > 1:
        written.add("batches.png")
    return [name for name in RUN_FILES if name in written]


# --- one row for each micrograph


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


def summary_table(records: Records) -> str:
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


# --- the specimens: folders of micrographs


def specimens_of(
    records: Records,
) -> tuple[dict[str, tuple[list[Record], np.ndarray]], int, bool]:
    """Records and areas of whole grains of each folder of inputs, read from the tables of the run.

    When some micrographs have a scale and others have none, those without are left out.

    Returns
    -------
    By folder its records and areas (n,); the number of micrographs left out for want of a scale;
    whether lengths are in pixels.

    Raises
    ------
    ToolkitError
        With status 2, when a table is not where its record says.
    """
    # Micrometres and pixels cannot be compared: take one unit and count the rest.
    units = Counter(
        record["unit"] for record in records() if record["status"] == "ok"
    )
    unit = "micrometre" if units["micrometre"] else "pixel"
    left_out = units.total() - units[unit]

    parts: dict[Path, tuple[list[Record], list[np.ndarray]]] = {}
    for record in records():
        if record["status"] == "ok" and record["unit"] == unit:
            folder = Path(record["input"]).absolute().parent
            fields, areas = parts.setdefault(folder, ([], []))
            fields.append(record)
            if record["diameter"]:
                areas.append(whole_areas(record))

    # Folders are named shortly where that is clear.
    names_differ = len({folder.name for folder in parts}) == len(parts)
    specimens = {}
    for folder, (fields, areas) in parts.items():
        name = folder.name if names_differ else str(folder)
        specimens[name] = fields, np.concatenate([np.zeros(0), *areas])
    return specimens, left_out, unit == "pixel"


def whole_areas(record: Record) -> np.ndarray:
    """Areas (n,) of the grains that nothing cuts, in a record's table."""
    path = next(
        output for output in record["outputs"] if output.endswith("-grains.csv")
    )
    if not Path(path).exists():
        remedy = "Merge in the folder that the shards were predicted from."
        raise ToolkitError(f"There is no {path} here.", remedy, status=2)

    grains = read_table(path)
    if not grains.size:
        return np.zeros(0)
    return grains[grains[:, TOUCHES_FRAME] == 0, AREA]


def read_table(path: str) -> np.ndarray:
    """The numbers of a table of grains (n, columns); (0, 0) when it has nothing but a header."""
    lines = Path(path).read_text().splitlines()[1:]
    return (
        np.genfromtxt(lines, delimiter=",", ndmin=2)
        if lines
        else np.zeros((0, 0))
    )
