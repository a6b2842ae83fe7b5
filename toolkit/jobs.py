"""The inputs of a run, and where their results go."""

import hashlib
import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hvd.toolkit.core import Task, ToolkitError
from hvd.toolkit.images import SUFFIXES

ENDINGS = {
    "." + "".join(letters)
    for suffix in SUFFIXES
    for letters in itertools.product(*({c, c.upper()} for c in suffix[1:]))
}


@dataclass(frozen=True)
class Job:
    """An input, where its results go, and the reason for skipping it; empty when it is not."""

    path: Path
    folder: Path
    skipped: str = ""


def places(inputs: tuple[Path, ...], out: Path) -> list[Path]:
    """Where in `out` the results of each input go: those of a single folder of images in `out` itself."""
    resolved = [path.resolve() for path in inputs]
    stems = Counter(path.name if path.is_dir() else path.stem for path in resolved)
    tops = [
        Path(path.name if path.is_dir() or stems[path.stem] > 1 else path.stem) for path in resolved
    ]
    for top, count in Counter(tops).items():
        if count > 1:
            raise ToolkitError(
                f"Two inputs would be answered in {out / top}.",
                "Predict them into different folders.",
                status=2,
            )
    target = out.resolve()
    for path, top in zip(resolved, tops, strict=True):
        folder = target / top
        if target.is_relative_to(path) or folder == path or path.is_relative_to(folder):
            raise ToolkitError(
                f"The results in {folder} would meet the input {path}.",
                "Choose another --out.",
                status=2,
            )
    return tops


def jobs(task: Task, inputs: tuple[Path, ...], tops: list[Path]) -> Iterator[Job]:
    """Inputs as they are found, one after the other."""
    several = len(inputs) > 1
    for path, top in zip(inputs, tops, strict=True):
        for file in task.find_inputs(path):
            if file.path == path:
                yield Job(path, top, file.skipped)
            else:
                within = file.path.relative_to(path)
                folder = (top if several else Path()) / within.parent / named(file.path)
                yield Job(file.path, folder, file.skipped)


def named(path: Path) -> str:
    """The name of a file's results: without its suffix, unless another image or a folder beside it would or could have the same."""
    if path.stem.lower().endswith(SUFFIXES) or path.with_name(path.stem).is_dir():
        return path.name
    return (
        path.name
        if any(path.with_name(path.stem + ending).exists() for ending in ENDINGS - {path.suffix})
        else path.stem
    )


def falls_to(job: Job, shard: tuple[int, int]) -> bool:
    """Whether a job is one of the i-th of n shards, by its results' place alone."""
    place = hashlib.sha256(str(job.folder).encode(errors="surrogateescape")).digest()
    return int.from_bytes(place[:8], "big") % shard[1] == shard[0] - 1
