"""Results as tables, for a terminal and for Markdown."""

import io
from typing import Any

from rich.console import Console
from rich.table import Table


def rows(result: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of one evaluation: a method a row, a metric a column, then milliseconds."""
    metrics = list(next(iter(result["methods"].values()))["metrics"])
    header = ["method", *metrics, "median ms", "p95 ms"]
    body = []
    for name, found in result["methods"].items():
        cells = [f"{m['mean']:.3f}" for m in found["metrics"].values()]
        first = next(iter(found["metrics"].values()))
        cells[0] += f" [{first['low']:.3f}, {first['high']:.3f}]"
        body.append([name, *cells, f"{found['milliseconds']['median']:.0f}", f"{found['milliseconds']['p95']:.0f}"])
    return header, body


def text(result: dict[str, Any]) -> str:
    """A table for a terminal, with what was measured below it."""
    header, body = rows(result)
    table = Table(box=None, pad_edge=False)
    for k, name in enumerate(header):
        table.add_column(name.replace("_", " "), justify="right" if k else "left")
    for row in body:
        table.add_row(*row)
    console = Console(file=io.StringIO(), width=200)
    console.print(table)
    options = ", ".join(f"{name} {value}" for name, value in result["options"].items())
    note = f"means [95 % interval], samples {result['samples']}, seed {result['seed']}, one thread; {options}"
    return f"{console.file.getvalue()}\n{result['task']}, {result['data']}: {note}"
