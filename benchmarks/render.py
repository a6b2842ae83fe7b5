"""Tables drawn from results: a pure function of the JSON files and of the cards inside the checkpoints."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.run import RESULTS, read
from toolkit import registry
from toolkit.core import ToolkitError
from toolkit.evaluation import difference, summary
from toolkit.network import index, shipped
from toolkit.outputs import write_bytes

BEGIN, END = "<!-- results: `toolkit report` writes between these markers -->", "<!-- end of results -->"
KNOWN = {  # by SHA-256 of the data
    "706ee6bf4d1628e17925b2aa01a5852c900172e0a13eecf0e47afdaa5e887d03": "2,020 Caltech-101 photographs, never trained or chosen on",
    "d725e8261e167b1725ba88f095d62d21cb3daf91b28047030cc74fcab57290bd": "10 micrographs of etched 316L steel, never trained on",
    "79e5ffd74236623ab9296b2bd4ef89f67ece2f0f35effaccd269743a8ff0f7e2": "112 slices of 14 heads, from a scanner never trained on",
    "6857d5ecdb419e0e6601342557677333ebe9beaa064a8765d24c904530b75fa7": "233 street scenes of CamVid, never trained or chosen on",
}
BUILTIN = {
    "fragments": "the photographs that scikit-image and scikit-learn bundle",
    "grains": "generated polycrystals, of the kind that the network was trained on",
    "lines": "generated heads, of the kind that the network was trained on besides real ones",
    "objects": "generated scenes, of the kind that the network was trained on",
}
HEADLINES = {"ari": "ARI", "boundary_iou": "boundary IoU", "psnr_db": "PSNR over all pixels, in dB", "iou": "IoU"}
NOTES = {  # what to read a task's real results against
    "grains": "Floor: `everywhere`, which marks all as boundary, scores the share of boundary. Ceiling: where one annotator drew a "
    "region twice, the two drawings agree with IoU 0.38 to 0.45 and F1 0.45 to 0.51 at 3 pixels, 0.64 to 0.73 at 5.",
}


def written(check: bool = False) -> list[Path]:
    """Write README's tables, of real data when there are some, benchmarks/REPORT.md and checkpoints/README.md; with `check` raise
    ToolkitError when one is stale.

    Returns the paths that changed.
    """
    readme = Path("README.md").read_text() if Path("README.md").exists() else ""
    if BEGIN not in readme or END not in readme.split(BEGIN)[1]:
        raise ToolkitError("There is no README.md with markers for results here.", "Run this in the project's folder.", status=2)
    results = [read(path) for name in ("real", "builtin") if (path := RESULTS / f"{name}.json").exists()]
    before, rest = readme.split(BEGIN)
    texts = {
        Path("README.md"): f"{before}{BEGIN}\n{short(results[:1])}\n{END}{rest.split(END)[1]}",
        Path("benchmarks/REPORT.md"): report(results),
        Path("checkpoints/README.md"): cards(),
    }
    stale = [path for path, text in texts.items() if not path.exists() or path.read_text() != text]
    if check and stale:
        raise ToolkitError(f"Stale: {', '.join(map(str, stale))}.", "Run `toolkit report`.", status=1)
    for path in stale:
        write_bytes(path, texts[path].encode())
    return stale


def markdown(header: list[str], rows: Iterable[list[str]]) -> str:
    """A table whose first column is text, the others numbers."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def origin(task: str, found: dict[str, Any]) -> str:
    """What the samples of a task were made from."""
    if found["data"] == "builtin":
        return BUILTIN[task]
    return KNOWN.get(found["sha256"], f"the data at {found['data']}")


def short(results: list[dict[str, Any]]) -> str:
    """For each task the headline metric, a method a row and a condition a column, and deep minus baseline, paired by sample; bold
    where its interval excludes zero."""
    parts = []
    for result in results:
        for task, found in result["tasks"].items():
            metrics = registry.task(task).metrics
            metric = metrics[0]
            scores = [summary(c["records"], metrics) for c in found["conditions"]]
            rows = [[name, *(f"{s[name]['metrics'][metric.name]['mean']:.3f}" for s in scores)] for name in found["methods"]]
            gains = [difference(c["records"], metric, "deep", "baseline") for c in found["conditions"]]
            rows.append(["deep - baseline", *map(bold, gains)])
            rows.append(["samples", *(str(c["samples"]) for c in found["conditions"])])
            header = [f"{task}: {HEADLINES[metric.name]}", *(c["condition"] for c in found["conditions"])]
            parts.append(f"On {origin(task, found)}:\n\n{markdown(header, rows)}")
            if task in NOTES and found["sha256"]:
                parts.append(NOTES[task])
    return "\n\n".join(parts)


def bold(gain: dict[str, float]) -> str:
    """A difference with its interval, bold when that excludes zero."""
    cell = f"{gain['mean']:+.3f} [{gain['low']:+.3f}, {gain['high']:+.3f}]"
    return f"**{cell}**" if gain["low"] > 0 or gain["high"] < 0 else cell


def report(results: list[dict[str, Any]]) -> str:
    """Every condition x every method x every metric, and the milliseconds."""
    head = "# Results\n\nWritten by `toolkit report` from `benchmarks/results/*.json`: means over samples, on one thread."
    parts = [head, short(results)]
    for result in results:
        for name, found in result["tasks"].items():
            e = found["environment"]
            where = f"{e['processor']}, {e['cores']} cores, load {e['load']:.1f}, Python {e['python']}, commit {e['commit']}"
            task = registry.task(name)
            metrics = [m.name for m in task.metrics]
            parts.append(f"## {name}: {task.question}\n\nOn {origin(name, found)}. {where}.")
            parts.append("\n".join(f"- `{m.name}`: {m.description}" for m in task.metrics))
            for c in found["conditions"]:
                rows = []
                for method, s in summary(c["records"], task.metrics).items():
                    means = [f"{s['metrics'][m]['mean']:.3f}" for m in metrics]
                    rows.append([method, *means, *(f"{s['milliseconds'][k]:.0f}" for k in ("median", "p95"))])
                head = f"### {c['condition']}\n\n{c['samples']} samples, seed {c['seed']}, options {c['options'] or 'as default'}"
                parts.append(f"{head}\n\n{markdown(['method', *metrics, 'median ms', 'p95 ms'], rows)}")
    return "\n\n".join(parts) + "\n"


def cards() -> str:
    """The cards inside the checkpoints."""
    parts = ["# Checkpoints\n\nWritten by `toolkit report` from the card inside each file."]
    for name, entry in index().items():
        found = shipped(name, entry["task"])
        parts.append(f"## {found.name}\n\n```json\n{json.dumps(found.card, indent=2)}\n```\n\nSHA-256 `{found.sha256}`")
    return "\n\n".join(parts) + "\n"
