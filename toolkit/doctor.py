"""Whether this installation works: versions, processor, checkpoints, and one sample of every task answered."""

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
OTHER_OPENCV = ("opencv-python", "opencv-contrib-python", "opencv-contrib-python-headless")
EXTRAS = {"train": "torch", "prepare": "shapely", "mri": "nibabel", "report": "typst"}
AGAIN = "Install the toolkit again: pip install --force-reinstall ."


class Finding(NamedTuple):
    """One thing that was looked at, what was found, and what to do about it; nothing when all is well."""

    what: str
    told: str
    remedy: str = ""


def findings() -> Iterator[Finding]:
    """Everything that was looked at, one after the other."""
    yield Finding("python", f"{platform.python_version()}, {platform.platform()}")
    for name in PACKAGES:
        yield Finding(
            name, installed_version(name) or "missing", "" if installed_version(name) else AGAIN
        )
    for name in OTHER_OPENCV:
        if installed_version(name):
            remedy = f"Two packages of OpenCV overwrite each other: pip uninstall {name}, then opencv-python-headless anew."
            yield Finding(name, installed_version(name), remedy)

    for extra, name in EXTRAS.items():
        yield Finding(
            f"extra [{extra}]",
            "installed"
            if installed_version(name)
            else f"not installed: pip install '.[{extra}]' when needed",
        )

    yield processor()
    yield writable(Path(tempfile.gettempdir()))
    yield lockable(Path(tempfile.gettempdir()))
    yield telemetry()
    yield strict_decoders()
    yield from checkpoints()
    for task in registry.TASKS:
        yield sample_answers(task)


def installed_version(name: str) -> str:
    """The version of a package; empty when it is not there."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def processor() -> Finding:
    """Cores, load and threads."""
    with suppress(Exception):  # what is broken shows below
        import_module("sklearn.utils")  # with all libraries that have threads of their own
    cores = os.cpu_count()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    names = ", ".join(
        sorted({f"{pool['internal_api']} {pool['num_threads']}" for pool in threadpool_info()})
    )
    pools = f" ({names} otherwise)" if names else ""
    busy = ", busy with other work" if load > cores else ""

    return Finding(
        "processor",
        f"{cores} cores, load {load:.1f}{busy}; answers take one thread each{pools}",
    )


def writable(folder: Path) -> Finding:
    """Whether files can be written for a while."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"1")
    except OSError as error:
        return Finding(
            "temporary files",
            f"{folder}: {error.strerror}",
            "Set TMPDIR to a folder that can be written.",
        )

    return Finding("temporary files", f"{folder} can be written")


def lockable(folder: Path) -> Finding:
    """Whether a run can keep others from its folder."""
    try:
        from hvd.toolkit.locking import lock_output

        with tempfile.TemporaryDirectory(dir=folder) as out, lock_output(Path(out), None):
            return Finding("locks", f"work in {folder}")
    except Exception as error:  # whatever it is, it is what was to be found out
        return Finding("locks", f"{type(error).__name__}: {error}", "Set TMPDIR to a local disk.")


def telemetry() -> Finding:
    """Whether onnxruntime sends nothing to its maker."""
    try:
        from hvd.toolkit.network import TELEMETRY, import_onnxruntime, telemetry_is_off

        if not telemetry_is_off():
            return Finding("telemetry of onnxruntime", "may be on", TELEMETRY)
        import_onnxruntime()
    except Exception as error:  # whatever it is, it is what was to be found out
        return Finding("telemetry of onnxruntime", f"{type(error).__name__}: {error}", AGAIN)

    return Finding("telemetry of onnxruntime", "off")


def strict_decoders() -> Finding:
    """Whether pictures that are cut short are refused, as nobody but the decoders can tell."""
    try:
        answered = [kind for kind, data in cut_pictures() if is_decoded(data)]
    except Exception as error:  # whatever it is, it is what was to be found out
        return Finding("damaged pictures", f"{type(error).__name__}: {error}", AGAIN)
    if answered:
        return Finding("damaged pictures", f"answered: {', '.join(answered)}", AGAIN)
    return Finding("damaged pictures", "refused: JPEG, PNG, TIFF")


def cut_pictures() -> Iterator[tuple[str, bytes]]:
    """Half a picture of each format, with what its end looks like behind it."""
    import cv2
    import numpy as np

    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    jpeg, png, tiff = (
        cv2.imencode(suffix, picture)[1].tobytes() for suffix in (".jpg", ".png", ".tif")
    )
    yield "JPEG", jpeg[: len(jpeg) // 2] + jpeg[-2:]
    yield "PNG", png[: len(png) // 2] + png[-12:]
    middle = len(tiff) // 2
    yield "TIFF", tiff[: middle - 500] + bytes(1000) + tiff[middle + 500 :]


def is_decoded(data: bytes) -> bool:
    """Whether a picture is read."""
    from hvd.toolkit.core import ToolkitError
    from hvd.toolkit.images import decode

    try:
        decode(data, "it")
    except ToolkitError:
        return False

    return True


def checkpoints() -> Iterator[Finding]:
    """Every shipped network, checked; imports here, since what they import may be what is broken."""
    try:
        from hvd.toolkit.core import ToolkitError
        from hvd.toolkit.network import index, shipped_checkpoint
    except Exception as error:  # whatever it is, it is what was to be found out
        yield Finding("checkpoints", f"{type(error).__name__}: {error}", AGAIN)
        return

    for name, entry in index().items():
        try:
            yield Finding(
                f"checkpoint {name}",
                f"sound, SHA-256 {shipped_checkpoint(name, entry['task']).sha256}",
            )
        except ToolkitError as error:
            yield Finding(f"checkpoint {name}", error.reason, error.remedy)


def sample_answers(task: str) -> Finding:
    """One built-in sample, answered by the default method and scored."""
    try:
        kind = registry.task(task)
        sample = next(iter(registry.samples(task, "builtin", kind.options(), 1, 7)))
        began = time.perf_counter()
        prediction = registry.method(task, kind.method).predict(sample.inputs)
        milliseconds = 1000 * (time.perf_counter() - began)
        metric = next(m for m in kind.metrics if not m.pool)
        score = float(metric.score(sample.target, prediction))
        return Finding(task, f"answered in {milliseconds:.0f} ms, {metric.name} {score:.3f}")
    except Exception as error:  # whatever it is, it is what was to be found out
        return Finding(task, f"{type(error).__name__}: {error}", AGAIN)
