"""Tables drawn from results: a pure function of the JSON files and of the cards inside the checkpoints."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.run import RESULTS
from toolkit.core import ToolkitError
from toolkit.evaluation import difference, summary
from toolkit.network import checkpoint
from toolkit.outputs import write_bytes
from toolkit.registry import METHODS

HEADLINE = {"fragments": ("ari", "ARI")}
BEGIN, END = "<!-- results: `toolkit report` writes between these markers -->", "<!-- end of results -->"
SOURCES = {
    "real": "Real photographs, never trained or chosen on (Caltech-101, centre squares of 64 x 64)",
    "builtin": "Photographs bundled with scikit-image and scikit-learn (`make benchmark`)",
}


def written(check: bool = False) -> list[Path]:
    """Write README's tables, benchmarks/REPORT.md and checkpoints/README.md; with `check` raise ToolkitError when one is stale.

    Returns the paths that changed.
    """
    if not Path("README.md").exists():
        raise ToolkitError("There is no README.md here.", "Run `toolkit report` in the project's folder.", status=2)
    results = {name: json.loads(path.read_text()) for name in SOURCES if (path := RESULTS / f"{name}.json").exists()}
    readme = Path("README.md").read_text()
    before, rest = readme.split(BEGIN)
    _, after = rest.split(END)
    texts = {
        Path("README.md"): f"{before}{BEGIN}\n{short(results)}\n{END}{after}",
        Path("benchmarks/REPORT.md"): report(results),
        Path("checkpoints/README.md"): cards(METHODS),
    }
    stale = [path for path, text in texts.items() if not path.exists() or path.read_text() != text]
    if check and stale:
        raise ToolkitError(f"Stale: {', '.join(map(str, stale))}.", "Run `toolkit report`.", status=1)
    for path in stale:
        write_bytes(path, texts[path].encode())
    return stale


def markdown(header: list[str], rows: Iterable[list[str]]) -> str:
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def short(results: dict[str, Any]) -> str:
    """By source and condition: the headline metric of the main methods, and deep minus baseline, paired."""
    parts = []
    for source, title in SOURCES.items():
        if source not in results:
            continue
        rows = []
        for found in results[source]["conditions"]:
            metric, label = HEADLINE[found["task"]]
            scores = summary(found["records"])
            gain = difference(found["records"], metric, "deep", "baseline")
            cells = [f"{scores[m]['metrics'][metric]['mean']:.3f}" for m in ("trivial", "baseline", "loops", "deep")]
            certain = gain["low"] > 0 or gain["high"] < 0
            cell = f"{gain['mean']:+.3f} [{gain['low']:+.3f}, {gain['high']:+.3f}]"
            rows.append([found["condition"], *cells, f"**{cell}**" if certain else cell, str(found["samples"])])
        header = [f"fragments, {label}", "trivial", "baseline", "loops", "deep", "deep - baseline [95 %]", "samples"]
        parts.append(f"{title}:\n\n{markdown(header, rows)}")
    return "\n\n".join(parts)


def report(results: dict[str, Any]) -> str:
    """Every condition x every method x every metric, and the milliseconds."""
    parts = ["# Results\n\nWritten by `toolkit report` from `benchmarks/results/*.json`; means over samples, one thread."]
    for source, title in SOURCES.items():
        if source not in results:
            continue
        e = results[source]["environment"]
        where = f"{e['processor']}, {e['cores']} cores, load {e['load']:.1f}, Python {e['python']}, commit {e['commit']}"
        parts.append(f"## {title}\n\n{where}.")
        for found in results[source]["conditions"]:
            scores = summary(found["records"])
            metrics = list(next(iter(scores.values()))["metrics"])
            rows = [
                [
                    name,
                    *(f"{s['metrics'][m]['mean']:.3f}" for m in metrics),
                    *(f"{s['milliseconds'][k]:.0f}" for k in ("median", "p95")),
                ]
                for name, s in scores.items()
            ]
            head = f"### {found['task']}: {found['condition']} ({found['samples']} samples, seed {found['seed']})"
            parts.append(f"{head}\n\n{markdown(['method', *metrics, 'median ms', 'p95 ms'], rows)}")
    return "\n\n".join(parts) + "\n"


def cards(tasks: Iterable[str]) -> str:
    """The cards inside the checkpoints."""
    parts = ["# Checkpoints\n\nWritten by `toolkit report` from the card inside each file."]
    for task in tasks:
        found = checkpoint(task)
        parts.append(f"## {found.name}\n\n```json\n{json.dumps(found.card, indent=2)}\n```\n\nSHA-256 `{found.sha256}`")
    return "\n\n".join(parts) + "\n"
