"""Every task x every method on fixed samples: results as JSON, to be drawn by `render`."""

import json
import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from toolkit import evaluation, registry
from toolkit.core import ToolkitError
from toolkit.images import digest
from toolkit.outputs import made_folder, write_bytes

RESULTS = Path("benchmarks/results")  # in the project's folder
SEED = 7
VERSIONS = ("numpy", "scipy", "scikit-learn", "scikit-image", "opencv-python-headless", "hdbscan", "onnxruntime")

CONDITIONS = {  # by task: name, options, samples on builtin, samples on real data
    "fragments": (
        ("known sizes", {}, 30, 100),
        ("known count", {"known": "count"}, 30, 100),
        ("known nothing", {"known": "nothing"}, 30, 100),
        ("noise 20", {"noise": 20.0}, 30, 100),
        ("noise 10, turned", {"noise": 10.0, "rotate": True}, 30, 100),
        ("worn by 2", {"worn": 2}, 30, 100),
        ("8-pixel fragments", {"grid": 8, "fragment": 8}, 6, 30),
    ),
    "grains": (
        ("as it is", {}, 24, 10),
        ("brightness x 0.5", {"brightness": 0.5}, 24, 10),
        ("brightness x 1.5", {"brightness": 1.5}, 24, 10),
        ("contrast x 0.5", {"contrast": 0.5}, 24, 10),
        ("contrast x 1.5", {"contrast": 1.5}, 24, 10),
        ("gamma 0.6", {"gamma": 0.6}, 24, 10),
        ("gamma 1.7", {"gamma": 1.7}, 24, 10),
        ("light gradient 0.5", {"gradient": 0.5}, 24, 10),
        ("blur 2", {"blur": 2.0}, 24, 10),
        ("noise 15", {"noise": 15.0}, 24, 10),
    ),
    "lines": (
        ("the task's mask", {}, 30, 112),
        ("columns, 1 of 2", {"mask": "1/2@90"}, 30, 112),
        ("rows, 2 of 4", {"mask": "2/4@0"}, 30, 112),
        ("45 degrees, 2 of 4", {"mask": "2/4@45"}, 30, 112),
        ("random rows, 30 %", {"mask": "random:0.3"}, 10, 40),
    ),
    "objects": (("as they are", {}, 60, 233),),
}
TEST_PART = {
    "fragments": "fragments/test.zip",
    "grains": "grains/steel/test",
    "lines": "lines/test.npy",
    "objects": "objects/camvid/test",
}


def measured(tasks: tuple[str, ...], data: Path | None, quick: bool, folder: Path, report: Callable[[str], None]) -> dict[str, Any]:
    """Results of the tasks on `builtin`, or on a folder laid out as shared/data, also written to `folder` as NAME.json, a record a
    line; results of other tasks that are there already stay. `report` is told of each condition."""
    tasks = tasks or tuple(CONDITIONS)
    for task_name in tasks:
        if task_name not in CONDITIONS:
            raise ToolkitError(f"There is no benchmark of {task_name!r}.", f"Choose one of: {', '.join(CONDITIONS)}.", status=2)
        if data and not (data / TEST_PART[task_name]).exists():
            raise ToolkitError(
                f"There is no {data / TEST_PART[task_name]}.", "Give --data as ../shared/data is laid out.", status=5
            )
    made_folder(folder)
    name = ("real" if data else "builtin") + ("-quick" if quick else "")
    path = folder / f"{name}.json"
    earlier = read(path)["tasks"] if path.exists() else {}
    results = {"name": name, "tasks": {}}
    for task_name in tasks:
        task, methods = registry.task(task_name), registry.methods(task_name, ())
        source = data / TEST_PART[task_name] if data else None
        found = results["tasks"][task_name] = {
            "environment": environment(),
            "data": str(source) if source else "builtin",
            "sha256": digest(source) if source else None,
            "methods": {m: {"name": type(method).__name__, **asdict(method)} for m, method in methods.items()},
            "conditions": [],
        }
        for condition, options, builtin_samples, real_samples in CONDITIONS[task_name]:
            count = 2 if quick else real_samples if source else builtin_samples
            report(f"{task_name}, {condition}: {count} samples")
            drawn = registry.loaded(registry.SAMPLERS[task_name])(found["data"], task.options(**options), count, SEED)
            records = list(evaluation.evaluate(task, methods, drawn))
            described = {"condition": condition, "options": options, "samples": len(records) // len(methods), "seed": SEED}
            found["conditions"].append({**described, "records": records})
    results = rounded(results)
    every = earlier | results["tasks"]
    whole = results | {"tasks": {task_name: every[task_name] for task_name in CONDITIONS if task_name in every}}
    write_bytes(path, (json.dumps(whole).replace('{"sample"', '\n{"sample"') + "\n").encode())
    return results


def read(path: Path) -> dict[str, Any]:
    """The results in a file that `measured` wrote."""
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise ToolkitError(f"{path} is damaged: {error}.", "Run `toolkit benchmark` again.") from error


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
    return {
        "processor": next((line.split(":")[1].strip() for line in lines if "model name" in line), platform.processor()),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "threads": 1,
        "python": platform.python_version(),
        "versions": {name: version(name) for name in VERSIONS},
        "commit": commit(),
    }


def commit() -> str:
    """The commit of this source tree; empty when it is none."""
    root, git = Path(__file__).resolve().parent.parent, shutil.which("git")
    if not git or not (root / ".git").exists():
        return ""
    return subprocess.run([git, "-C", root, "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
