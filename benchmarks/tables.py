"""Tables of results, and of the cards inside the checkpoints, in Markdown."""

import json
from collections.abc import Iterable
from typing import Any

from benchmarks.conditions import AXES, MAIN, SIZE
from benchmarks.networks import LOST, pays
from benchmarks.scores import HEADLINES, KNOWN, Results, TaskResults, study
from toolkit.network import index, shipped

NOTES = {  # what to read a task's real results against
    "grains": "Floor: `everywhere`, which marks all as boundary, scores the share of boundary. Ceiling: where one annotator drew a "
    "region twice, the two drawings agree with IoU 0.38 to 0.45 and F1 0.45 to 0.51 at 3 pixels, 0.64 to 0.73 at 5.",
}
HEAD = """# Results

Written by `toolkit report` from `benchmarks/results/*.json`: means over samples, on one thread. The same, with pictures:
[index.html](index.html); what it means: [report.pdf](report.pdf); in five minutes: [slides.pdf](slides.pdf)."""


def markdown(header: list[str], rows: Iterable[list[str]]) -> str:
    """A table whose first column is text, the others numbers."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def headline_rows(task: TaskResults) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the headline metric: a method a row, a condition a column, then deep minus baseline, paired by sample."""
    conditions = list(task.conditions.values())
    scores = [task.scores(c) for c in conditions]
    metric = task.headline.name
    rows = [[m, *(f"{s[m]['metrics'][metric]['mean']:.3f}" if m in s else "failed" for s in scores)] for m in task.methods]
    rows.append(["deep - baseline", *(bold(task.gain(c)) for c in conditions)])
    return [f"{task.name}: {HEADLINES[metric]}", *task.conditions], rows


def short(results: list[Results]) -> str:
    """For each task the headline metric of every method under every condition."""
    parts = []
    for result in results:
        for task in result.tasks.values():
            parts.append(f"On {task.origin}:\n\n{markdown(*headline_rows(task))}")
            if task.name in NOTES and task.found["sha256"] in KNOWN:
                parts.append(NOTES[task.name])
    return "\n\n".join(parts)


def bold(gain: dict[str, float] | None) -> str:
    """A difference with its interval, bold when that excludes zero."""
    if gain is None:
        return "failed"
    cell = f"{gain['mean']:+.3f} [{gain['low']:+.3f}, {gain['high']:+.3f}]"
    return f"**{cell}**" if gain["low"] > 0 or gain["high"] < 0 else cell


def report(results: list[Results]) -> str:
    """Every condition x every method x every metric, times, memory, the network against the processor, sweeps and sizes."""
    parts = [HEAD, short(results[:1])]
    for result in results:
        for task in result.tasks.values():
            parts.append(f"## {task.name}: {task.task.question}\n\nOn {task.origin}. {place(task)}.")
            parts.append("\n".join(f"- `{m.name}`: {m.description}" for m in task.task.metrics))
            parts += [condition_table(task, c) for c in task.conditions.values()]
            parts += [part for part in (network_table(task), sweep_tables(task), size_table(task)) if part]
    parts += [f"## {title}\n\n{told}\n\n{markdown(header, rows)}" for title, told, header, rows in studies()]
    return "\n\n".join(parts) + "\n"


def place(task: TaskResults) -> str:
    """Where a task was measured."""
    e = task.found["environment"]
    commits = sorted({commit for c in task.found["conditions"] for commit in c["commits"]})
    return f"{e['processor']}, {e['cores']} cores, load {e['load']:.1f}, Python {e['python']}, commit {', '.join(commits)}"


def condition_rows(task: TaskResults, condition: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of every metric of a condition, with times and peak memory; failures are rows that say so."""
    metrics, rows = [m.name for m in task.task.metrics], []
    for method, found in task.scores(condition).items():
        means = [f"{found['metrics'][m]['mean']:.3f}" for m in metrics]
        its = found["metrics"][task.headline.name]
        means[metrics.index(task.headline.name)] += f" [{its['low']:.3f}, {its['high']:.3f}]"
        peak = task.methods[method]["peak_megabytes"]
        times = [f"{found['milliseconds'][k]:.0f}" for k in ("median", "p95")]
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
        return [("network", f"failed: {why}") for piece, why in task.found["failures"].items() if piece == "network"]
    times = found["milliseconds"]
    facts = [
        ("input", found["sample"]),
        ("parameters", f"{found['parameters']:,}"),
        ("checkpoint", f"{found['bytes'] / 1e6:.1f} MB"),
        ("operations", f"{found['operations'] / 1e9:.2f} GFLOP"),
        ("onnxruntime", f"{times['onnxruntime']:.1f} ms"),
        ("rate", f"{found['gflops']:.0f} GFLOP/s, {found['share']:.0%} of the {found['matrix_gflops']:.0f} of a matrix product"),
    ]
    if "torch" in times:
        facts.append(("torch, eager", f"{times['torch']:.1f} ms: {times['torch'] / times['onnxruntime']:.1f} times as long"))
    if "integers" in times:
        its = found["integers"]
        loss = f"{its['loss']['mean']:+.4f} [{its['loss']['low']:+.4f}, {its['loss']['high']:+.4f}]"
        speed = f"{times['integers']:.1f} ms, {its['bytes'] / 1e6:.1f} MB"
        worth = "worth shipping" if pays(found) else f"not shipped: slower, or more than {LOST:.1%} lost"
        facts.append(("8-bit integers", f"{speed}; {its['metric']} {its['integers']:.3f}, loss {loss}; {worth}"))
    return facts


def network_table(task: TaskResults) -> str:
    """The network against the processor, one thread."""
    facts = network_facts(task)
    rows = "\n".join(f"| {name} | {value} |" for name, value in facts)
    return f"### the network, one thread\n\n| | |\n| --- | --- |\n{rows}" if facts else ""


def sweep_tables(task: TaskResults) -> str:
    """Each sweep: a value a column, a method a row, in the headline metric, and for micrographs in the error of diameters."""
    parts = []
    for name, points in task.sweeps.items():
        scores = [task.scores(c) for c in points]
        for metric in (task.headline.name, *(("diameter_error",) if task.name == "grains" else ())):
            rows = [[m, *(f"{s[m]['metrics'][metric]['mean']:.3f}" if m in s else "failed" for s in scores)] for m in MAIN]
            rows.append(["samples", *(str(c["samples"]) for c in points)])
            table = markdown([name, *(f"{c['value']:g}" for c in points)], rows)
            parts.append(f"{HEADLINES.get(metric, metric)} against {AXES[name]}:\n\n{table}")
    return "\n\n".join(["### sweeps", *parts]) if parts else ""


def size_table(task: TaskResults) -> str:
    """Median milliseconds against size."""
    rows = [[m, *(f"{t:.0f}" for t in times), f"{slope:.2f}"] for m, _, times, slope in task.growth()]
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
        scores = [f"{its['scores']['metrics'][m]['mean']:.3f}" for m in ("psnr_db", "psnr_missing_db", "ssim")]
        size = [""] * 4
        if "hours" in its:
            size = [f"{its['parameters']:,}", f"{its['bytes'] / 1e6:.1f}", f"{its['steps']:,}", f"{its['hours']:.2f}"]
        rows.append([name, *scores, f"{its['scores']['milliseconds']['median']:.1f}", *size])
    header = ["method", "psnr_db", "psnr_missing_db", "ssim", "median ms", "parameters", "MB", "steps", "hours to its best"]
    rows.append(["compact - peer", bold(found["gain"]), *[""] * (len(header) - 2)])
    told = "Trained on the same generated heads, as long as its hours tell; "
    told += f"{found['samples']} samples of {found['data']}, the task's mask."
    return "lines: a compact network beside one of the size of peers", told, header, rows


def preparation_study(found: dict[str, Any]) -> tuple[str, str, list[str], list[list[str]]]:
    """Preparing data sets beside the usual loop."""
    rows = [[name, f"{its['images_per_second']:.0f}", f"{its['times']:.2f}"] for name, its in found["ways"].items()]
    told = f"{found['images']:,} images, {found['distinct']:,} of them distinct, {found['instances']:,} objects, "
    told += f"{found['rounds']} rounds; {found['processor']}."
    told += " The loop mends nothing, looks for no near-duplicates and keeps no account."
    return "objects: preparing a data set", told, ["way", "images a second", "of the usual loop"], rows


def cards() -> str:
    """The cards inside the checkpoints."""
    parts = ["# Checkpoints\n\nWritten by `toolkit report` from the card inside each file."]
    for name, entry in index().items():
        found = shipped(name, entry["task"])
        parts.append(f"## {found.name}\n\n```json\n{json.dumps(found.card, indent=2)}\n```\n\nSHA-256 `{found.sha256}`")
    return "\n\n".join(parts) + "\n"
