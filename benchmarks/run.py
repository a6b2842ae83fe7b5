"""Every task x every method on fixed samples: results as JSON, to be drawn by `render`."""

import json
import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from toolkit import evaluation, registry
from toolkit.core import ToolkitError
from toolkit.outputs import write_bytes

RESULTS = Path("benchmarks/results")  # in the project's folder
SEED = 7
VERSIONS = ("numpy", "scipy", "scikit-learn", "scikit-image", "opencv-python-headless", "hdbscan", "onnxruntime")

# By task: condition, sample options, samples on real data (a third of it on builtin, an eighth when quick)
CONDITIONS = {
    "fragments": (
        ("known sizes", {}, 100),
        ("known count", {"known": "count"}, 100),
        ("known nothing", {"known": "nothing"}, 100),
        ("noise 20", {"noise": 20.0}, 100),
        ("noise 10, quarter turns", {"noise": 10.0, "rotate": True}, 100),
        ("2 pixels worn off", {"worn": 2}, 100),
        ("8-pixel fragments", {"grid": 8, "fragment": 8}, 16),
    ),
}
TEST_PART = {"fragments": "fragments/test.zip"}


def measured(tasks: tuple[str, ...], data: Path | None, quick: bool, report: Callable[[str], None]) -> dict[str, Any]:
    """Results of the tasks on `builtin`, or on a folder laid out as shared/data; `report` is told of each condition."""
    results = {"data": "real" if data else "builtin", "environment": environment(), "conditions": []}
    for name in tasks or CONDITIONS:
        if name not in CONDITIONS:
            raise ToolkitError(f"There is no benchmark of {name!r}.", f"Choose one of: {', '.join(CONDITIONS)}.", status=2)
        task = registry.task(name)
        methods = {m: registry.method(name, m) for m in registry.METHODS[name]}
        source = str(data / TEST_PART[name]) if data else "builtin"
        for condition, options, samples in CONDITIONS[name]:
            count = max(2, samples // 8 if quick else samples if data else samples // 3)
            report(f"{name}, {condition}: {count} samples")
            drawn = registry.loaded(registry.SAMPLES[name])(source, task.options(**options), count, SEED)
            records = list(evaluation.evaluate(task, methods, drawn))
            described = {"task": name, "condition": condition, "options": options, "samples": count, "seed": SEED}
            results["conditions"].append({**described, "records": records})
    return results


def saved(results: dict[str, Any], folder: Path) -> Path:
    """Write results as `builtin.json` or `real.json`, numbers to four decimals, a record a line."""
    path = folder / f"{results['data']}.json"
    text = json.dumps(rounded(results), indent=1)
    write_bytes(path, (text + "\n").encode())
    return path


def rounded(value: Any) -> Any:
    """Floats to four decimals, throughout."""
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    return [rounded(v) for v in value] if isinstance(value, list) else value


def environment() -> dict[str, Any]:
    """Processor, cores, load, threads, versions and commit."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    git = shutil.which("git")
    commit = subprocess.run([git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip() if git else ""
    return {
        "processor": next((line.split(":")[1].strip() for line in lines if "model name" in line), platform.processor()),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "threads": 1,
        "python": platform.python_version(),
        "versions": {name: version(name) for name in VERSIONS},
        "commit": commit,
    }
