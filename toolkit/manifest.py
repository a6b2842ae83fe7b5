"""The records of a run in the order of its inputs, in memory that does not grow with them; and the lock on where it writes."""

import heapq
import json
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from hvd.toolkit.core import ToolkitError
from hvd.toolkit.outputs import made_folder, unwritable

MANIFEST = "manifest.jsonl"
LOCK = ".lock"
UNFINISHED = ".unfinished"
HELD = 1000  # records in memory before they are laid aside, sorted

Shard = tuple[int, int] | None


def shard_name(shard: Shard) -> str:
    """The file that a run, or the i-th of n shards of it, leaves its records in."""
    return MANIFEST if shard is None else f"manifest-{shard[0]}-of-{shard[1]}.jsonl"


def shard_manifests(out: Path) -> list[Path]:
    """The manifests of all shards of a run; ToolkitError with status 5 when one is missing."""
    found = sorted(out.glob("manifest-*-of-*.jsonl"))
    counts = {path.stem.rpartition("-")[2] for path in found}
    if len(counts) != 1 or not (count := next(iter(counts))).isdecimal():
        reason = (
            f"{out} holds shards of several runs." if found else f"{out} holds no shards of a run."
        )
        raise ToolkitError(reason, "Give the --out of `toolkit predict --shard I/N`.", status=5)
    wanted = [out / shard_name((k + 1, int(count))) for k in range(int(count))]
    missing = [path.name for path in wanted if path not in found]
    if missing:
        raise ToolkitError(
            f"{out} lacks {', '.join(missing)}.", "Run the other shards first.", status=5
        )
    return wanted


class Manifest:
    """Records of a run, laid aside in `work` as they come."""

    def __init__(self, work: Path):
        self.work, self.held, self.parts = work, [], []

    def add(self, record: dict[str, Any]) -> None:
        """Take a record, which names its `input`."""
        self.held.append((record["input"], json.dumps(record)))
        if len(self.held) >= HELD:
            self.lay_aside()

    def lay_aside(self) -> None:
        """Write what is held to a file of its own, sorted."""
        part = self.work / f"{len(self.parts):06d}.jsonl"
        try:
            part.write_text("".join(f"{line}\n" for _, line in sorted(self.held)))
        except OSError as error:
            raise unwritable(part, error) from error
        self.parts.append(part)
        self.held = []

    def finish(self, path: Path) -> None:
        """Write all records, by the names of their inputs, to a file that is whole or absent."""
        self.lay_aside()
        whole = self.work / MANIFEST
        try:
            with ExitStack() as stack, open(whole, "w") as file:
                parts = [stack.enter_context(open(part)) for part in self.parts]
                file.writelines(heapq.merge(*parts, key=lambda line: json.loads(line)["input"]))
                file.flush()
                os.fsync(file.fileno())
            os.replace(whole, path)
        except OSError as error:
            raise unwritable(path, error) from error

    @staticmethod
    def read(path: Path) -> Iterator[dict[str, Any]]:
        """The records in a file, one after the other."""
        with open(path) as file:
            for number, line in enumerate(file, 1):
                try:
                    yield json.loads(line)
                except ValueError as error:
                    raise ToolkitError(
                        f"Line {number} of {path} is damaged.", "Run that shard again.", status=5
                    ) from error


@contextmanager
def locked(out: Path, shard: Shard) -> Iterator[Path]:
    """Keep other runs from writing to `out`, but for other shards of the same run; gives an empty folder for what is unfinished,
    which is gone afterwards, as is that of a run that was killed.

    Raises ToolkitError with status 4 when another run writes there.
    """
    fresh = not out.exists()
    made_folder(out)
    ending = "" if shard is None else f"-{shard[0]}-of-{shard[1]}"
    with ExitStack() as stack:
        if fresh:  # a run that is refused leaves nothing
            stack.callback(remove_if_empty, out)
        if shard is not None:
            hold(stack, out / LOCK, shared=True)
        hold(stack, out / f"{LOCK}{ending}", shared=False)
        if shard is None:
            for left in out.glob(f"{UNFINISHED}*"):
                shutil.rmtree(left, ignore_errors=True)
        work = out / f"{UNFINISHED}{ending}"
        shutil.rmtree(work, ignore_errors=True)
        stack.callback(shutil.rmtree, work, ignore_errors=True)
        yield made_folder(work)


def remove_if_empty(folder: Path) -> None:
    """Remove a folder that holds nothing."""
    with suppress(OSError):
        folder.rmdir()


def hold(stack: ExitStack, path: Path, shared: bool) -> None:
    """Lock a file until the stack ends; the system lets go of it when the process is killed."""
    while True:
        try:
            file = open(path, "a+")  # noqa: SIM115, closed by the stack
            stack.callback(file.close)
            if not acquired(file, shared):
                file.seek(0)
                holder = file.read().strip() or "of another process"
                remedy = "Wait for it, or choose another --out."
                raise ToolkitError(
                    f"Another run, {holder}, writes to {path.parent}.", remedy, status=4
                )
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                break  # else the run before took the file away with its lock
        except OSError as error:
            raise unwritable(path, error) from error
    if not shared:
        file.truncate(0)
        file.write(f"{os.getpid()} on {socket.gethostname()}")
        file.flush()
        stack.callback(path.unlink, missing_ok=True)


def acquired(file: IO, shared: bool) -> bool:
    """Whether a file could be locked at once."""
    try:
        import fcntl
    except ImportError:  # Windows, which knows no shared locks
        import msvcrt

        try:
            return shared or msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1) is None
        except OSError:
            return False
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
