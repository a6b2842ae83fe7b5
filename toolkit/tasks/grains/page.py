"""One page for a run of `predict grains`: what is doubtful first, then every micrograph."""

import os
from collections.abc import Callable, Iterable
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; margin: 2em auto; max-width: 72em;
  padding: 0 1em; }
table { border-collapse: collapse; margin: 1em 0; }
th, td { padding: .3em .8em; border-bottom: 1px solid #ddd; text-align: right; }
th:first-child, td:first-child, td.text { text-align: left; }
figure { margin: 1em 0; } img { max-width: 100%; height: auto; }
.pair { display: flex; flex-wrap: wrap; gap: 1em; } .pair figure { flex: 1 1 30em; }
.doubt { background: #fff6e0; border-left: 4px solid #d90; padding: .5em 1em; }
.failed { background: #fdeaea; border-left: 4px solid #c33; padding: .5em 1em; }
"""
HEADINGS = (
    "micrograph",
    "whole grains",
    "mean diameter",
    "mean intercept",
    "G by counting",
    "G by intercepts",
    "reliability",
)
SYMBOLS = {"micrometre": "µm", "pixel": "px"}

Record = dict[str, Any]


def run_page(
    records: Callable[[], Iterable[Record]],
    out: Path,
    tables: list[str],
    has_batches: bool,
) -> str:
    """The page of a run, as HTML.

    Parameters
    ----------
    records : gives the records of the run, as often as it is called.
    out : folder that the page will lie in; pictures are linked from there.
    tables : names of the tables beside it.
    has_batches : whether batches were compared.
    """
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'>",
        "<meta name='viewport' content='width=device-width'>",
        f"<title>Grain sizes</title><style>{STYLE}</style><h1>Grain sizes</h1>",
    ]
    links = [f"<a href='{name}'>{name}</a>" for name in tables]
    parts.append(f"<p>Tables: {', '.join(links)}</p>")
    parts += doubts(records)
    parts += overview(records)
    if has_batches:
        parts.append("<h2>Batches</h2>" + figure("batches.png", "batches"))
    for record in records():
        if record["status"] == "ok":
            parts += section(record, out)
    return "\n".join(parts) + "\n"


def name_of(record: Record) -> str:
    """How the page calls a micrograph: by its folder and name."""
    path = Path(record["input"])
    return f"{path.parent.name}/{path.name}" if path.parent.name else path.name


def doubts(records: Callable[[], Iterable[Record]]) -> list[str]:
    """What a reader must know before the numbers: failures, and notes of every micrograph."""
    parts = ["<h2>Read this first</h2>"]
    for record in records():
        name = f"<b>{escape(name_of(record))}</b>"
        if record["status"] == "failed":
            text = escape(f"{record['reason']} {record['remedy']}")
            parts.append(f"<p class='failed'>{name} failed: {text}</p>")
        for note in record.get("notes", []):
            parts.append(f"<p class='doubt'>{name}: {escape(note)}</p>")
    if len(parts) == 1:
        parts.append("<p>Nothing is doubtful.</p>")
    return parts


def overview(records: Callable[[], Iterable[Record]]) -> list[str]:
    """A table with the main results of every micrograph."""
    head = "".join(f"<th>{heading}</th>" for heading in HEADINGS)
    parts = [f"<h2>Micrographs</h2><table><tr>{head}</tr>"]
    for record in records():
        if record["status"] == "ok":
            cells = "".join(f"<td>{escape(one)}</td>" for one in row_of(record))
            parts.append(f"<tr>{cells}</tr>")
    return [*parts, "</table>"]


def row_of(record: Record) -> list[str]:
    """The cells of a micrograph in the overview."""
    unit = SYMBOLS[record["unit"]]
    mean = record["diameter"] and record["diameter"]["number_weighted"]["mean"]
    numbers = record["astm_g"] or {}
    reliability = record["reliability"]
    return [
        name_of(record),
        str(record["whole_grains"]),
        f"{mean:.3g} {unit}" if mean else "-",
        with_interval(record["mean_intercept"], unit),
        with_interval(numbers.get("planimetric")),
        with_interval(numbers.get("intercept")),
        "-" if reliability is None else f"{reliability:.2f}",
    ]


def with_interval(value: dict[str, float | None] | None, unit: str = "") -> str:
    """A mean with its unit and its 95 % confidence interval."""
    if not value:
        return "-"
    ends = [
        "?" if value[end] is None else f"{value[end]:.3g}"
        for end in ("low", "high")
    ]
    return f"{value['mean']:.3g} {unit} [{', '.join(ends)}]".replace("  ", " ")


def section(record: Record, out: Path) -> list[str]:
    """The pictures of one micrograph."""
    figures = []
    for output in record["outputs"]:
        if output.endswith(("-overlay.png", "-distribution.png")):
            place = os.path.relpath(output, out)
            title = f"{Path(output).name} of {name_of(record)}"
            figures.append(figure(Path(place).as_posix(), title))
    heading = f"<h2>{escape(name_of(record))}</h2>"
    return [heading, f"<div class='pair'>{''.join(figures)}</div>"]


def figure(place: str, title: str) -> str:
    """A picture with its description; `place` is relative to the page."""
    text = escape(title, quote=True)
    link = quote(os.fsencode(place))
    return f"<figure><a href='{link}'><img src='{link}' alt='{text}' loading='lazy'></a></figure>"
