"""Results as tables for a terminal."""

import io
from collections import Counter
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from hvd.toolkit.core import Task

MOST_ROWS = 50  # of a run; the manifest holds all


def draw_table(header: list[str], rows: list[list[str]], is_text: list[bool]) -> str:
    """A table without frames; columns of text are aligned to the left, others to the right."""
    table = Table(box=None, pad_edge=False)
    for title, left in zip(header, is_text, strict=True):
        table.add_column(title, justify="left" if left else "right")
    for row in rows:
        table.add_row(*row)

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
    """A short table of a run of `predict`, with a closing sentence."""

    def __init__(self, task: Task, out: Path):
        self.task = task
        self.out = out
        self.counts: Counter[str] = Counter()
        self.rows: list[tuple[str, list[str]]] = []
        self.failed: list[str] = []
        self.notes: dict[str, int] = {}
        self.pictures: list[str] = []

    def add(self, record: dict[str, Any]) -> None:
        """Take the record of an input."""
        name, status = record["input"], record["status"]
        self.counts[status] += 1
        if status == "failed":
            self.failed.append(name)
        if status == "skipped":
            return

        cells = [""] * len(self.task.columns)
        if status == "ok":
            cells = [column.cell(record) for column in self.task.columns]
            for note in record["notes"]:
                self.notes[note] = self.notes.get(note, 0) + 1
            ending = self.task.look_at
            self.pictures += [path for path in record["outputs"] if path.endswith(ending)][:1]
        self.rows.append((name, [name, status, *cells]))

    def text(self) -> str:
        """The table in the order of names, then what was answered, what failed, what to open."""
        rows = [row for _, row in sorted(self.rows)]
        header = ["input", "status", *(column.title for column in self.task.columns)]
        is_text = [True, True, *(column.is_text for column in self.task.columns)]
        lines = [draw_table(header, rows[:MOST_ROWS], is_text)]
        if len(rows) > MOST_ROWS:
            lines.append(f"... and {len(rows) - MOST_ROWS} more.")
        lines += [f"Note on {count} of {len(rows)}: {note}" for note, count in self.notes.items()]
        lines.append(self.sentence())
        return "\n".join(lines)

    def sentence(self) -> str:
        """What was answered, what failed, and what to open first."""
        total = sum(self.counts.values())
        sentence = f"Answered {self.counts['ok']} of {total} in {self.out}"
        if self.counts["skipped"]:
            sentence += f", skipped {self.counts['skipped']}"
        if self.failed:
            more = " and others" if len(self.failed) > 3 else ""
            sentence += f"; failed: {', '.join(sorted(self.failed)[:3])}{more}"
        sentence += f". All records: {self.out / 'manifest.jsonl'}."
        return f"{sentence} Open first: {min(self.pictures)}" if self.pictures else sentence
