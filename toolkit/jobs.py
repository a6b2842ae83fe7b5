"""Find the inputs of a run, and decide where their results go."""

import hashlib
import itertools
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hvd.toolkit.core import Task, ToolkitError
from hvd.toolkit.images import SUFFIXES
from hvd.toolkit.locking import LOCK, UNFINISHED
from hvd.toolkit.manifest import MANIFEST
from hvd.toolkit.outputs import RUN

# All suffixes of images, in every mixture of upper and lower case.
ENDINGS = set()
for suffix in SUFFIXES:
    ENDINGS |= {
        "".join(letters)
        for letters in itertools.product(*({c, c.upper()} for c in suffix))
    }


@dataclass(frozen=True)
class Job:
    """An input, the folder for its results, and the reason for skipping it, or ""."""

    path: Path
    folder: Path
    skipped: str = ""


def places(inputs: tuple[Path, ...], out: Path, task: Task) -> list[Path]:
    """The folder in `out` where the results of each input go.

    Those of a single folder of images go to `out` itself. Raises ToolkitError with status 2 when
    two inputs are the same, or results would overwrite an input.
    """
    resolved = [path.resolve() for path in inputs]
    check_distinct(resolved)
    # scan.png and scan.tif would answer in one folder: then the suffix stays.
    stems = Counter(
        path.name if is_folder(path) else path.stem for path in resolved
    )
    tops = []
    for path in resolved:
        name = (
            path.name if is_folder(path) or stems[path.stem] > 1 else path.stem
        )
        tops.append(Path(free_name(name, path, task)))

    for top, count in Counter(tops).items():
        if count > 1:
            reason = f"Two inputs would be answered in {out / top}."
            raise ToolkitError(
                reason, "Predict them into different folders.", status=2
            )

    # Results among the inputs would be read as inputs by the next run.
    target = out.resolve()
    for path, top in zip(resolved, tops, strict=True):
        check_apart(path, target, top, is_single=len(resolved) == 1, task=task)
    return tops


def check_apart(
    path: Path,
    target: Path,
    top: Path,
    is_single: bool,
    task: Task,
) -> None:
    """Raise ToolkitError with status 2 when the results of an input could overwrite it."""
    folder = target / top

    # The files of a single folder are answered in the output folder itself.
    first_files = itertools.islice(task.find_inputs(path), 1)
    is_walked = is_single and any(file.path != path for file in first_files)
    is_inside = path.is_relative_to(target if is_walked else folder)

    if target.is_relative_to(path) or folder == path or is_inside:
        reason = f"The results in {folder} would meet the input {path}."
        raise ToolkitError(reason, "Choose another --out.", status=2)


def check_distinct(resolved: list[Path]) -> None:
    """Raise ToolkitError with status 2 when a file would be answered twice.

    That is when two inputs are one file, or one lies in another, which is a folder. Paths are
    resolved; hard links are recognised by device and inode.
    """
    paths = set(resolved)
    path_of_file: dict[tuple[int, int], Path] = {}

    for path in resolved:
        # A missing file, or one that is forbidden to look at, fails by itself
        # later.
        state = state_of(path)
        identity = (state.st_dev, state.st_ino) if state else None
        other = path_of_file.get(identity) or next(
            (p for p in path.parents if p in paths), None
        )
        if other:
            reason = f"The inputs {path} and {other} are one, or one lies in the other."
            remedy = "Give each file once, alone or in its folder."
            raise ToolkitError(reason, remedy, status=2)
        if identity:
            path_of_file[identity] = path


def state_of(path: Path) -> os.stat_result | None:
    """The state of a file; None when there is none, or it is forbidden to look."""
    try:
        return path.stat()
    except OSError:
        return None


def is_folder(path: Path) -> bool:
    """Whether a path is a folder; False where it is forbidden to look."""
    return os.path.isdir(path)


def free_name(name: str, path: Path, task: Task) -> str:
    """A name for the results of `path` that no file of a run has."""
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
    """Whether a file of a run has that name, or may have it while the run goes on."""
    name = name.lower()  # file systems may not tell upper from lower case
    is_shard = name.startswith("manifest-") and name.endswith(".jsonl")
    is_run_file = name in {MANIFEST, RUN, *task.run_files}
    return is_run_file or is_shard or name.startswith((LOCK, UNFINISHED))


def jobs(
    task: Task, inputs: tuple[Path, ...], tops: list[Path]
) -> Iterator[Job]:
    """Yield the inputs as they are found, one after the other."""
    for path, top in zip(inputs, tops, strict=True):
        for file in task.find_inputs(path):
            if file.path == path:
                folder = top
            elif len(inputs) > 1:
                folder = (
                    top
                    / file.path.relative_to(path).parent
                    / result_name(file.path)
                )
            else:
                folder = folder_in_output(path, file.path, task)
            yield Job(file.path, folder, file.skipped)


def folder_in_output(path: Path, file: Path, task: Task) -> Path:
    """The folder for a file of the only input folder, beside the files of the run."""
    within = file.relative_to(path).parent / result_name(file)
    first = within.parts[0]
    beside = path / (first if len(within.parts) > 1 else file.name)
    return Path(free_name(first, beside, task), *within.parts[1:])


def result_name(path: Path) -> str:
    """The name for the results of a file: without its suffix where that is unambiguous.

    The suffix stays when another image or a folder beside the file has the same name without it,
    or may have.
    """
    if path.stem.lower().endswith(SUFFIXES) or is_folder(
        path.with_name(path.stem)
    ):
        return path.name
    others = (
        path.with_name(path.stem + ending) for ending in ENDINGS - {path.suffix}
    )
    # os.path.exists is False for names that are too long, and in folders that are closed.
    return path.name if any(map(os.path.exists, others)) else path.stem


def falls_to(job: Job, shard: tuple[int, int]) -> bool:
    """Whether a job belongs to the i-th of n shards; the place of its results alone decides."""
    place = hashlib.sha256(
        str(job.folder).encode(errors="surrogateescape")
    ).digest()
    return int.from_bytes(place[:8], "big") % shard[1] == shard[0] - 1
