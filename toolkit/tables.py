"""Show results as tables in a terminal."""

import io
from collections import Counter
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hvd.toolkit.core import Task, printable

MOST_ROWS = 50  # of a run; the manifest holds all
MOST_NAMED = 3  # inputs that failed, named in the closing sentence


def draw_table(
    header: list[str], rows: list[list[str]], is_text: list[bool]
) -> str:
    """A table without frames; columns of text are aligned to the left, all others to the right."""
    table = Table(box=None, pad_edge=False)
    for title, left in zip(header, is_text, strict=True):
        table.add_column(title, justify="left" if left else "right")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))

    text = io.StringIO()
    console = Console(
        file=text,
        width=200,
        markup=False,
        emoji=False,
        highlight=False,
    )
    console.print(table)

    return text.getvalue()


def scores_table(result: dict[str, Any]) -> str:
    """The scores of one evaluation, with a line below that says what was measured."""
    metrics = list(next(iter(result["methods"].values()))["metrics"])
    rows = []
    # Only the headline metric has room for its interval.
    for name, scores in result["methods"].items():
        cells = [f"{score['mean']:.3f}" for score in scores["metrics"].values()]
        headline = scores["metrics"][metrics[0]]
        if headline["low"] is not None:
            cells[0] += f" [{headline['low']:.3f}, {headline['high']:.3f}]"

        milliseconds = scores["milliseconds"]
        times = [f"{milliseconds['median']:.0f}", f"{milliseconds['p95']:.0f}"]
        rows.append([name, *cells, *times])

    titles = [metric.replace("_", " ") for metric in metrics]
    header = ["method", *titles, "median ms", "p95 ms"]
    table = draw_table(header, rows, [title == "method" for title in header])

    options = ""
    for name, value in result["options"].items():
        shown = "default" if value is None else value
        options += f", {name} {shown}"
    # One sample says nothing about other samples.
    kind = (
        "means [95 % interval]"
        if result["samples"] > 1
        else "one sample, which has no interval"
    )
    note = f"{kind}, samples {result['samples']}, seed {result['seed']}, one thread{options}"

    return f"{table}\n{result['task']}, {result['data']}: {note}"


class RunTable:
    """A short table of a run of `predict`, with a closing sentence.

    Of many inputs it shows the first, in the order of their names.
    """

    def __init__(self, task: Task, out: Path):
        self.task = task
        self.out = out
        self.counts: Counter[str] = Counter()
        self.rows: list[tuple[str, list[str]]] = []
        self.failed: list[str] = []
        self.notes: Counter[str] = Counter()
        self.pictures: list[str] = []

    def add(self, record: dict[str, Any]) -> None:
        """Add the record of an input."""
        name = record["input"]
        status = record["status"]
        self.counts[status] += 1
        if status == "skipped":
            return

        cells = [""] * len(self.task.columns)

        if status == "failed":
            self.failed = sorted([*self.failed, name])[:MOST_NAMED]
        else:
            cells = [column.cell(record) for column in self.task.columns]
            self.notes.update(record["notes"])
            # Remember one picture, for the sentence below the table.
            ending = self.task.look_at
            pictures = [
                path for path in record["outputs"] if path.endswith(ending)
            ]
            self.pictures = sorted(self.pictures + pictures)[:1]

        self.rows.append((name, [name, status, *cells]))
        # Keep the first names alone: a run may have a million inputs.
        if len(self.rows) > 2 * MOST_ROWS:
            self.rows = sorted(self.rows)[:MOST_ROWS]

    def text(self) -> str:
        """The table in the order of names, then the notes and the closing sentence."""
        rows = [row for _, row in sorted(self.rows)][:MOST_ROWS]
        header = [
            "input",
            "status",
            *(column.title for column in self.task.columns),
        ]
        is_text = [
            True,
            True,
            *(column.is_text for column in self.task.columns),
        ]
        # Names may hold bytes that this terminal cannot print.
        lines = [draw_table(header, rows, is_text)]

        answered = self.counts["ok"]
        more = answered + self.counts["failed"] - len(rows)
        if more:
            lines.append(f"... and {more} more.")
        for note, count in self.notes.items():
            lines.append(f"Note on {count} of {answered}: {printable(note)}")
        lines.append(self.sentence())

        return "\n".join(lines).encode(errors="backslashreplace").decode()

    def sentence(self) -> str:
        """What was answered, what failed, and what to open first."""
        total = sum(self.counts.values())
        sentence = f"Answered {self.counts['ok']} of {total} in {self.out}"
        if self.counts["skipped"]:
            sentence += f", skipped {self.counts['skipped']}"
        if self.failed:
            more = (
                " and others"
                if self.counts["failed"] > len(self.failed)
                else ""
            )
            sentence += f"; failed: {', '.join(self.failed)}{more}"

        # End with what to do next.
        sentence += f". All records: {self.out / 'manifest.jsonl'}."
        if self.pictures:
            sentence += f" Open first: {self.pictures[0]}"
        return printable(sentence)
