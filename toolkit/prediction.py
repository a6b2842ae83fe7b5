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
from hvd.toolkit.images import Snapshot, digest, snapshot
from hvd.toolkit.jobs import Job, falls_to, jobs, places
from hvd.toolkit.locking import lock_output
from hvd.toolkit.manifest import (
    MANIFEST,
    Manifest,
    Shard,
    ShardHeader,
    read_manifest,
    read_shard,
    shard_manifests,
    shard_name,
)
from hvd.toolkit.network import NetworkMethod, end_after, index
from hvd.toolkit.outputs import (
    check_replaceable,
    is_as_written,
    read_plain,
    replace_files,
    to_json,
    whole_folder,
    write_bytes,
)
from hvd.toolkit.processes import pool, stop
from hvd.toolkit.settings import one_thread

# In every folder of results: the record of the input, which names the files beside it and their
# SHA-256. Only these may a later run replace.
RECORD = "record.json"
FORMAT = 3  # of records: those of an earlier one are not taken as they are
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
    time_limit: float
    files: tuple[Snapshot, ...]  # those that options name, as they were when the run began

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


def predict(
    task: Task,
    name: str,
    method: Method,
    inputs: tuple[Path, ...],
    out: Path,
    options: Any,
    workers: int = 1,
    shard: Shard = None,
    resume: bool = False,
    time_limit: float = 3600.0,
) -> Iterator[dict[str, Any]]:
    """Answer every input by the method called `name` into `out/INPUT`; yield its record.

    A folder of results has the name of its input, without the suffix unless two would have the
    same. Folders of images are walked with their subfolders, and beside other inputs answered in a
    folder of their own. `out/manifest.jsonl` holds all records in the order of the inputs' names,
    written when all is done.

    With `shard` (i, n) only every input whose name falls to the i-th of n shards
    is answered, and `merge_shards` puts them together. With `resume` inputs that were answered
    alike before are not answered again. A network that takes more than `time_limit` seconds for an
    input fails on it. Raises ToolkitError with status 2 before anything is
    written when no input exists, two are one, or results would meet an input; with status 4 when
    another run writes to `out` or files lie there that no run has written.
    """
    if not any(os.path.lexists(path) for path in inputs):
        raise ToolkitError(
            f"No input exists: {', '.join(map(str, inputs))}.", "Check the paths.", status=2
        )

    tops = places(inputs, out, task)
    if all(job.skipped for job in jobs(task, inputs, tops)):
        raise ToolkitError(
            f"There is no input in {', '.join(map(str, inputs))}.", "Check the paths.", status=2
        )

    with lock_output(out, shard) as work:
        check_manifest(out / shard_name(shard), shard)
        check_replaceable(out, task.run_files)
        files = tuple(map(snapshot, option_files(options)))
        run = Run(
            task_name=task.name,
            method_name=name,
            method=method,
            checkpoint=method.checkpoint if isinstance(method, NetworkMethod) else None,
            options=options,
            work=work,
            resume=resume,
            key=circumstances(task.name, name, method, options),
            time_limit=time_limit,
            files=files,
        )
        census = Census(shard)
        mine = filter(census.counts, jobs(task, inputs, tops))

        manifest = Manifest(work)
        with closing(answers(run, out, mine, workers)) as records:
            for record in records:
                manifest.add({k: value for k, value in record.items() if k != "seconds"})
                yield record

        manifest.finish(out / shard_name(shard), census.header(run))
        if shard is None:
            conclude(task, out, work)


class Census:
    """The inputs of a run, counted while they are shared out among shards.

    The hash of all shards is that of the places of all results and the sizes of their inputs,
    whatever their order: machines that see the inputs under other paths agree on it.
    """

    def __init__(self, shard: Shard):
        self.shard = shard
        self.total = 0
        self.count = 0

    def counts(self, job: Job) -> bool:
        """Count an input; whether it is one of this shard."""
        name = f"{job.folder}\0{job.skipped}\0{size_of(job.path)}".encode(errors="surrogateescape")
        self.total += int.from_bytes(hashlib.sha256(name).digest(), "big")
        self.count += 1
        return self.shard is None or falls_to(job, self.shard)

    def header(self, run: Run) -> ShardHeader | None:
        """What the manifest of a shard begins with; None for a whole run."""
        if self.shard is None:
            return None
        return ShardHeader(
            shard=f"{self.shard[0]}/{self.shard[1]}",
            task=run.task_name,
            run=run.key,
            inputs=f"{self.total % (1 << 256):064x}",
            count=self.count,
            limits=(run.options.max_pixels, run.time_limit),
        )


def size_of(path: Path) -> int | None:
    """The bytes of a file; None of a folder, or of what cannot be looked at."""
    try:
        return path.stat().st_size if path.is_file() else None
    except OSError:
        return None


def option_files(options: Any) -> list[Path]:
    """The files that options name, such as a mask."""
    values = options.as_dict().values()
    return [Path(value) for value in values if isinstance(value, str) and os.path.isfile(value)]


def check_manifest(path: Path, shard: Shard = None) -> None:
    """Refuse to overwrite a manifest that we did not write: ToolkitError with status 4."""
    if not os.path.lexists(path):
        return
    try:
        ours = path.is_file() and not path.is_symlink()
        if ours:
            records = read_manifest(path) if shard is None else read_shard(path)[1]
            next(records, None)
    except (ToolkitError, OSError):
        ours = False

    if not ours:
        reason = f"{path} is not the manifest of a run."
        raise ToolkitError(reason, "Move it, or choose another --out.", 4)


def conclude(task: Task, out: Path, work: Path) -> None:
    """Write what a task says of a whole run, in the place of what an earlier run said."""
    folder = work / "run"
    folder.mkdir()
    names = task.conclude(lambda: read_manifest(out / MANIFEST), folder)
    replace_files(out, {name: (folder / name).read_bytes() for name in names}, work)


def circumstances(task: str, name: str, method: Method, options: Any) -> str:
    """SHA-256 of all that answers depend on besides the input: version, method, networks, options."""
    parameters = asdict(method) if is_dataclass(method) else {}
    own = parameters.get("checkpoint")
    networks = digest(Path(own)) if own and Path(own).is_file() else index()
    values = options.as_dict()
    files = {str(path): digest(path) for path in option_files(options)}
    depends = [hvd.__version__, FORMAT, task, name, parameters, values, files, networks]
    code = Path(sys.modules[type(method).__module__].__file__)

    if is_ours(method):
        # handcrafted methods keep what they have learned beside their code
        depends.append({path.name: digest(path) for path in code.parent.glob("*.npz")})
    else:
        depends.append(digest(code))

    return hashlib.sha256(json.dumps(depends, sort_keys=True, default=str).encode()).hexdigest()


def merge_shards(out: Path) -> Path:
    """Put the manifests of all shards in `out` together, as one run would have left them.

    Returns the manifest's path; raises ToolkitError with status 5 when the shards are not those of
    one run over the same inputs, with status 4 when files lie there that no run has written.
    """
    parts = shard_manifests(out)
    with lock_output(out, None) as work:
        header = check_headers(parts)
        task = registry.task(header.task)
        check_manifest(out / MANIFEST)
        check_replaceable(out, task.run_files)

        manifest = Manifest(work)
        count = 0
        for part in parts:
            for record in read_shard(part)[1]:
                check_record(record, header, part)
                manifest.add(record)
                count += 1

        if count != header.count:
            reason = f"The shards in {out} hold {count} records of {header.count} inputs."
            raise ToolkitError(reason, "Run them all again.", status=5)
        manifest.finish(out / MANIFEST)
        try:
            conclude(task, out, work)
        except (KeyError, TypeError, ValueError) as error:
            reason = f"Records of {out} lack what {task.name} sums up: {error!r}."
            raise ToolkitError(reason, "Run the shards again.", status=5) from error

        for part in parts:
            part.unlink()

    return out / MANIFEST


def check_headers(parts: list[Path]) -> ShardHeader:
    """What shards of one run have in common; ToolkitError with status 5 when it is not the same."""
    first = read_shard(parts[0])[0]
    for part in parts:
        header = read_shard(part)[0]
        numbers = part.stem.removeprefix("manifest-").replace("-of-", "/")
        if header.shard != numbers:
            reason = f"{part} is of shard {header.shard}."
            raise ToolkitError(reason, "Run that shard again.", status=5)

        names = f"{parts[0].name} and {part.name}"
        same = (header.task, header.run, header.limits) == (first.task, first.run, first.limits)
        if not same:
            reason = f"{names} are shards of different runs."
            remedy = "Run all shards with one version, method and network, and the same options."
            raise ToolkitError(reason, remedy, status=5)

        if (header.inputs, header.count) != (first.inputs, first.count):
            reason = f"{names} are shards of different inputs."
            raise ToolkitError(reason, "Run all shards over the same files.", status=5)

    if first.task not in registry.TASKS:
        raise ToolkitError(f"{parts[0]} is of no task that is known.", "Run it again.", status=5)
    return first


def check_record(record: dict[str, Any], header: ShardHeader, part: Path) -> None:
    """Raise ToolkitError with status 5 for a record that is not of the run of its shard."""
    if (record["task"], record.get("run", header.run)) != (header.task, header.run):
        reason = f"{part} holds a record of another run, of {record['input']}."
        raise ToolkitError(reason, "Run that shard again.", status=5)


def answers(run: Run, out: Path, todo: Iterator[Job], workers: int) -> Iterator[dict[str, Any]]:
    """The record of every job, in their order.

    When a process is killed, the inputs that were under way are answered again, each alone.
    """
    if workers == 1:
        yield from (answer_input(run, job, out) for job in todo)
        return

    processes = pool(workers)
    under_way: deque[tuple[Job, Any]] = deque()
    try:
        for job in itertools.chain(todo, itertools.repeat(None)):
            first = future = None
            try:
                if job is not None:
                    under_way.append((job, None))
                    under_way[-1] = job, processes.submit(answer_input, run, job, out)
                    if len(under_way) < AHEAD * workers:
                        continue

                if not under_way:
                    return
                first, future = under_way.popleft()
                record = future.result()
            except BrokenProcessPool:
                held = [*([first] if first else ()), *(job for job, _ in under_way)]
                processes.shutdown()
                processes = pool(workers)
                under_way = deque()
                yield from (alone(run, job, out) for job in held)
            else:
                yield record
    except (KeyboardInterrupt, GeneratorExit):  # Ctrl-C, which may reach whoever asks for records
        stop(processes)
        raise
    finally:
        processes.shutdown(cancel_futures=True)


def alone(run: Run, job: Job, out: Path) -> dict[str, Any]:
    """A record from a process of its own, which may be killed."""
    with pool(1) as process:
        try:
            return process.submit(answer_input, run, job, out).result()
        except BrokenProcessPool:
            return failed_record(run, job, out / job.folder, KILLED, "Give it in smaller parts.")


def answer_input(run: Run, job: Job, out: Path) -> dict[str, Any]:
    """Answer one input and return its record, with the seconds that it took."""
    began = time.perf_counter()
    check_inside(out, job.folder)
    remove_moved(job, out / job.folder)
    record = record_of_job(run, job, out / job.folder)
    return record | {"seconds": round(time.perf_counter() - began, 3)}


def check_inside(out: Path, folder: Path) -> None:
    """Refuse to write through a link that leads elsewhere: ToolkitError with status 4."""
    for parent in folder.parents[:-1]:
        if (out / parent).is_symlink():
            reason = f"{out / parent} is a link."
            raise ToolkitError(reason, "Remove it, or choose another --out.", status=4)


def remove_moved(job: Job, folder: Path) -> None:
    """Remove an earlier answer to the same input under its other name: whether the name has the
    suffix depends on what lies beside the input."""
    for name in {job.path.stem, job.path.name} - {folder.name}:
        record = read_record(folder.with_name(name)) if name.strip(".") else None
        if record and record.get("input") == str(job.path):
            remove_answer(folder.with_name(name))


def record_of_job(run: Run, job: Job, folder: Path) -> dict[str, Any]:
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
        return failed_record(run, job, folder, error.reason, error.remedy)
    except OSError as error:
        reason = f"{error.filename or job.path} cannot be read: {error.strerror}."
        return failed_record(run, job, folder, reason, "Check its permissions.")
    except MemoryError:
        reason = f"{job.path} needs more memory than there is."
        return failed_record(run, job, folder, reason, "Give it in smaller parts.")
    except Exception as error:  # one input must not end the run
        if debugging():
            raise
        return failed_record(run, job, folder, f"{type(error).__name__}: {error}.", FAULT)


def record_of(run: Run, job: Job, folder: Path) -> dict[str, Any]:
    """Answer one input into `folder`, unless that was done before, and return its record."""
    before = snapshot(job.path)
    if run.resume and (record := finished_record(folder, run, job, before.sha256)):
        return record

    inputs = run.task.read(job.path, run.options)

    with whole_folder(folder, earlier_files(folder), run.work) as unfinished:
        network = network_of(run, inputs)
        with redirect_stdout(sys.stderr), end_after(run.time_limit):
            result = answer(run.task, run.method, inputs)  # what it prints is no record
        with one_thread():
            names = run.task.write(result.prediction, inputs, result.measured, unfinished)

        record = {
            "task": run.task_name,
            "input": str(job.path),
            "status": "ok",
            "sha256": before.sha256,
            "run": run.key,
            "outputs": [str(folder / name) for name in names],
            "outputs_sha256": [digest(unfinished / name) for name in names],
            **result.measured,
            "notes": result.notes,
            "method": run.method_name,
            **network,
        }
        for seen in (before, *run.files):
            if not seen.is_unchanged():
                remedy = "Predict it again when it is complete."
                raise ToolkitError(f"{seen.path} changed while it was read.", remedy)

        if network_of(run, inputs) != network:
            reason = f"The network changed while {job.path} was answered."
            raise ToolkitError(reason, "Predict it again.")
        write_record(record, unfinished)

    return record


def write_record(record: dict[str, Any], folder: Path) -> None:
    """Write the record of an input into its folder."""
    write_bytes(folder / RECORD, (to_json(record) + "\n").encode())


def network_of(run: Run, inputs: Any) -> dict[str, str]:
    """The SHA-256 of the network that answers, as records name it; nothing without a network."""
    if not isinstance(run.method, NetworkMethod):
        return {}
    return {"checkpoint": run.method.sha256(inputs)}


def failed_record(run: Run, job: Job, folder: Path, reason: str, remedy: str) -> dict[str, Any]:
    """The record of an input that failed, of which no earlier answer is left."""
    remove_answer(folder)
    return {
        "task": run.task_name,
        "input": str(job.path),
        "status": "failed",
        "method": run.method_name,
        "outputs": [],
        "reason": reason,
        "remedy": remedy,
    }


def remove_answer(folder: Path) -> None:
    """Remove an earlier answer, but for files that somebody else changed or put there."""
    try:
        for name, sha256 in earlier_files(folder).items():
            if is_as_written(folder / name, sha256):
                (folder / name).unlink()
        if not any(folder.iterdir()):
            folder.rmdir()
    except OSError:
        return  # there is none, or the folder cannot be written


def read_record(folder: Path) -> dict[str, Any] | None:
    """The record that a run left in a folder; None when there is none that can be read."""
    try:
        record = json.loads(read_plain(folder / RECORD))
        written_files(record)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return record


def finished_record(folder: Path, run: Run, job: Job, sha256: str) -> dict[str, Any] | None:
    """The record of an input that was answered alike, and whose files are all there as they were
    written; None when there is none. Of another path with the same content it is made this one's."""
    record = read_record(folder)
    if record is None or (record.get("run"), record.get("sha256")) != (run.key, sha256):
        return None
    files = written_files(record)
    if not files or not all(is_as_written(folder / name, its) for name, its in files.items()):
        return None

    here = {"input": str(job.path), "outputs": [str(folder / name) for name in files]}
    if record | here != record:
        record |= here
        write_record(record, folder)

    return record


def written_files(record: dict[str, Any]) -> dict[str, str]:
    """The names of the files that a record tells of, with their SHA-256."""
    names = [Path(output).name for output in record["outputs"]]
    return dict(zip(names, record["outputs_sha256"], strict=True))


def earlier_files(folder: Path) -> dict[str, str | None]:
    """The files that an earlier run wrote there, by its own record; none when it left none."""
    record = read_record(folder)
    return {} if record is None else {RECORD: None, **written_files(record)}
