"""The lock on the folder that a run writes to, and the folder for what is unfinished."""

import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from hvd.toolkit.core import ToolkitError
from hvd.toolkit.manifest import Shard
from hvd.toolkit.outputs import make_folder, unwritable

LOCK = ".lock"
UNFINISHED = ".unfinished"
OF_A_SHARD = re.compile(rf"{re.escape(UNFINISHED)}-\d+-of-\d+")
OWNER = ".toolkit"  # in our folders for what is unfinished, and how our locks begin
HOLDER = re.compile(r"(\.toolkit )?(\d+ on \S+)")
LENGTH = 200  # characters of a lock


@contextmanager
def lock_output(out: Path, shard: Shard) -> Iterator[Path]:
    """Keep other runs from writing to `out`, but for other shards of the same run.

    Gives an empty folder for what is unfinished, which is gone afterwards, as is that of a run that
    was killed. Raises ToolkitError with status 4 when another run writes there, or when files of
    these names are not ours.
    """
    fresh = not os.path.lexists(out)
    make_folder(out)
    ending = "" if shard is None else f"-{shard[0]}-of-{shard[1]}"
    with ExitStack() as stack:
        if fresh:  # a run that is refused leaves nothing
            stack.callback(remove_if_empty, out)
        if shard is not None:
            hold_lock(stack, out / LOCK, shared=True)
        hold_lock(stack, out / f"{LOCK}{ending}", shared=False)
        if shard is None:
            for left in out.iterdir():
                if OF_A_SHARD.fullmatch(left.name):
                    remove_unfinished(left)

        work = out / f"{UNFINISHED}{ending}"
        remove_unfinished(work)
        stack.callback(clear, work)
        try:
            work.mkdir(mode=0o700)
            (work / OWNER).touch()
        except OSError as error:
            raise unwritable(work, error) from error

        yield work


def remove_if_empty(folder: Path) -> None:
    """Remove a folder that holds nothing."""
    with suppress(OSError):
        folder.rmdir()


def remove_unfinished(folder: Path) -> None:
    """Remove what a killed run left unfinished; ToolkitError with status 4 when it is not ours."""
    if not os.path.lexists(folder):
        return
    empty = folder.is_dir() and not any(folder.iterdir())  # of a run that was killed at once
    if folder.is_symlink() or not (empty or (folder / OWNER).is_file()):
        reason = f"{folder} was not left by a run."
        raise ToolkitError(reason, "Move it, or choose another --out.", status=4)
    clear(folder)


def clear(folder: Path) -> None:
    """Remove a folder of ours, what says so last: it may be stopped at any moment."""
    with suppress(OSError):
        for path in folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            elif path.name != OWNER:
                path.unlink()

        (folder / OWNER).unlink(missing_ok=True)
        folder.rmdir()


def hold_lock(stack: ExitStack, path: Path, shared: bool) -> None:
    """Lock a file until the stack ends; the system lets go of it when the process is killed."""
    while True:
        try:
            if path.is_symlink():
                reason = f"{path} is a link, not the lock of a run."
                raise ToolkitError(reason, "Remove it, or choose another --out.", status=4)
            file = open_lock(path)
            stack.callback(file.close)
            free = try_lock(file, shared)
            holder = HOLDER.fullmatch(file.read(LENGTH).strip())
            if not free:
                name = holder[2] if holder else "of another process"
                reason = f"Another run, {name}, writes to {path.parent}."
                remedy = "Wait for it, or choose another --out."
                raise ToolkitError(reason, remedy, status=4)

            if holder is None:
                reason = f"{path} is not the lock of a run."
                raise ToolkitError(reason, "Remove it, or choose another --out.", status=4)
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                break  # else the run before took the file away with its lock
        except OSError as error:
            if isinstance(error, FileNotFoundError) and path.parent.is_dir():
                continue  # the run before took it away between two of our looks
            raise unwritable(path, error) from error

    if not shared:
        file.seek(0)
        file.write(holder_text())
        file.flush()
        stack.callback(path.unlink, missing_ok=True)


def holder_text() -> str:
    """What a lock says of this process, always of one length: a lock is never without a holder."""
    return f"{OWNER} {os.getpid()} on {socket.gethostname()}".ljust(LENGTH)[:LENGTH]


def open_lock(path: Path) -> IO[str]:
    """A lock file, opened without following links; made when it is not there.

    It says whose it is from the first moment: it is written elsewhere, and then gets its name.
    """
    no_links = getattr(os, "O_NOFOLLOW", 0)
    if not os.path.lexists(path):
        beside = path.with_name(f"{path.name}-{os.getpid()}")
        with suppress(FileNotFoundError):
            beside.unlink()
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | no_links, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(holder_text())
        try:
            os.link(beside, path)
        except FileExistsError:
            pass  # of another run, which came first
        except OSError:  # a file system without hard links
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)

    return os.fdopen(os.open(path, os.O_RDWR | no_links), "r+")


def try_lock(file: IO[str], shared: bool) -> bool:
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
