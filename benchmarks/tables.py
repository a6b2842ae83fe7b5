"""Tables of results, and of the cards inside the checkpoints, in Markdown."""

import json
from collections.abc import Iterable
from typing import Any

from hvd.benchmarks.conditions import AXES, MAIN, SIZE
from hvd.benchmarks.networks import LOST, pays
from hvd.benchmarks.scores import Results, TaskResults, study
from hvd.toolkit.core import Metric
from hvd.toolkit.network import index, shipped_checkpoint

GAP = "-"  # of what was not measured
HEAD = """# Results

Written by `toolkit report` from `benchmarks/results/*.json`: means over samples, on one thread. The same, with pictures:
[index.html](index.html); what it means: [report.pdf](report.pdf); in five minutes: [slides.pdf](slides.pdf)."""


def markdown(header: list[str], rows: Iterable[list[str]], numbers: bool = True) -> str:
    """A table whose first column is text, the others numbers, or text as well."""
    rule = ["---"] + ["---:" if numbers else "---"] * (len(header) - 1)
    return "\n".join(f"| {' | '.join(line)} |" for line in [header, rule, *rows])


def cell(scores: dict[str, Any], method: str, metric: str, interval: bool = False) -> str:
    """The mean of a metric, with its interval if asked for; "-" when it was not measured, and
    "failed" when the method failed."""
    if method not in scores:
        return "failed"
    mean = scores[method]["metrics"][metric]
    if mean is None:
        return GAP
    text = f"{mean['mean']:.3f}"
    if interval and mean["low"] is not None:
        text += f" [{mean['low']:.3f}, {mean['high']:.3f}]"

    return text


def headline_rows(task: TaskResults) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the headline metric: a method a row, a condition a column, then deep minus
    baseline, paired by sample."""
    conditions = list(task.conditions.values())
    metric = task.headline.name
    rows = [[m, *(cell(task.scores(c), m, metric) for c in conditions)] for m in task.methods]
    rows.append(["deep - baseline", *(gain_cell(task, c) for c in conditions)])
    return [f"{task.name}: {task.headline.title}", *task.conditions], rows


def gain_cell(task: TaskResults, condition: dict[str, Any]) -> str:
    """`deep` minus `baseline` in a condition."""
    gain = task.gain(condition)
    if gain is None:
        return "failed" if {"deep", "baseline"} & condition["failures"].keys() else GAP
    return bold(gain)


def short(results: list[Results]) -> str:
    """For each task the headline metric of every method under every condition."""
    parts = []
    for result in results:
        for task in result.tasks.values():
            parts.append(f"On {task.origin}:\n\n{markdown(*headline_rows(task))}")
            parts += [part for part in (task.note, gap_note(task, [task.headline.name])) if part]
    return "\n\n".join(parts)


def gap_note(task: TaskResults, metrics: list[str]) -> str:
    """The command that fills the gaps of some metrics; nothing when there are none."""
    measured = [c for c in task.found["conditions"] if c["series"] != SIZE]
    scores = [its for c in measured for its in task.scores(c).values()]
    missing = [m for m in metrics if any(its["metrics"][m] is None for its in scores)]
    if not missing:
        return ""
    return f"{GAP}: {', '.join(missing)} was not measured yet: `{task.command}` does."


def bold(gain: dict[str, float]) -> str:
    """A difference with its interval, bold when that excludes zero."""
    if gain["low"] is None:
        return f"{gain['mean']:+.3f}"
    text = f"{gain['mean']:+.3f} [{gain['low']:+.3f}, {gain['high']:+.3f}]"
    return f"**{text}**" if gain["low"] > 0 or gain["high"] < 0 else text


def report(results: list[Results]) -> str:
    """Every condition x every method x every metric, times, memory, the network against the processor, sweeps and sizes."""
    parts = [HEAD, short(results[:1])]
    for result in results:
        for task in result.tasks.values():
            parts.append(f"## {task.name}: {task.task.question}")
            parts.append(f"On {task.origin}. {place(task)}.")
            parts.append("\n".join(metric_line(metric) for metric in task.task.metrics))
            gap = gap_note(task, [metric.name for metric in task.task.metrics])
            parts += [condition_table(task, c) for c in task.conditions.values()]
            tables = (gap, network_table(task), sweep_tables(task), size_table(task))
            parts += [part for part in tables if part]

    parts += [
        f"## {title}\n\n{told}\n\n{markdown(header, rows)}"
        for title, told, header, rows in studies()
    ]

    return "\n\n".join(parts) + "\n"


def metric_line(metric: Metric) -> str:
    """What a metric means, and which way it is better."""
    return f"- `{metric.name}`: {metric.description}; {metric.better} is better"


def place(task: TaskResults) -> str:
    """Where a task was measured."""
    e = task.found["environment"]
    commits = sorted({commit for c in task.found["conditions"] for commit in c["commits"]})
    return f"{e['processor']}, {e['cores']} cores, load {e['load']:.1f}, Python {e['python']}, commit {', '.join(commits)}"


def condition_rows(
    task: TaskResults, condition: dict[str, Any]
) -> tuple[list[str], list[list[str]]]:
    """Header and rows of every metric of a condition, with times and peak memory; failures are rows
    that say so."""
    metrics = [metric.name for metric in task.task.metrics]
    scores = task.scores(condition)
    rows = []
    for method, found in scores.items():
        means = [cell(scores, method, m, interval=m == task.headline.name) for m in metrics]
        times = [f"{found['milliseconds'][k]:.0f}" for k in ("median", "p95")]
        peak = task.methods[method]["peak_megabytes"]
        rows.append([method, *means, *times, "failed" if peak is None else f"{peak:.0f}"])

    for method, reason in condition["failures"].items():
        rows.append([method, f"failed: {reason}", *[""] * (len(metrics) + 2)])
    return ["method", *metrics, "median ms", "p95 ms", "peak MB"], rows


def condition_table(task: TaskResults, condition: dict[str, Any]) -> str:
    """A condition's table under its name."""
    told = f"{condition['samples']} samples, seed {condition['seed']}, options {condition['options'] or 'as default'}"
    return f"### {condition['condition']}\n\n{told}\n\n{markdown(*condition_rows(task, condition))}"


def network_facts(task: TaskResults) -> list[tuple[str, str]]:
    """What the network of a task costs, as names and values."""
    found = task.found.get("network")
    if not found:
        return [
            ("network", f"failed: {why}")
            for piece, why in task.found["failures"].items()
            if piece == "network"
        ]

    times = found["milliseconds"]
    facts = [
        ("input", found["sample"]),
        ("parameters", f"{found['parameters']:,}"),
        ("checkpoint", f"{found['bytes'] / 1e6:.1f} MB"),
        ("operations", f"{found['operations'] / 1e9:.2f} GFLOP"),
        ("onnxruntime", f"{times['onnxruntime']:.1f} ms"),
        (
            "rate",
            f"{found['gflops']:.0f} GFLOP/s, {found['share']:.0%} of the {found['matrix_gflops']:.0f} of a matrix product",
        ),
    ]

    if "torch" in times:
        facts.append(
            (
                "torch, eager",
                f"{times['torch']:.1f} ms: {times['torch'] / times['onnxruntime']:.1f} times as long",
            )
        )

    if "integers" in times:
        its = found["integers"]
        loss = f"{its['loss']['mean']:+.4f} [{its['loss']['low']:+.4f}, {its['loss']['high']:+.4f}]"
        speed = f"{times['integers']:.1f} ms, {its['bytes'] / 1e6:.1f} MB"
        worth = (
            "worth shipping"
            if pays(found)
            else f"not shipped: slower, or more than {LOST:.1%} lost"
        )
        facts.append(
            (
                "8-bit integers",
                f"{speed}; {its['metric']} {its['integers']:.3f}, loss {loss}; {worth}",
            )
        )

    return facts


def network_table(task: TaskResults) -> str:
    """The network against the processor, one thread."""
    facts = network_facts(task)
    rows = "\n".join(f"| {name} | {value} |" for name, value in facts)
    return f"### the network, one thread\n\n| | |\n| --- | --- |\n{rows}" if facts else ""


def sweep_tables(task: TaskResults) -> str:
    """Each sweep: a value a column, a method a row, in the headline metric and those like it."""
    parts = []
    for name, points in task.sweeps.items():
        scores = [task.scores(c) for c in points]
        for metric in task.swept:
            rows = [[m, *(cell(s, m, metric.name) for s in scores)] for m in MAIN]
            rows.append(["samples", *(str(c["samples"]) for c in points)])
            table = markdown([name, *(f"{c['value']:g}" for c in points)], rows)
            parts.append(f"{metric.title} against {AXES[name]}:\n\n{table}")

    return "\n\n".join(["### sweeps", *parts]) if parts else ""


def size_table(task: TaskResults) -> str:
    """Median milliseconds against size."""
    rows = [
        [m, *(f"{t:.0f}" for t in times), f"{slope:.2f}"] for m, _, times, slope in task.growth()
    ]
    points = task.series.get(SIZE, [])
    header = ["median ms", *(c["condition"] for c in points), "slope"]
    told = "Slope of the logarithms of time against fragments, or pixels: 1 is in proportion."
    return f"### time against size\n\n{told}\n\n{markdown(header, rows)}" if rows else ""


def studies() -> list[tuple[str, str, list[str], list[list[str]]]]:
    """Title, explanation, header and rows of each comparison that is measured by a command of its own, where it was."""
    kinds = {"peer": peer_study, "preparation": preparation_study}
    return [told(found) for name, told in kinds.items() if (found := study(name))]


def peer_study(found: dict[str, Any]) -> tuple[str, str, list[str], list[list[str]]]:
    """The network of `lines` beside a large one, trained alike."""
    rows = []
    for name, its in found["methods"].items():
        scores = [
            f"{its['scores']['metrics'][m]['mean']:.3f}"
            for m in ("psnr_db", "psnr_missing_db", "ssim")
        ]
        size = [""] * 4
        if "hours" in its:
            size = [
                f"{its['parameters']:,}",
                f"{its['bytes'] / 1e6:.1f}",
                f"{its['steps']:,}",
                f"{its['hours']:.2f}",
            ]

        rows.append([name, *scores, f"{its['scores']['milliseconds']['median']:.1f}", *size])

    header = [
        "method",
        "psnr_db",
        "psnr_missing_db",
        "ssim",
        "median ms",
        "parameters",
        "MB",
        "steps",
        "hours to its best",
    ]
    rows.append(["compact - peer", bold(found["gain"]), *[""] * (len(header) - 2)])
    told = "Trained on the same generated heads, as long as its hours tell; "
    told += f"{found['samples']} samples of {found['data']}, the task's mask."

    return "lines: a compact network beside one of the size of peers", told, header, rows


def preparation_study(found: dict[str, Any]) -> tuple[str, str, list[str], list[list[str]]]:
    """Preparing data sets beside the usual loop."""
    rows = [
        [name, f"{its['images_per_second']:.0f}", f"{its['times']:.2f}"]
        for name, its in found["ways"].items()
    ]
    told = f"{found['images']:,} images, {found['distinct']:,} of them distinct, {found['instances']:,} objects, "
    told += f"{found['rounds']} rounds; {found['processor']}."
    told += " The loop mends nothing, looks for no near-duplicates and keeps no account."

    return (
        "objects: preparing a data set",
        told,
        ["way", "images a second", "of the usual loop"],
        rows,
    )


def cards() -> str:
    """The cards inside the checkpoints."""
    parts = ["# Checkpoints\n\nWritten by `toolkit report` from the card inside each file."]
    for name, entry in index().items():
        found = shipped_checkpoint(name, entry["task"])
        parts.append(
            f"## {found.name}\n\n```json\n{json.dumps(found.card, indent=2)}\n```\n\nSHA-256 `{found.sha256}`"
        )
    return "\n\n".join(parts) + "\n"
