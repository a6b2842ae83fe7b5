"""The inputs of a run, and where their results go."""

import hashlib
import itertools
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hvd.toolkit.core import InputFile, Task, ToolkitError
from hvd.toolkit.images import SUFFIXES
from hvd.toolkit.locking import LOCK, UNFINISHED
from hvd.toolkit.manifest import MANIFEST
from hvd.toolkit.outputs import RUN

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


def places(inputs: tuple[Path, ...], out: Path, task: Task) -> list[Path]:
    """Where in `out` the results of each input go: those of a single folder of images in `out` itself.

    Raises ToolkitError with status 2 when two inputs are one, or results would meet an input.
    """
    resolved = [path.resolve() for path in inputs]
    check_distinct(resolved)
    stems = Counter(path.name if is_folder(path) else path.stem for path in resolved)
    tops = []
    for path in resolved:
        name = path.name if is_folder(path) or stems[path.stem] > 1 else path.stem
        tops.append(Path(free_name(name, path, task)))

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
        # the files of a single folder that is walked are answered in `out` itself
        walked = len(resolved) == 1 and any(file.path != path for file in first_of(task, path))
        inside = path.is_relative_to(target if walked else folder)
        if target.is_relative_to(path) or folder == path or inside:
            raise ToolkitError(
                f"The results in {folder} would meet the input {path}.",
                "Choose another --out.",
                status=2,
            )

    return tops


def first_of(task: Task, path: Path) -> Iterator[InputFile]:
    """The first input that is found at a path, if any."""
    return itertools.islice(task.find_inputs(path), 1)


def check_distinct(resolved: list[Path]) -> None:
    """Raise ToolkitError with status 2 when two inputs are one file, or one lies in another."""
    paths = set(resolved)
    files: dict[tuple[int, int], Path] = {}
    for path in resolved:
        state = state_of(path)
        identity = (state.st_dev, state.st_ino) if state else None
        other = files.get(identity) or next((p for p in path.parents if p in paths), None)
        if other:
            reason = f"The inputs {path} and {other} are one, or one lies in the other."
            raise ToolkitError(reason, "Give each file once.", status=2)
        if identity:
            files[identity] = path


def state_of(path: Path) -> os.stat_result | None:
    """The state of a file; None when there is none, or it may not be looked at."""
    try:
        return path.stat()
    except OSError:
        return None


def is_folder(path: Path) -> bool:
    """Whether a path is a folder that can be seen."""
    return os.path.isdir(path)


def free_name(name: str, path: Path, task: Task) -> str:
    """A name for the results at `path` that no file of a run has."""
    if not name.strip("."):  # of a file called ..png, say
        return path.name
    if not is_taken(name, task):
        return name
    if not is_folder(path):
        return path.name if path.name != name else f"{name}_"
    longer = f"{name}_"
    while os.path.lexists(path.with_name(longer)):
        longer += "_"

    return longer


def is_taken(name: str, task: Task) -> bool:
    """Whether a file of a run has that name, or may have it while it is written."""
    name = name.lower()  # file systems may not tell upper from lower case
    shard = name.startswith("manifest-") and name.endswith(".jsonl")
    ours = {MANIFEST, RUN, *task.run_files}
    return name in ours or shard or name.startswith((LOCK, UNFINISHED))


def jobs(task: Task, inputs: tuple[Path, ...], tops: list[Path]) -> Iterator[Job]:
    """Inputs as they are found, one after the other."""
    several = len(inputs) > 1
    for path, top in zip(inputs, tops, strict=True):
        for file in task.find_inputs(path):
            if file.path == path:
                yield Job(path, top, file.skipped)
                continue
            within = file.path.relative_to(path).parent / result_name(file.path)
            if several:
                folder = top / within
            else:
                first = within.parts[0]
                beside = path / (first if len(within.parts) > 1 else file.path.name)
                folder = Path(free_name(first, beside, task), *within.parts[1:])

            yield Job(file.path, folder, file.skipped)


def result_name(path: Path) -> str:
    """The name of a file's results: without its suffix, unless another image or a folder beside it
    would or could have the same."""
    if path.stem.lower().endswith(SUFFIXES) or is_folder(path.with_name(path.stem)):
        return path.name
    others = (path.with_name(path.stem + ending) for ending in ENDINGS - {path.suffix})
    # os.path: of a name that is too long, or in a folder that is closed, there is no other
    return path.name if any(map(os.path.exists, others)) else path.stem


def falls_to(job: Job, shard: tuple[int, int]) -> bool:
    """Whether a job is one of the i-th of n shards, by its results' place alone."""
    place = hashlib.sha256(str(job.folder).encode(errors="surrogateescape")).digest()
    return int.from_bytes(place[:8], "big") % shard[1] == shard[0] - 1
