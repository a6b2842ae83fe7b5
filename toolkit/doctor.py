"""Check an installation: versions, processor, checkpoints, and one sample of every task."""

import os
import platform
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from threadpoolctl import threadpool_info

from hvd.toolkit import registry

PACKAGES = (
    "numpy",
    "scipy",
    "scikit-learn",
    "scikit-image",
    "opencv-python-headless",
    "hdbscan",
    "onnxruntime",
    "pillow",
    "simplejpeg",
    "tifffile",
    "imagecodecs",
)
OTHER_OPENCV = (
    "opencv-python",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)
EXTRAS = {
    "train": "torch",
    "prepare": "shapely",
    "mri": "nibabel",
    "report": "typst",
}
AGAIN = "Install the toolkit again: pip install --force-reinstall ."


class Finding(NamedTuple):
    """One thing that was checked, the result, and what to do; no remedy when all is well."""

    what: str
    result: str
    remedy: str = ""


def findings() -> Iterator[Finding]:
    """Check everything, one thing after the other."""
    yield Finding(
        "python", f"{platform.python_version()}, {platform.platform()}"
    )

    for name in PACKAGES:
        installed = installed_version(name)
        yield Finding(name, installed or "missing", "" if installed else AGAIN)

    # They share the folder cv2, and the last one installed wins.
    for name in OTHER_OPENCV:
        installed = installed_version(name)
        if installed:
            remedy = "Two packages of OpenCV overwrite each other: "
            remedy += f"pip uninstall {name}, then install opencv-python-headless again."
            yield Finding(name, installed, remedy)

    for extra, name in EXTRAS.items():
        missing = f"not installed: pip install '.[{extra}]' when needed"
        yield Finding(
            f"extra [{extra}]",
            "installed" if installed_version(name) else missing,
        )

    yield processor()
    yield writable(Path(tempfile.gettempdir()))
    yield lockable(Path(tempfile.gettempdir()))
    yield telemetry()
    yield strict_decoders()
    yield from checkpoints()
    # The last proof that all of it works together: answer a sample of each
    # task.
    for task in registry.TASKS:
        yield sample_answers(task)


def installed_version(name: str) -> str:
    """The version of a package; empty when it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def processor() -> Finding:
    """Cores, load and threads."""
    # Import all libraries that have threads of their own. One that is broken shows below.
    with suppress(Exception):
        import_module("sklearn.utils")

    cores = os.cpu_count()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    busy = ", busy with other work" if load > cores else ""

    names = {
        f"{pool['internal_api']} {pool['num_threads']}"
        for pool in threadpool_info()
    }
    otherwise = f" ({', '.join(sorted(names))} otherwise)" if names else ""
    threads = f"answers take one thread each{otherwise}"

    return Finding(
        "processor", f"{cores} cores, load {load:.1f}{busy}; {threads}"
    )


def writable(folder: Path) -> Finding:
    """Whether temporary files can be written."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"1")
    except OSError as error:
        remedy = "Set TMPDIR to a folder that can be written."
        return Finding("temporary files", f"{folder}: {error.strerror}", remedy)

    return Finding("temporary files", f"{folder} can be written")


def lockable(folder: Path) -> Finding:
    """Whether a run can lock its output folder."""
    try:
        from hvd.toolkit.locking import lock_output

        with (
            tempfile.TemporaryDirectory(dir=folder) as out,
            lock_output(Path(out), None),
        ):
            return Finding("locks", f"work in {folder}")
    except Exception as error:  # any error is the answer
        return Finding(
            "locks",
            f"{type(error).__name__}: {error}",
            "Set TMPDIR to a local disk.",
        )


def telemetry() -> Finding:
    """Whether onnxruntime can be imported, and sends no events to its maker."""
    name = "telemetry of onnxruntime"
    try:
        from hvd.toolkit.network import TELEMETRY, load_onnxruntime

        _, is_silent = load_onnxruntime()
    except Exception as error:  # any error is the answer
        return Finding(name, f"{type(error).__name__}: {error}", AGAIN)

    if not is_silent:
        return Finding(name, "may be on", TELEMETRY)
    return Finding(name, "off")


def strict_decoders() -> Finding:
    """Whether the decoders refuse pictures that are cut short."""
    try:
        accepted = [kind for kind, data in cut_pictures() if is_decoded(data)]
    except Exception as error:  # any error is the answer
        return Finding(
            "damaged pictures", f"{type(error).__name__}: {error}", AGAIN
        )

    if accepted:
        return Finding(
            "damaged pictures", f"answered: {', '.join(accepted)}", AGAIN
        )
    return Finding("damaged pictures", "refused: JPEG, PNG, TIFF")


def cut_pictures() -> Iterator[tuple[str, bytes]]:
    """Yield half a picture of each format, with a proper end after it."""
    import cv2
    import numpy as np

    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    jpeg = cv2.imencode(".jpg", picture)[1].tobytes()
    png = cv2.imencode(".png", picture)[1].tobytes()
    tiff = cv2.imencode(".tif", picture)[1].tobytes()

    yield "JPEG", jpeg[: len(jpeg) // 2] + jpeg[-2:]
    yield "PNG", png[: len(png) // 2] + png[-12:]
    middle = len(tiff) // 2
    yield "TIFF", tiff[: middle - 500] + bytes(1000) + tiff[middle + 500 :]


def is_decoded(data: bytes) -> bool:
    """Whether a picture is read without an error."""
    from hvd.toolkit.core import ToolkitError
    from hvd.toolkit.images import decode

    try:
        decode(data, "the picture")
    except ToolkitError:
        return False

    return True


def checkpoints() -> Iterator[Finding]:
    """Whether every shipped network is intact."""
    # Imported here, since one of these modules may be what is broken.
    try:
        from hvd.toolkit.core import ToolkitError
        from hvd.toolkit.network import index, shipped_checkpoint
    except Exception as error:  # any error is the answer
        yield Finding("checkpoints", f"{type(error).__name__}: {error}", AGAIN)
        return

    for name, entry in index().items():
        try:
            sha256 = shipped_checkpoint(name, entry["task"]).sha256
            yield Finding(f"checkpoint {name}", f"sound, SHA-256 {sha256}")
        except ToolkitError as error:
            yield Finding(f"checkpoint {name}", error.reason, error.remedy)


def sample_answers(name: str) -> Finding:
    """Whether the default method of a task answers a built-in sample, and how well."""
    try:
        task = registry.task(name)
        sample = next(
            iter(registry.samples(name, "builtin", task.options(), 1, 7))
        )

        start = time.perf_counter()
        prediction = registry.method(name, task.method).predict(sample.inputs)
        milliseconds = 1000 * (time.perf_counter() - start)

        # Pooled metrics need many samples to say anything.
        metric = next(metric for metric in task.metrics if not metric.pool)
        score = float(metric.score(sample.target, prediction))
        return Finding(
            name,
            f"answered in {milliseconds:.0f} ms, {metric.name} {score:.3f}",
        )
    except Exception as error:  # any error is the answer
        return Finding(name, f"{type(error).__name__}: {error}", AGAIN)
