"""Predicting over inputs that someone else made: one record each, outputs whole or absent.

Inputs are walked, not listed, and each leaves a folder that is whole, with its record: a run that
was cut short goes on where it was, and shards of a run end in the same bytes as one. Memory does
not grow with their number, and no input is ever changed.
"""

import hashlib
import itertools
import json
import os
import sys
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, redirect_stdout
from dataclasses import asdict, dataclass, is_dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import hvd
from hvd.toolkit import registry
from hvd.toolkit.asking import answer, is_ours
from hvd.toolkit.core import FAULT, Method, Task, ToolkitError, debugging
from hvd.toolkit.images import digest
from hvd.toolkit.jobs import Job, falls_to, jobs, places
from hvd.toolkit.manifest import MANIFEST, Manifest, locked, shard_manifests, shard_name
from hvd.toolkit.network import NetworkMethod, index
from hvd.toolkit.outputs import check_replaceable, replace_files, whole_folder, write_bytes
from hvd.toolkit.processes import pool
from hvd.toolkit.settings import one_thread

# in every folder of results: it names the files that a later run may replace
RECORD = "record.json"
FORMAT = 2  # of records: those of an earlier one are not taken as they are
AHEAD = 4  # inputs for each process that are under way or waiting
KILLED = "The process that answered it was killed: most likely it needs more memory than there is."


@dataclass(frozen=True)
class Run:
    """What every input of a run is answered by; `key` names all that answers depend on besides."""

    task_name: str
    method_name: str
    method: Method
    checkpoint: str | None
    options: Any
    work: Path
    resume: bool
    key: str

    @property
    def task(self) -> Task:
        return registry.task(self.task_name)

    def __getstate__(self) -> dict[str, Any]:
        state = dict(vars(self))
        if is_file(self.method_name):
            del state["method"]  # of a class that workers cannot import: they load it from the file
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if "method" not in state:
            names = self.task_name, self.method_name, self.checkpoint
            vars(self)["method"] = load_method(self.key, *names)


def is_file(method_name: str) -> bool:
    """Whether a method is one of a user's own, FILE.py:Class."""
    return method_name.rpartition(":")[0].endswith(".py")


@lru_cache(maxsize=2)
def load_method(key: str, task: str, name: str, checkpoint: str | None) -> Method:
    """A user's own method, loaded once in every process; `key` changes with its code."""
    return registry.method(task, name, checkpoint)


def predicted(
    task: Task,
    name: str,
    method: Method,
    inputs: tuple[Path, ...],
    out: Path,
    options: Any,
    workers: int = 1,
    shard: tuple[int, int] | None = None,
    resume: bool = False,
) -> Iterator[dict[str, Any]]:
    """Answer every input by the method called `name` into `out/INPUT`; yield its record.

    A folder of results has the name of its input, without the suffix unless two would have the
    same. Folders of images are walked with their subfolders, and beside other inputs answered in a
    folder of their own. `out/manifest.jsonl` holds all records in the order of the inputs' names,
    written when all is done.

    With `shard` (i, n) only every input whose name falls to the i-th of n shards is answered, and
    `merged` puts them together. With `resume` inputs that were answered alike before are not
    answered again. Raises ToolkitError with status 2 before anything is written when no input
    exists or results would meet an input, with status 4 when another run writes to `out` or files
    lie there that no run has written.
    """
    if not any(path.exists() for path in inputs):
        raise ToolkitError(
            f"No input exists: {', '.join(map(str, inputs))}.", "Check the paths.", status=2
        )
    tops = places(inputs, out)
    if all(job.skipped for job in jobs(task, inputs, tops)):
        raise ToolkitError(
            f"There is no input in {', '.join(map(str, inputs))}.", "Check the paths.", status=2
        )

    with locked(out, shard) as work:
        check_manifest(out)
        check_replaceable(out, task.run_files)
        key = circumstances(task.name, name, method, options)
        checkpoint = method.checkpoint if isinstance(method, NetworkMethod) else None
        run = Run(task.name, name, method, checkpoint, options, work, resume, key)
        mine = (job for job in jobs(task, inputs, tops) if shard is None or falls_to(job, shard))

        manifest = Manifest(work)
        with closing(answers(run, out, mine, workers)) as records:
            for record in records:
                manifest.add({k: value for k, value in record.items() if k != "seconds"})
                yield record
        manifest.finish(out / shard_name(shard))
        if shard is None:
            conclude(task, out, work)


def check_manifest(out: Path) -> None:
    """Refuse to overwrite a manifest that we did not write: ToolkitError with status 4."""
    path = out / MANIFEST
    if not path.exists():
        return
    try:
        first = next(Manifest.read(path), None)
        ours = first is None or {"task", "input", "status"} <= first.keys()
    except (ToolkitError, AttributeError, UnicodeDecodeError):
        ours = False
    if not ours:
        reason = f"{path} is not the manifest of a run."
        raise ToolkitError(reason, "Move it, or choose another --out.", 4)


def conclude(task: Task, out: Path, work: Path) -> None:
    """Write what a task says of a whole run, in the place of what an earlier run said."""
    folder = work / "run"
    folder.mkdir()
    names = task.conclude(lambda: Manifest.read(out / MANIFEST), folder)
    replace_files(out, {name: (folder / name).read_bytes() for name in names})


def circumstances(task: str, name: str, method: Method, options: Any) -> str:
    """SHA-256 of all that answers depend on besides the input: version, method, networks, options."""
    parameters = asdict(method) if is_dataclass(method) else {}
    own = parameters.get("checkpoint")
    networks = digest(Path(own)) if own and Path(own).is_file() else index()
    values = options.as_dict()
    files = {
        key: digest(Path(value))
        for key, value in values.items()
        if isinstance(value, str) and os.path.isfile(value)
    }
    depends = [hvd.__version__, FORMAT, task, name, parameters, values, files, networks]
    code = Path(sys.modules[type(method).__module__].__file__)
    if is_ours(method):
        # handcrafted methods keep what they have learned beside their code
        depends.append({path.name: digest(path) for path in code.parent.glob("*.npz")})
    else:
        depends.append(digest(code))
    return hashlib.sha256(json.dumps(depends, sort_keys=True, default=str).encode()).hexdigest()


def merged(out: Path) -> Path:
    """Put the manifests of all shards in `out` together, as one run would have left them.

    Returns the manifest's path; raises ToolkitError with status 5 when the shards are of several
    runs.
    """
    parts = shard_manifests(out)
    with locked(out, None) as work:
        manifest = Manifest(work)
        runs: dict[tuple[str, str], Path] = {}
        for part in parts:
            for record in Manifest.read(part):
                manifest.add(record)
                runs.setdefault((record["task"], record.get("run", "")), part)
        check_same_run(runs)
        manifest.finish(out / MANIFEST)
        first = next(Manifest.read(out / MANIFEST), None)
        if first:
            conclude(registry.task(first["task"]), out, work)
        for part in parts:
            part.unlink()
    return out / MANIFEST


def check_same_run(runs: dict[tuple[str, str], Path]) -> None:
    """Refuse shards that were answered otherwise than others: ToolkitError with status 5.

    `runs` has the task and the key of every record's run, empty when it was not answered, and a
    manifest where it stands.
    """
    tasks = {task: part.name for (task, _), part in runs.items()}
    keys = {key: part.name for (_, key), part in runs.items() if key}
    for kinds in (tasks, keys):
        if len(kinds) > 1:
            reason = f"{' and '.join([*kinds.values()][:2])} are shards of different runs."
            remedy = "Run all shards with one version, method and network, and the same options."
            raise ToolkitError(reason, remedy, status=5)


def answers(run: Run, out: Path, todo: Iterator[Job], workers: int) -> Iterator[dict[str, Any]]:
    """The record of every job, in their order. When a process is killed, those under way are answered again, each alone."""
    if workers == 1:
        yield from (answered(run, job, out) for job in todo)
        return
    processes, under_way = pool(workers), deque()
    try:
        for job in itertools.chain(todo, itertools.repeat(None)):
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
    """The record of one input, answered in `folder`, or of its failure when only it is concerned."""
    if job.skipped:
        return {
            "task": run.task_name,
            "input": str(job.path),
            "status": "skipped",
            "outputs": [],
            "reason": job.skipped,
        }
    try:
        return record_of(run, job, folder)
    except ToolkitError as error:
        if error.status != 1:
            raise
        return unanswered(run, job, error.reason, error.remedy)
    except OSError as error:
        reason = f"{error.filename or job.path} cannot be read: {error.strerror}."
        return unanswered(run, job, reason, "Check its permissions.")
    except MemoryError:
        reason = f"{job.path} needs more memory than there is."
        return unanswered(run, job, reason, "Give it in smaller parts.")
    except Exception as error:  # one input must not end the run
        if debugging():
            raise
        return unanswered(run, job, f"{type(error).__name__}: {error}.", FAULT)


def record_of(run: Run, job: Job, folder: Path) -> dict[str, Any]:
    """Answer one input into `folder`, unless that was done before, and return its record."""
    before = state(job.path)
    sha256 = digest(job.path)
    if run.resume and (record := finished(folder, run.key, sha256)):
        return record

    inputs = run.task.read(job.path, run.options)
    with whole_folder(folder, earlier(folder), run.work) as unfinished:
        network = network_of(run, inputs)
        with redirect_stdout(sys.stderr):  # standard output is for records alone
            result = answer(run.task, run.method, inputs)
        with one_thread():
            names = run.task.write(result.prediction, inputs, result.measured, unfinished)

        record = {
            "task": run.task_name,
            "input": str(job.path),
            "status": "ok",
            "sha256": sha256,
            "run": run.key,
            "outputs": [str(folder / name) for name in names],
            **result.measured,
            "notes": result.notes,
            "method": run.method_name,
            **network,
        }
        if state(job.path) != before:
            remedy = "Predict it again when it is complete."
            raise ToolkitError(f"{job.path} changed while it was read.", remedy)
        if network_of(run, inputs) != network:
            reason = f"The network changed while {job.path} was answered."
            raise ToolkitError(reason, "Predict it again.")
        write_bytes(unfinished / RECORD, (json.dumps(record) + "\n").encode())
    return record


def network_of(run: Run, inputs: Any) -> dict[str, str]:
    """The SHA-256 of the network that answers, as records name it; nothing without a network."""
    if not isinstance(run.method, NetworkMethod):
        return {}
    return {"checkpoint": run.method.sha256(inputs)}


def unanswered(run: Run, job: Job, reason: str, remedy: str) -> dict[str, Any]:
    """The record of an input that failed."""
    return {
        "task": run.task_name,
        "input": str(job.path),
        "status": "failed",
        "method": run.method_name,
        "outputs": [],
        "reason": reason,
        "remedy": remedy,
    }


def state(path: Path) -> tuple[int, int]:
    """Size and time of change of an input."""
    try:
        state = path.stat()
    except OSError as error:
        reason = f"{path} cannot be read: {error.strerror}."
        raise ToolkitError(reason, "Check the path and its permissions.") from error
    return state.st_size, state.st_mtime_ns


def finished(folder: Path, key: str, sha256: str) -> dict[str, Any] | None:
    """The record of an input that was answered alike, and whose files are all there."""
    try:
        record = json.loads((folder / RECORD).read_text())
        same = record["run"] == key and record["sha256"] == sha256
        return (
            record if same and all(Path(output).is_file() for output in record["outputs"]) else None
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def earlier(folder: Path) -> set[str]:
    """The names of the files that an earlier run wrote there, by its own record; none when it left no record."""
    try:
        outputs = json.loads((folder / RECORD).read_text())["outputs"]
        return {RECORD, *(Path(output).name for output in outputs)}
    except (OSError, ValueError, KeyError, TypeError):
        return set()
