"""Run a method over many inputs: a record for each, and outputs that are complete or absent.

Each input leaves a complete folder with its record, so an interrupted run can be resumed, and the
shards of a run end in the same bytes as a single run. Inputs are found one after the other, so
memory does not grow with their number; they are never changed.
"""

import hashlib
import itertools
import json
import os
import sys
import time
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, redirect_stdout
from dataclasses import asdict, dataclass, is_dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import hvd
from hvd.toolkit import registry
from hvd.toolkit.asking import answer, is_ours
from hvd.toolkit.core import FAULT, Method, Task, ToolkitError, is_debugging
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
    shard_name,
)
from hvd.toolkit.network import NetworkMethod, end_after, index
from hvd.toolkit.outputs import (
    RECORD,
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

# In every folder of results: the record of the input. It names the files beside it with their
# SHA-256; a later run may replace only these.

FORMAT = 3  # of records: `--resume` does not take those of another format
AHEAD = 4  # inputs for each process that are in progress or waiting
KILLED = "The process that answered it was killed: most likely it needs more memory than there is."


@dataclass(frozen=True)
class Run:
    """What all inputs of a run have in common; sent to every worker process.

    Attributes
    ----------
    task_name, method_name, method : the task, and the method with the name that records use.
    checkpoint : the path of a network, if one was named.
    options : what is known of the inputs.
    work : the folder for unfinished files.
    resume : whether answers of an earlier run are kept.
    key : hash of everything that answers depend on besides the inputs.
    time_limit : seconds that the network may take for one input.
    files : the files that options name, as they were when the run began.
    """

    task_name: str
    method_name: str
    method: Method
    checkpoint: str | None
    options: Any
    work: Path
    resume: bool
    key: str
    time_limit: float
    files: tuple[Snapshot, ...]

    @property
    def task(self) -> Task:
        return registry.task(self.task_name)

    def __getstate__(self) -> dict[str, Any]:
        state = dict(vars(self))
        if is_file(self.method_name):
            # Workers cannot import its class: they load it from the file
            del state["method"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if "method" not in state:
            names = self.task_name, self.method_name, self.checkpoint
            vars(self)["method"] = load_method(self.key, *names)


def is_file(method_name: str) -> bool:
    """Whether a method is a user's own in a file, FILE.py:Class."""
    return method_name.rpartition(":")[0].endswith(".py")


@lru_cache(maxsize=2)
def load_method(
    key: str,
    task: str,
    name: str,
    checkpoint: str | None,
) -> Method:
    """Load a user's own method, once in every process; `key` changes with its code."""
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
    """Answer every input into a folder below `out`, and yield its record.

    A folder of results is named after its input, without the suffix unless two would have the same
    name. Folders of images are walked with their subfolders; beside other inputs, each is answered
    in a folder of its own. At the end `out/manifest.jsonl` holds all records in the order of the
    inputs' names.

    Parameters
    ----------
    task, name, method : the task, and the method with the name that records use.
    inputs : files and folders.
    out : folder for the results.
    options : what is known of the inputs.
    workers : processes, each on one thread.
    shard : (i, n) answers only the inputs that fall to the i-th of n shards; `merging` puts
        the shards together.
    resume : keep answers that an earlier run gave to the same content under the same conditions.
    time_limit : seconds; an input for which the network takes longer fails.

    Raises
    ------
    ToolkitError
        With status 2 before anything is written, when no input exists, two are the same, or
        results would overwrite an input; with status 4 when another run writes to `out`, or when
        it holds files that no run has written.
    """
    names = ", ".join(map(str, inputs))
    if not any(os.path.lexists(path) for path in inputs):
        raise ToolkitError(
            f"No input exists: {names}.", "Check the paths.", status=2
        )

    # Look at all inputs before anything is written.
    tops = places(inputs, out, task)
    if all(job.skipped for job in jobs(task, inputs, tops)):
        raise ToolkitError(
            f"There is no input in {names}.", "Check the paths.", status=2
        )

    # The lock keeps a second run from writing into the same folder.
    with lock_output(out, shard) as work:
        check_manifest(out / shard_name(shard), shard)
        check_replaceable(out, task.run_files)
        run = Run(
            task_name=task.name,
            method_name=name,
            method=method,
            checkpoint=method.checkpoint
            if isinstance(method, NetworkMethod)
            else None,
            options=options,
            work=work,
            resume=resume,
            key=circumstances(task.name, name, method, options),
            time_limit=time_limit,
            files=tuple(map(snapshot, option_files(options))),
        )

        # Inputs are listed and answered one by one: a million files must not
        # fill the memory.
        census = Census(shard)
        todo = filter(census.count_job, jobs(task, inputs, tops))

        manifest = Manifest(work)
        with closing(answers(run, out, todo, workers)) as records:
            for record in records:
                # Times differ between runs, while manifests of equal runs
                # must be equal.
                stored = dict(record)
                stored.pop("seconds", None)
                manifest.add(stored)
                yield record

        manifest.finish(out / shard_name(shard), census.header(run))
        if shard is None:
            conclude(task, out, work)


class Census:
    """Counts the inputs of a run while they are distributed among shards.

    Its hash comes from the places of all results and the sizes of their inputs, in any order:
    machines that see the inputs under different paths agree on it.
    """

    def __init__(self, shard: Shard):
        self.shard = shard
        self.total = 0
        self.count = 0

    def count_job(self, job: Job) -> bool:
        """Count an input; returns whether it belongs to this shard."""
        name = f"{job.folder}\0{job.skipped}\0{size_of(job.path)}".encode(
            errors="surrogateescape"
        )
        self.total += int.from_bytes(hashlib.sha256(name).digest(), "big")
        self.count += 1
        return self.shard is None or falls_to(job, self.shard)

    def header(self, run: Run) -> ShardHeader | None:
        """The first line of a shard's manifest; None for a run that is not a shard."""
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
    """The size of a file in bytes; None for a folder, or where it is forbidden to look."""
    try:
        return path.stat().st_size if path.is_file() else None
    except OSError:
        return None


def option_files(options: Any) -> list[Path]:
    """The files and folders that options name, such as a mask."""
    values = options.as_dict().values()
    return [
        Path(value)
        for value in values
        if isinstance(value, str) and os.path.exists(value)
    ]


def check_manifest(path: Path, shard: Shard = None) -> None:
    """Refuse to overwrite a manifest that we did not write: ToolkitError with status 4."""
    if not os.path.lexists(path):
        return

    is_ours = path.is_file() and not path.is_symlink()
    if is_ours:
        try:
            records = (
                read_manifest(path) if shard is None else read_shard(path)[1]
            )
            next(records, None)
        except (ToolkitError, OSError):
            is_ours = False

    if not is_ours:
        reason = f"{path} is not the manifest of a run."
        raise ToolkitError(reason, "Move it, or choose another --out.", 4)


def conclude(task: Task, out: Path, work: Path) -> None:
    """Write the summary of an entire run in place of that of the previous one."""
    folder = work / "run"
    folder.mkdir()
    names = task.conclude(lambda: read_manifest(out / MANIFEST), folder, out)
    replace_files(
        out, {name: (folder / name).read_bytes() for name in names}, work
    )


def circumstances(
    task: str,
    name: str,
    method: Method,
    options: Any,
) -> str:
    """Hash of everything that answers depend on besides the input.

    That is the version, the method and its parameters, the networks, and the options.
    """
    parameters = asdict(method) if is_dataclass(method) else {}
    own = parameters.get("checkpoint")
    networks = digest(Path(own)) if own and Path(own).is_file() else index()
    files = {str(path): digest(path) for path in option_files(options)}

    version = hvd.__version__
    depends = [
        version,
        FORMAT,
        task,
        name,
        parameters,
        options.as_dict(),
        files,
        networks,
    ]

    code = Path(sys.modules[type(method).__module__].__file__)
    if is_ours(method):
        # Handcrafted methods keep what they have learned beside their code.
        depends.append(
            {path.name: digest(path) for path in code.parent.glob("*.npz")}
        )
    else:
        depends.append(digest(code))

    return hashlib.sha256(
        json.dumps(depends, sort_keys=True, default=str).encode()
    ).hexdigest()


def answers(
    run: Run,
    out: Path,
    todo: Iterator[Job],
    workers: int,
) -> Generator[dict[str, Any], None, None]:
    """Yield the record of every job, in their order.

    When a process is killed, the inputs that were in progress are answered again, each in a
    process of its own.
    """
    if workers == 1:
        for job in todo:
            yield answer_input(run, job, out)
        return

    processes = pool(workers)
    in_progress: deque[tuple[Job, Any]] = deque()
    try:
        # After the last job comes None, again and again, until all records are there.
        for job in itertools.chain(todo, itertools.repeat(None)):
            first = None
            try:
                if job is not None:
                    in_progress.append((job, None))
                    in_progress[-1] = (
                        job,
                        processes.submit(answer_input, run, job, out),
                    )
                    if len(in_progress) < AHEAD * workers:
                        continue

                if not in_progress:
                    return
                first, future = in_progress.popleft()
                record = future.result()

            except BrokenProcessPool:
                waiting = [job for job, _ in in_progress]
                unanswered = [first, *waiting] if first else waiting
                processes.shutdown()
                processes = pool(workers)
                in_progress = deque()
                for job in unanswered:
                    yield answer_alone(run, job, out)
            else:
                yield record

    except (
        KeyboardInterrupt,
        GeneratorExit,
    ):
        # Ctrl-C may reach whoever asks for records
        stop(processes)
        raise
    finally:
        processes.shutdown(cancel_futures=True)


def answer_alone(run: Run, job: Job, out: Path) -> dict[str, Any]:
    """The record of an input, answered in a process of its own, which may be killed."""
    with pool(1) as process:
        try:
            return process.submit(answer_input, run, job, out).result()
        except BrokenProcessPool:
            return failed_record(
                run, job, out / job.folder, KILLED, "Give it in smaller parts."
            )


def answer_input(run: Run, job: Job, out: Path) -> dict[str, Any]:
    """Answer one input; returns its record, with the seconds that it took."""
    start = time.perf_counter()
    check_inside(out, job.folder)
    remove_renamed(job, out / job.folder)
    record = record_of_job(run, job, out / job.folder)
    return record | {"seconds": round(time.perf_counter() - start, 3)}


def check_inside(out: Path, folder: Path) -> None:
    """Refuse to write through a link that leads elsewhere: ToolkitError with status 4."""
    for parent in folder.parents[:-1]:
        if (out / parent).is_symlink():
            reason = f"{out / parent} is a link."
            raise ToolkitError(
                reason, "Remove it, or choose another --out.", status=4
            )


def remove_renamed(job: Job, folder: Path) -> None:
    """Remove an earlier answer to the same input under its other name.

    Whether the name has the suffix depends on the files beside the input, so it may change.
    """
    for name in {job.path.stem, job.path.name} - {folder.name}:
        record = (
            read_record(folder.with_name(name)) if name.strip(".") else None
        )
        if record and record.get("input") == str(job.path):
            remove_answer(folder.with_name(name))


def record_of_job(run: Run, job: Job, folder: Path) -> dict[str, Any]:
    """The record of one input, answered in `folder`, skipped or failed.

    Only errors that concern more than this input are raised.
    """
    if job.skipped:
        return {
            "task": run.task_name,
            "input": str(job.path),
            "status": "skipped",
            "outputs": [],
            "reason": job.skipped,
        }

    # Everything that one input can raise becomes its failed record; only a
    # wrong set-up (another status) ends the run.
    try:
        return record_of(run, job, folder)
    except ToolkitError as error:
        if error.status != 1:
            raise
        return failed_record(run, job, folder, error.reason, error.remedy)
    except OSError as error:
        reason = (
            f"{error.filename or job.path} cannot be read: {error.strerror}."
        )
        return failed_record(run, job, folder, reason, "Check its permissions.")
    except MemoryError:
        reason = f"{job.path} needs more memory than there is."
        return failed_record(
            run, job, folder, reason, "Give it in smaller parts."
        )
    except Exception as error:  # one input must not end the run
        if is_debugging():
            raise
        return failed_record(
            run, job, folder, f"{type(error).__name__}: {error}.", FAULT
        )


def record_of(run: Run, job: Job, folder: Path) -> dict[str, Any]:
    """Answer one input into `folder`, unless an earlier answer is kept; returns its record."""
    before = snapshot(job.path)
    if run.resume and (
        record := reusable_record(folder, run, job, before.sha256)
    ):
        return record

    inputs = run.task.read(job.path, run.options)

    with whole_folder(
        folder, files_of_earlier_run(folder), run.work
    ) as unfinished:
        network = network_of(run, inputs)
        # What a method prints is no record.
        with redirect_stdout(sys.stderr), end_after(run.time_limit):
            result = answer(run.task, run.method, inputs)
        with one_thread():
            shown = {**result.measured, "method": run.method_name}
            names = run.task.write(result.prediction, inputs, shown, unfinished)

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

        # The answer must be about what is recorded: the input, the options' files, the network.
        for seen in (before, *run.files):
            if not seen.is_unchanged():
                remedy = "Predict it again when it is complete."
                raise ToolkitError(
                    f"{seen.path} changed while it was read.", remedy
                )
        if network_of(run, inputs) != network:
            reason = f"The network changed while {job.path} was answered."
            raise ToolkitError(reason, "Predict it again.")

        write_record(record, unfinished)

    return record


def write_record(record: dict[str, Any], folder: Path) -> None:
    """Write the record of an input into its folder."""
    write_bytes(folder / RECORD, (to_json(record) + "\n").encode())


def network_of(run: Run, inputs: Any) -> dict[str, str]:
    """SHA-256 of the network that answers, as records name it; empty without a network."""
    if not isinstance(run.method, NetworkMethod):
        return {}
    return {"checkpoint": run.method.sha256(inputs)}


def failed_record(
    run: Run,
    job: Job,
    folder: Path,
    reason: str,
    remedy: str,
) -> dict[str, Any]:
    """The record of an input that failed; an earlier answer to it is removed."""
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
    """Remove an earlier answer, but keep files that somebody else changed or put there."""
    try:
        for name, sha256 in files_of_earlier_run(folder).items():
            if is_as_written(folder / name, sha256):
                (folder / name).unlink()
        if not any(folder.iterdir()):
            folder.rmdir()
    except OSError:
        return  # there is none, or the folder cannot be written


def read_record(folder: Path) -> dict[str, Any] | None:
    """The record in a folder of results; None when there is none that can be read."""
    try:
        record = json.loads(read_plain(folder / RECORD))
        files_of_record(record)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return record


def reusable_record(
    folder: Path,
    run: Run,
    job: Job,
    sha256: str,
) -> dict[str, Any] | None:
    """The record of an earlier answer to the same content under the same conditions.

    None when there is none, or when its files are not all there as they were written. When the
    input had another path, the record is changed to the present one.
    """
    # Reuse an answer only when input, method, options and version are the
    # same.
    record = read_record(folder)
    if record is None or (record.get("run"), record.get("sha256")) != (
        run.key,
        sha256,
    ):
        return None

    # Somebody may have changed or removed its files since.
    files = files_of_record(record)
    if not files or not all(
        is_as_written(folder / name, its) for name, its in files.items()
    ):
        return None

    # The input may have been moved: the record follows it.
    here = {
        "input": str(job.path),
        "outputs": [str(folder / name) for name in files],
    }
    if record | here != record:
        record |= here
        write_record(record, folder)

    return record


def files_of_record(record: dict[str, Any]) -> dict[str, str]:
    """The files that a record names, with their SHA-256."""
    names = [Path(output).name for output in record["outputs"]]
    return dict(zip(names, record["outputs_sha256"], strict=True))


def files_of_earlier_run(folder: Path) -> dict[str, str | None]:
    """The files that an earlier run wrote into a folder, by its own record; empty without one."""
    record = read_record(folder)
    return {} if record is None else {RECORD: None, **files_of_record(record)}
