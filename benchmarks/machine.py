"""The machine that results are measured on: what it is, how fast it multiplies matrices, and what memory a method takes there.

`python -m hvd.benchmarks.machine TASK METHOD SOURCE` prints the peak memory, in megabytes, of a process that answers one sample.
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

from hvd.benchmarks.conditions import fixed
from hvd.toolkit import registry
from hvd.toolkit.doctor import PACKAGES
from hvd.toolkit.settings import one_thread

ROOT = Path(__file__).resolve().parent.parent
# of an environment, what does not change the answers or their speed on a quiet machine
PASSING = "load", "commit"
SIDE = 1024  # of the matrices that are multiplied


def environment() -> dict[str, Any]:
    """Processor, cores, load, threads, versions and commit."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return {
        "processor": next(
            (line.split(":")[1].strip() for line in lines if "model name" in line),
            platform.processor(),
        ),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "threads": 1,
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
        "commit": commit(),
    }


def lasting(environment: dict[str, Any]) -> dict[str, Any]:
    """Of an environment, what a result holds for."""
    return {name: value for name, value in environment.items() if name not in PASSING}


def commit() -> str:
    """The commit of this source tree; empty when it is none."""
    git = shutil.which("git")
    if not git or not (ROOT / ".git").exists():
        return ""
    return subprocess.run(
        [git, "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True
    ).stdout.strip()


def pinned() -> list[str]:
    """Lines that tell the threads of every library while methods are timed, and whether the machine is busy."""
    with one_thread():
        opencv = cv2.getNumThreads()
        pools = sorted(
            {f"{pool['internal_api']} {pool['num_threads']}" for pool in threadpool_info()}
        )

    load = os.getloadavg()[0]
    cores = os.cpu_count()
    lines = [f"threads: onnxruntime 1, OpenCV {opencv}, {', '.join(pools)}"]
    if load > cores:
        lines.append(
            f"load {load:.1f} on {cores} cores: other work slows this down; times will be too long"
        )

    return lines


def matrix_rate() -> float:
    """Floating-point operations a second of one product of two float32 matrices; call it on one thread, often."""
    a = np.ones((SIDE, SIDE), np.float32)
    began = time.perf_counter()
    a @ a
    return 2 * SIDE**3 / (time.perf_counter() - began)


def own_peak_megabytes() -> float:
    """Peak memory of this process; of Linux's own account, since what `getrusage` tells begins with that of the parent."""
    status = Path("/proc/self/status")
    if status.exists():
        return (
            next(
                int(line.split()[1])
                for line in status.read_text().splitlines()
                if line.startswith("VmHWM")
            )
            / 1024
        )

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        1 << 20 if sys.platform == "darwin" else 1 << 10
    )


def peak_megabytes(task: str, methods: tuple[str, ...], source: str) -> dict[str, float | None]:
    """By method: peak memory of a process of its own that makes one sample and answers it; None when that fails."""

    def peak(method: str) -> float | None:
        call = [sys.executable, "-m", "hvd.benchmarks.machine", task, method, source]
        found = subprocess.run(call, capture_output=True, text=True)
        return float(found.stdout) if found.returncode == 0 else None

    with ThreadPoolExecutor(os.cpu_count()) as several:
        return dict(zip(methods, several.map(peak, methods), strict=True))


if __name__ == "__main__":
    task_name, method_name, place = sys.argv[1:]
    sample = next(fixed(task_name)[0].samples(task_name, place, True))
    with one_thread():
        registry.method(task_name, method_name).predict(sample.inputs)
    print(own_peak_megabytes())
