"""Predicting over inputs that someone else made: one record each, outputs whole or absent, inputs never touched.

Inputs are walked, not listed, and each leaves a folder that is whole, with its record: a run that was cut short goes on where it
was, and shares of a run end in the same bytes as one. Memory does not grow with their number.
"""

import hashlib
import itertools
import json
import os
import time
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

import toolkit
from toolkit import registry
from toolkit.core import DEBUG, FAULT, Method, Task, ToolkitError
from toolkit.images import SUFFIXES, digest
from toolkit.manifest import MANIFEST, Manifest, locked, share_name, shares
from toolkit.network import index
from toolkit.outputs import whole_folder, write_bytes
from toolkit.processes import pool

RECORD = "record.json"  # in every folder of results: it names the files that a later run may replace
ENDINGS = {"." + "".join(its) for suffix in SUFFIXES for its in itertools.product(*({c, c.upper()} for c in suffix[1:]))}
AHEAD = 4  # inputs for each process that are under way or waiting
KILLED = "The process that answered it was killed: most likely it needs more memory than there is."


@dataclass(frozen=True)
class Job:
    """An input, where its results go, and why it is passed over if it is."""

    path: Path
    folder: Path
    skipped: str = ""


@dataclass(frozen=True)
class Run:
    """What every input of a run is answered by; `key` tells all that answers depend on besides the input."""

    task_name: str
    method_name: str
    method: Method
    told: Any
    work: Path
    resume: bool
    key: str

    @property
    def task(self) -> Task:
        return registry.task(self.task_name)


def predicted(
    task: Task,
    name: str,
    method: Method,
    given: tuple[Path, ...],
    out: Path,
    told: Any,
    workers: int = 1,
    share: tuple[int, int] | None = None,
    resume: bool = False,
) -> Iterator[dict[str, Any]]:
    """Answer every input by the method called `name` into `out/INPUT`, a file's name without its suffix unless two have the same;
    yield its record. Folders of images are walked with their subfolders, and beside other inputs answered in a folder of their own.
    `out/manifest.jsonl` holds all records in the order of the inputs' names, written when all is done.

    With `share` (i, n) only every input whose name falls to the i-th of n shares is answered, and `merged` puts them together.
    With `resume` inputs that were answered alike before are not answered again. Raises ToolkitError with status 2 before anything
    is written when no input exists or results would meet an input, with status 4 when another run writes to `out`.
    """
    if not any(path.exists() for path in given):
        raise ToolkitError(f"No input exists: {', '.join(map(str, given))}.", "Check the paths.", status=2)
    tops = places(given, out)
    if all(job.skipped for job in jobs(task, given, tops)):
        raise ToolkitError(f"There is no input in {', '.join(map(str, given))}.", "Check the paths.", status=2)
    with locked(out, share) as work:
        claimed(out)
        run = Run(task.name, name, method, told, work, resume, circumstances(task.name, name, method, told))
        mine = (job for job in jobs(task, given, tops) if share is None or falls_to(job, share))
        manifest = Manifest(work)
        with closing(answers(run, out, mine, workers)) as records:
            for record in records:
                manifest.add({name: value for name, value in record.items() if name != "seconds"})
                yield record
        manifest.finish(out / share_name(share))
        if share is None:
            task.conclude(lambda: Manifest.read(out / MANIFEST), out)


def claimed(out: Path) -> None:
    """ToolkitError with status 4 when files lie where a run's own go that none has left: they are not to be lost."""
    try:
        first = next(Manifest.read(out / MANIFEST), None) if (out / MANIFEST).exists() else None
        ours = not (out / MANIFEST).exists() or first is None or {"task", "input", "status"} <= first.keys()
    except (ToolkitError, AttributeError, UnicodeDecodeError):
        ours = False
    if not ours or (first is None and any((out / name).exists() for name in ("summary.csv", "batches.csv", "batches.png"))):
        raise ToolkitError(f"{out} holds files that no earlier result accounts for.", "Move them, or choose another --out.", 4)


def circumstances(task: str, name: str, method: Method, told: Any) -> str:
    """SHA-256 of all that answers depend on besides the input: version, method, networks and options."""
    parameters = asdict(method)
    own = parameters.get("checkpoint")
    networks = digest(Path(own)) if own and Path(own).is_file() else index()
    options = asdict(told)
    named = {key: digest(Path(value)) for key, value in options.items() if isinstance(value, str) and os.path.isfile(value)}
    depends = [toolkit.__version__, task, name, parameters, options, named, networks]
    return hashlib.sha256(json.dumps(depends, sort_keys=True, default=str).encode()).hexdigest()


def merged(out: Path) -> Path:
    """Put the manifests of all shares in `out` together, as one run would have left them; returns the manifest's path."""
    parts = shares(out)
    with locked(out, None) as work:
        manifest = Manifest(work)
        for part in parts:
            for record in Manifest.read(part):
                manifest.add(record)
        manifest.finish(out / MANIFEST)
        first = next(Manifest.read(out / MANIFEST), None)
        if first:
            registry.task(first["task"]).conclude(lambda: Manifest.read(out / MANIFEST), out)
        for part in parts:
            part.unlink()
    return out / MANIFEST


# --- inputs and where their results go


def places(given: tuple[Path, ...], out: Path) -> list[Path]:
    """Where in `out` the results of each path that was given go: that of a single folder of images is `out` itself."""
    whole = [path.resolve() for path in given]
    stems = Counter(path.name if path.is_dir() else path.stem for path in whole)
    tops = [Path(path.name if path.is_dir() or stems[path.stem] > 1 else path.stem) for path in whole]
    for top, count in Counter(tops).items():
        if count > 1:
            raise ToolkitError(f"Two inputs would be answered in {out / top}.", "Predict them into different folders.", status=2)
    target = out.resolve()
    for path, top in zip(whole, tops, strict=True):
        folder = target / top
        if target.is_relative_to(path) or folder == path or path.is_relative_to(folder):
            raise ToolkitError(f"The results in {folder} would meet the input {path}.", "Choose another --out.", status=2)
    return tops


def jobs(task: Task, given: tuple[Path, ...], tops: list[Path]) -> Iterator[Job]:
    """Inputs as they are found, one after the other."""
    several = len(given) > 1
    for path, top in zip(given, tops, strict=True):
        for found in task.found_in(path):
            if found.path == path:
                yield Job(path, top, found.skipped)
            else:
                within = found.path.relative_to(path)
                yield Job(found.path, (top if several else Path()) / within.parent / named(found.path), found.skipped)


def named(path: Path) -> str:
    """The name of a file's results: without its suffix, unless another image or a folder beside it would or could have the same."""
    if path.stem.lower().endswith(SUFFIXES) or path.with_name(path.stem).is_dir():
        return path.name
    return path.name if any(path.with_name(path.stem + ending).exists() for ending in ENDINGS - {path.suffix}) else path.stem


def falls_to(job: Job, share: tuple[int, int]) -> bool:
    """Whether a job is one of the i-th of n shares, by its results' place alone."""
    found = hashlib.sha256(str(job.folder).encode(errors="surrogateescape")).digest()
    return int.from_bytes(found[:8], "big") % share[1] == share[0] - 1


# --- answers


def answers(run: Run, out: Path, found: Iterator[Job], workers: int) -> Iterator[dict[str, Any]]:
    """The record of every job, in their order. When a process is killed, those under way are answered again, each alone."""
    if workers == 1:
        yield from (answered(run, job, out) for job in found)
        return
    processes, under_way = pool(workers), deque()
    try:
        for job in itertools.chain(found, itertools.repeat(None)):
            first = future = None
            try:
                if job is not None:
                    under_way.append((job, None))
                    under_way[-1] = job, processes.submit(answered, run, job, out)
                    if len(under_way) < AHEAD * workers:
                        continue
                if not under_way:
                    return
                first, future = under_way.popleft()
                record = future.result()
            except BrokenProcessPool:
                held = [*([first] if first else ()), *(job for job, _ in under_way)]
                processes.shutdown()
                processes, under_way = pool(workers), deque()
                yield from (alone(run, job, out) for job in held)
            else:
                yield record
    finally:
        processes.shutdown(cancel_futures=True)


def alone(run: Run, job: Job, out: Path) -> dict[str, Any]:
    """A record from a process of its own, which may be killed."""
    with pool(1) as process:
        try:
            return process.submit(answered, run, job, out).result()
        except BrokenProcessPool:
            return unanswered(run, job, KILLED, "Give it in smaller parts.")


def answered(run: Run, job: Job, out: Path) -> dict[str, Any]:
    """Answer one input and return its record, with the seconds that it took."""
    began = time.perf_counter()
    record = recorded(run, job, out / job.folder)
    return record | {"seconds": round(time.perf_counter() - began, 3)}


def recorded(run: Run, job: Job, folder: Path) -> dict[str, Any]:
    """The record of one input, answered in `folder`; a failure that only concerns this input is told there."""
    if job.skipped:
        return {"task": run.task_name, "input": str(job.path), "status": "skipped", "outputs": [], "reason": job.skipped}
    try:
        before = state(job.path)
        sha256 = digest(job.path)
        if run.resume and (record := finished(folder, run.key, sha256)):
            return record
        record = {"task": run.task_name, "input": str(job.path), "status": "ok", "sha256": sha256, "run": run.key}
        inputs = run.task.read(job.path, run.told)
        with threadpool_limits(1), whole_folder(folder, earlier(folder), run.work) as unfinished:
            record |= run.task.write(run.method.predict(inputs), inputs, unfinished)
            record["outputs"] = [str(folder / output) for output in record["outputs"]]
            record["method"] = run.method_name
            if hasattr(run.method, "sha256"):
                record["checkpoint"] = run.method.sha256(inputs)
            if state(job.path) != before:
                raise ToolkitError(f"{job.path} changed while it was read.", "Predict it again when it is complete.")
            write_bytes(unfinished / RECORD, (json.dumps(record) + "\n").encode())
    except ToolkitError as error:
        if error.status != 1:
            raise
        return unanswered(run, job, error.reason, error.remedy)
    except OSError as error:
        return unanswered(run, job, f"{error.filename or job.path} cannot be read: {error.strerror}.", "Check its permissions.")
    except MemoryError:
        return unanswered(run, job, f"{job.path} needs more memory than there is.", "Give it in smaller parts.")
    except Exception as error:  # one input must not end the run
        if DEBUG in os.environ:
            raise
        return unanswered(run, job, f"{type(error).__name__}: {error}.", FAULT)
    return record


def unanswered(run: Run, job: Job, reason: str, remedy: str) -> dict[str, Any]:
    """The record of an input that failed."""
    told = {"task": run.task_name, "input": str(job.path), "status": "failed", "method": run.method_name}
    return told | {"outputs": [], "reason": reason, "remedy": remedy}


def state(path: Path) -> tuple[int, int]:
    """Size and time of change of an input."""
    try:
        found = path.stat()
    except OSError as error:
        raise ToolkitError(f"{path} cannot be read: {error.strerror}.", "Check the path and its permissions.") from error
    return found.st_size, found.st_mtime_ns


def finished(folder: Path, key: str, sha256: str) -> dict[str, Any] | None:
    """The record of an input that was answered alike, and whose files are all there."""
    try:
        record = json.loads((folder / RECORD).read_text())
        same = record["run"] == key and record["sha256"] == sha256
        return record if same and all(Path(output).is_file() for output in record["outputs"]) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def earlier(folder: Path) -> set[str]:
    """The names of the files that an earlier run wrote there, by its own record; none when it left no record."""
    try:
        outputs = json.loads((folder / RECORD).read_text())["outputs"]
        return {RECORD, *(Path(output).name for output in outputs)}
    except (OSError, ValueError, KeyError, TypeError):
        return set()
