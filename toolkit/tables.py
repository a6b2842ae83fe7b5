"""Results as tables for a terminal."""

import io
from collections import Counter
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hvd.toolkit.core import Task, printable

MOST_ROWS = 50  # of a run; the manifest holds all
FEW = 3  # inputs that failed, named in the closing sentence


def draw_table(header: list[str], rows: list[list[str]], is_text: list[bool]) -> str:
    """A table without frames; columns of text are aligned to the left, others to the right."""
    table = Table(box=None, pad_edge=False)
    for title, left in zip(header, is_text, strict=True):
        table.add_column(title, justify="left" if left else "right")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))

    console = Console(file=io.StringIO(), width=200, markup=False, emoji=False, highlight=False)
    console.print(table)

    return console.file.getvalue()


def text(result: dict[str, Any]) -> str:
    """The scores of one evaluation, with what was measured below them."""
    metrics = list(next(iter(result["methods"].values()))["metrics"])
    rows = []
    for name, scores in result["methods"].items():
        cells = [f"{mean['mean']:.3f}" for mean in scores["metrics"].values()]
        headline = scores["metrics"][metrics[0]]
        if headline["low"] is not None:
            cells[0] += f" [{headline['low']:.3f}, {headline['high']:.3f}]"
        times = [f"{scores['milliseconds'][key]:.0f}" for key in ("median", "p95")]
        rows.append([name, *cells, *times])

    titles = [metric.replace("_", " ") for metric in metrics]
    header = ["method", *titles, "median ms", "p95 ms"]
    table = draw_table(header, rows, [title == "method" for title in header])
    options = ", ".join(f"{name} {value}" for name, value in result["options"].items())
    kind = "means [95 % interval]" if result["samples"] > 1 else "one sample, which has no interval"
    note = f"{kind}, samples {result['samples']}, seed {result['seed']}, one thread; {options}"

    return f"{table}\n{result['task']}, {result['data']}: {note}"


class RunTable:
    """A short table of a run of `predict`, with a closing sentence; of many inputs the first."""

    def __init__(self, task: Task, out: Path):
        self.task = task
        self.out = out
        self.counts: Counter[str] = Counter()
        self.rows: list[tuple[str, list[str]]] = []
        self.failed: list[str] = []
        self.notes: Counter[str] = Counter()
        self.pictures: list[str] = []

    def add(self, record: dict[str, Any]) -> None:
        """Take the record of an input."""
        name = record["input"]
        status = record["status"]
        self.counts[status] += 1
        if status == "skipped":
            return

        cells = [""] * len(self.task.columns)

        if status == "failed":
            self.failed = sorted([*self.failed, name])[:FEW]
        else:
            cells = [column.cell(record) for column in self.task.columns]
            self.notes.update(record["notes"])
            ending = self.task.look_at
            pictures = [path for path in record["outputs"] if path.endswith(ending)]
            self.pictures = sorted(self.pictures + pictures)[:1]

        self.rows.append((name, [name, status, *cells]))
        if len(self.rows) > 2 * MOST_ROWS:
            self.rows = sorted(self.rows)[:MOST_ROWS]

    def text(self) -> str:
        """The table in the order of names, then what was answered, what failed, what to open."""
        rows = [row for _, row in sorted(self.rows)][:MOST_ROWS]
        header = ["input", "status", *(column.title for column in self.task.columns)]
        is_text = [True, True, *(column.is_text for column in self.task.columns)]
        lines = [draw_table(header, rows, is_text)]

        answered = self.counts["ok"]
        more = answered + self.counts["failed"] - len(rows)
        lines += [f"... and {more} more."] if more else []
        lines += [
            f"Note on {count} of {answered}: {printable(note)}"
            for note, count in self.notes.items()
        ]
        lines.append(self.sentence())

        return "\n".join(lines).encode(errors="backslashreplace").decode()

    def sentence(self) -> str:
        """What was answered, what failed, and what to open first."""
        total = sum(self.counts.values())
        sentence = f"Answered {self.counts['ok']} of {total} in {self.out}"
        if self.counts["skipped"]:
            sentence += f", skipped {self.counts['skipped']}"
        if self.failed:
            more = " and others" if self.counts["failed"] > len(self.failed) else ""
            sentence += f"; failed: {', '.join(self.failed)}{more}"

        sentence += f". All records: {self.out / 'manifest.jsonl'}."
        if self.pictures:
            sentence += f" Open first: {self.pictures[0]}"
        return printable(sentence)
