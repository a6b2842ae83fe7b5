"""The machine that results are measured on: what it is, how fast, and how much memory is used.

`python -m hvd.benchmarks.machine TASK METHOD SOURCE` prints the peak memory, in megabytes, of a
process that answers one sample.
"""

import os
import platform
import resource
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from threadpoolctl import threadpool_info

from hvd.benchmarks.conditions import fixed_conditions
from hvd.toolkit import registry
from hvd.toolkit.doctor import PACKAGES
from hvd.toolkit.settings import one_thread

ROOT = Path(__file__).resolve().parent.parent

# Facts that change neither the answers nor their speed on a quiet machine.
PASSING = "load", "commit"
SIDE = 1024  # of the matrices that are multiplied


def environment() -> dict[str, Any]:
    """Processor, cores, load, threads, versions and commit."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "threads": 1,
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
        "commit": commit(),
    }


def processor() -> str:
    """The name of the processor."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if "model name" in line:
                return line.split(":")[1].strip()
    return platform.processor()


def lasting_facts(environment: dict[str, Any]) -> dict[str, Any]:
    """The facts about an environment that a result depends on."""
    return {
        name: value
        for name, value in environment.items()
        if name not in PASSING
    }


def commit() -> str:
    """The commit of this source tree; empty when it is no repository."""
    git = shutil.which("git")
    if not git or not (ROOT / ".git").exists():
        return ""
    return subprocess.run(
        [git, "-C", ROOT, "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
    ).stdout.strip()


def thread_report() -> list[str]:
    """Lines that say on how many threads methods are timed, and whether the machine is busy."""
    with one_thread():
        opencv = cv2.getNumThreads()
        pools = {
            f"{pool['internal_api']} {pool['num_threads']}"
            for pool in threadpool_info()
        }
    lines = [
        f"threads: onnxruntime 1, OpenCV {opencv}, {', '.join(sorted(pools))}"
    ]

    # Times taken on a busy machine are too long, whatever is measured.
    load = os.getloadavg()[0]
    cores = os.cpu_count()
    if load > cores:
        busy = f"load {load:.1f} on {cores} cores"
        lines.append(
            f"{busy}: other work slows this down; times will be too long"
        )

    return lines


def matrix_rate() -> float:
    """Floating-point operations per second of one product of two float32 matrices.

    Call it on one thread, and often.
    """
    a = np.ones((SIDE, SIDE), np.float32)
    start = time.perf_counter()
    a @ a
    return 2 * SIDE**3 / (time.perf_counter() - start)


def own_peak_megabytes() -> float:
    """Peak memory of this process."""
    # On Linux, the result of getrusage begins with the peak of the parent.
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def peak_megabytes(
    task: str, methods: tuple[str, ...], source: str
) -> dict[str, float | None]:
    """For each method, the peak memory of a process that makes one sample and answers it.

    None when that fails.
    """

    def peak(method: str) -> float | None:
        call = [
            sys.executable,
            "-m",
            "hvd.benchmarks.machine",
            task,
            method,
            source,
        ]
        done = subprocess.run(call, capture_output=True, text=True)
        return float(done.stdout) if done.returncode == 0 else None

    with ThreadPoolExecutor(os.cpu_count()) as several:
        return dict(zip(methods, several.map(peak, methods), strict=True))


if __name__ == "__main__":
    task_name, method_name, place = sys.argv[1:]
    sample = next(
        fixed_conditions(task_name)[0].samples(task_name, place, True)
    )
    with one_thread():
        registry.method(task_name, method_name).predict(sample.inputs)
    print(own_peak_megabytes())
