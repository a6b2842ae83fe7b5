"""Write the results, and the cards in the checkpoints, as tables in Markdown."""

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from hvd.benchmarks.conditions import AXES, MAIN, SIZE
from hvd.benchmarks.networks import MOST_LOST, is_worth_shipping
from hvd.benchmarks.scores import Results, TaskResults, study
from hvd.toolkit.core import Metric
from hvd.toolkit.network import index, shipped_checkpoint

GAP = "-"  # stands for what was not measured
HEAD = """# Results

Written by `toolkit report` from `benchmarks/results/*.json`: means over samples, on one thread.
What it means: [report.pdf](report.pdf); in five minutes: [slides.pdf](slides.pdf). `make report`
also draws the same with pictures, `benchmarks/index.html`."""


def markdown(
    header: list[str],
    rows: Iterable[list[str]],
    texts: tuple[int, ...] = (0,),
) -> str:
    """A table; columns with numbers are aligned to the right, `texts` to the left."""
    rule = ["---" if k in texts else "---:" for k in range(len(header))]
    return "\n".join(
        f"| {' | '.join(line)} |" for line in [header, rule, *rows]
    )


def cell(
    scores: dict[str, Any],
    method: str,
    metric: str,
    interval: bool = False,
) -> str:
    """The mean of a metric, with its interval if asked for.

    "-" when it was not measured, "failed" when the method failed.
    """
    if method not in scores:
        return "failed"
    mean = scores[method]["metrics"][metric]
    if mean is None:
        return GAP

    text = f"{mean['mean']:.3f}"
    if interval and mean["low"] is not None:
        text += f" [{mean['low']:.3f}, {mean['high']:.3f}]"
    return text


# --- the headline metric


def headline(results: list[Results]) -> str:
    """One row for each task: `baseline` and `deep` under its first condition, and their gap."""
    rows = []
    for result in results:
        for task in result.tasks.values():
            condition = next(iter(task.conditions.values()))
            scores = task.scores(condition)
            means = [
                cell(scores, method, task.headline.name) for method in MAIN
            ]
            name = f"{task.name}: {task.headline.title}"
            rows.append([name, *means, gain_cell(task, condition), task.origin])

    header = ["task", *MAIN, "deep - baseline [95 %]", "measured on"]
    return markdown(header, rows, texts=(0, len(header) - 1))


def short(results: list[Results]) -> str:
    """For each task, the headline metric of every method under every condition."""
    parts = []
    for result in results:
        for task in result.tasks.values():
            parts.append(
                f"On {task.origin}:\n\n{markdown(*headline_rows(task))}"
            )
            notes = task.note, gap_note(task, [task.headline.name])
            parts += [note for note in notes if note]
    return "\n\n".join(parts)


def headline_rows(task: TaskResults) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the headline metric: a row for each method, a column for each condition.

    The last row is `deep` minus `baseline`, paired by sample.
    """
    conditions = list(task.conditions.values())
    metric = task.headline.name
    rows = []
    for method in task.methods:
        rows.append(
            [
                method,
                *(cell(task.scores(c), method, metric) for c in conditions),
            ]
        )
    rows.append(["deep - baseline", *(gain_cell(task, c) for c in conditions)])
    return [f"{task.name}: {task.headline.title}", *task.conditions], rows


def gain_cell(task: TaskResults, condition: dict[str, Any]) -> str:
    """`deep` minus `baseline` in a condition."""
    gain = task.gain(condition)
    if gain is None:
        return (
            "failed"
            if {"deep", "baseline"} & condition["failures"].keys()
            else GAP
        )
    return bold(gain)


def bold(gain: dict[str, float]) -> str:
    """A difference with its interval, in bold when the interval excludes zero."""
    if gain["low"] is None:
        return f"{gain['mean']:+.3f}"
    text = f"{gain['mean']:+.3f} [{gain['low']:+.3f}, {gain['high']:+.3f}]"
    return f"**{text}**" if gain["low"] > 0 or gain["high"] < 0 else text


def gap_note(task: TaskResults, metrics: list[str]) -> str:
    """The command that fills the gaps of some metrics; empty without gaps."""
    missing = []
    for metric in metrics:
        for condition in task.content["conditions"]:
            if condition["series"] == SIZE:
                continue
            scores = task.scores(condition).values()
            if any(score["metrics"][metric] is None for score in scores):
                missing.append(metric)
                break

    if not missing:
        return ""
    return f"{GAP}: {', '.join(missing)} was not measured yet: `{task.command}` does."


# --- the report


def report(results: list[Results]) -> str:
    """REPORT.md: every condition, method and metric, times, memory, networks, sweeps and sizes."""
    parts = [HEAD, short(results[:1])]
    for result in results:
        for task in result.tasks.values():
            parts += task_parts(task)

    for section in studies():
        table = markdown(section.header, section.rows)
        parts.append(f"## {section.title}\n\n{section.explanation}\n\n{table}")

    return "\n\n".join(parts) + "\n"


def task_parts(task: TaskResults) -> list[str]:
    """The sections of the report on one task."""
    metrics = task.task.metrics
    parts = [
        f"## {task.name}: {task.task.question}",
        f"On {task.origin}. {place(task)}.",
        "\n".join(metric_line(metric) for metric in metrics),
    ]
    for condition in task.conditions.values():
        parts.append(condition_table(task, condition))

    gap = gap_note(task, [metric.name for metric in metrics])
    for part in (
        gap,
        network_table(task),
        sweep_tables(task),
        size_table(task),
    ):
        if part:
            parts.append(part)
    return parts


def metric_line(metric: Metric) -> str:
    """What a metric means, and which way is better."""
    return f"- `{metric.name}`: {metric.description}; {metric.better} is better"


def place(task: TaskResults) -> str:
    """Where a task was measured."""
    facts = task.content["environment"]
    commits = set()
    for condition in task.content["conditions"]:
        commits |= set(condition["commits"])

    machine = f"{facts['processor']}, {facts['cores']} cores, load {facts['load']:.1f}"
    return f"{machine}, Python {facts['python']}, commit {', '.join(sorted(commits))}"


def condition_table(task: TaskResults, condition: dict[str, Any]) -> str:
    """The table of a condition under its name."""
    options = condition["options"] or "as default"
    facts = f"{condition['samples']} samples, seed {condition['seed']}, options {options}"
    table = markdown(*condition_rows(task, condition))
    return f"### {condition['condition']}\n\n{facts}\n\n{table}"


def condition_rows(
    task: TaskResults, condition: dict[str, Any]
) -> tuple[list[str], list[list[str]]]:
    """Header and rows of every metric of a condition, with times and peak memory.

    Methods that failed have rows that say so.
    """
    metrics = [metric.name for metric in task.task.metrics]
    scores = task.scores(condition)
    rows = []
    for method in scores:
        row = [method]
        for metric in metrics:
            row.append(
                cell(
                    scores,
                    method,
                    metric,
                    interval=metric == task.headline.name,
                )
            )
        milliseconds = scores[method]["milliseconds"]
        row += [f"{milliseconds['median']:.0f}", f"{milliseconds['p95']:.0f}"]
        peak = task.methods[method]["peak_megabytes"]
        rows.append([*row, "failed" if peak is None else f"{peak:.0f}"])

    for method, reason in condition["failures"].items():
        rows.append([method, f"failed: {reason}", *[""] * (len(metrics) + 2)])
    return ["method", *metrics, "median ms", "p95 ms", "peak MB"], rows


def network_table(task: TaskResults) -> str:
    """What the network of a task costs, on one thread."""
    facts = network_facts(task)
    rows = "\n".join(f"| {name} | {value} |" for name, value in facts)
    return (
        f"### the network, one thread\n\n| | |\n| --- | --- |\n{rows}"
        if facts
        else ""
    )


def network_facts(task: TaskResults) -> list[tuple[str, str]]:
    """What the network of a task costs, as names and values."""
    cost = task.content.get("network")
    if not cost:
        failure = task.content["failures"].get("network")
        return [("network", f"failed: {failure}")] if failure else []

    times = cost["milliseconds"]
    product = f"{cost['share']:.0%} of the {cost['matrix_gflops']:.0f} of a matrix product"
    facts = [
        ("input", cost["sample"]),
        ("parameters", f"{cost['parameters']:,}"),
        ("checkpoint", f"{cost['bytes'] / 1e6:.1f} MB"),
        ("operations", f"{cost['operations'] / 1e9:.2f} GFLOP"),
        ("onnxruntime", f"{times['onnxruntime']:.1f} ms"),
        ("rate", f"{cost['gflops']:.0f} GFLOP/s, {product}"),
    ]
    if "torch" in times:
        ratio = f"{times['torch'] / times['onnxruntime']:.1f} times as long"
        facts.append(("torch, eager", f"{times['torch']:.1f} ms: {ratio}"))
    if "integers" in times:
        facts.append(("8-bit integers", integer_fact(cost)))

    return facts


def integer_fact(cost: dict[str, Any]) -> str:
    """What 8-bit integers cost and lose."""
    integers = cost["integers"]
    loss = integers["loss"]
    speed = f"{cost['milliseconds']['integers']:.1f} ms, {integers['bytes'] / 1e6:.1f} MB"
    score = f"{integers['metric']} {integers['integers']:.3f}"
    lost = f"loss {loss['mean']:+.4f} [{loss['low']:+.4f}, {loss['high']:+.4f}]"
    worth = f"not shipped: slower, or more than {MOST_LOST:.1%} lost"
    if is_worth_shipping(cost):
        worth = "worth shipping"
    return f"{speed}; {score}, {lost}; {worth}"


def sweep_tables(task: TaskResults) -> str:
    """Each sweep: a column for each value, a row for each method."""
    parts = []
    for name, points in task.sweeps.items():
        scores = [task.scores(condition) for condition in points]
        header = [name, *(f"{condition['value']:g}" for condition in points)]
        for metric in task.swept_metrics:
            rows = [
                [method, *(cell(s, method, metric.name) for s in scores)]
                for method in MAIN
            ]
            rows.append(
                [
                    "samples",
                    *(str(condition["samples"]) for condition in points),
                ]
            )
            table = markdown(header, rows)
            parts.append(f"{metric.title} against {AXES[name]}:\n\n{table}")

    return "\n\n".join(["### sweeps", *parts]) if parts else ""


def size_table(task: TaskResults) -> str:
    """Median milliseconds against size."""
    rows = []
    for method, _, times, slope in task.growth():
        rows.append(
            [method, *(f"{time:.0f}" for time in times), f"{slope:.2f}"]
        )
    if not rows:
        return ""

    names = [condition["condition"] for condition in task.series[SIZE]]
    table = markdown(["median ms", *names, "slope"], rows)
    note = "Slope of the logarithms of time against fragments, or pixels: 1 is in proportion."
    return f"### time against size\n\n{note}\n\n{table}"


# --- comparisons that have a command of their own


class Section(NamedTuple):
    """A comparison in the report."""

    title: str
    explanation: str
    header: list[str]
    rows: list[list[str]]


def studies() -> list[Section]:
    """The comparisons that were measured."""
    sections = []
    for name, describe in (
        ("peer", peer_study),
        ("preparation", preparation_study),
    ):
        result = study(name)
        if result:
            sections.append(describe(result))
    return sections


def peer_study(result: dict[str, Any]) -> Section:
    """The network of `lines` beside a large one that was trained alike."""
    metrics = "psnr_db", "psnr_missing_db", "ssim"
    header = [
        "method",
        *metrics,
        "median ms",
        "parameters",
        "MB",
        "steps",
        "hours to its best",
    ]
    rows = []
    for name, facts in result["methods"].items():
        scores = facts["scores"]
        row = [
            name,
            *(f"{scores['metrics'][metric]['mean']:.3f}" for metric in metrics),
        ]
        row.append(f"{scores['milliseconds']['median']:.1f}")
        if "hours" in facts:
            row += [f"{facts['parameters']:,}", f"{facts['bytes'] / 1e6:.1f}"]
            row += [f"{facts['steps']:,}", f"{facts['hours']:.2f}"]
        rows.append(row + [""] * (len(header) - len(row)))

    gain = ["compact - peer", bold(result["gain"])]
    rows.append(gain + [""] * (len(header) - len(gain)))
    explanation = (
        "Trained on the same generated heads, for the hours in the table; "
    )
    explanation += (
        f"{result['samples']} samples of {result['data']}, the task's mask."
    )
    title = "lines: a compact network beside one of the size of peers"
    return Section(title, explanation, header, rows)


def preparation_study(result: dict[str, Any]) -> Section:
    """Preparing data sets beside the usual loop."""
    rows = []
    for name, way in result["ways"].items():
        rows.append(
            [name, f"{way['images_per_second']:.0f}", f"{way['times']:.2f}"]
        )

    explanation = f"{result['images']:,} images, {result['distinct']:,} of them distinct, "
    explanation += (
        f"{result['instances']:,} objects, {result['rounds']} rounds; "
    )
    explanation += f"{result['processor']}. The loop mends nothing, looks for no near-duplicates "
    explanation += "and keeps no account."
    header = ["way", "images a second", "of the usual loop"]
    return Section("objects: preparing a data set", explanation, header, rows)


# --- the checkpoints


def cards() -> str:
    """The cards inside the checkpoints."""
    parts = [
        "# Checkpoints\n\nWritten by `toolkit report` from the card inside each file."
    ]
    for name, entry in index().items():
        network = shipped_checkpoint(name, entry["task"])
        card = f"```json\n{json.dumps(network.card, indent=2)}\n```"
        parts.append(
            f"## {network.name}\n\n{card}\n\nSHA-256 `{network.sha256}`"
        )
    return "\n\n".join(parts) + "\n"
