"""Lock the folder that a run writes to, and provide a folder for unfinished files."""

import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from hvd.toolkit.core import ToolkitError
from hvd.toolkit.manifest import Shard
from hvd.toolkit.outputs import make_folder, unwritable

LOCK = ".lock"
UNFINISHED = ".unfinished"
UNFINISHED_SHARD = re.compile(rf"{re.escape(UNFINISHED)}-\d+-of-\d+")
OWNER = ".toolkit"  # a file in our folders for unfinished files, and the first word of our locks
HOLDER = re.compile(r"(\.toolkit )?(\d+ on \S+)")
LENGTH = 200  # characters in a lock file


@contextmanager
def lock_output(out: Path, shard: Shard) -> Iterator[Path]:
    """Keep other runs from writing to `out`; other shards of the same run may.

    Yields an empty folder for unfinished files, which is removed afterwards. What a killed run
    left of such a folder is removed too. Raises ToolkitError with status 4 when another run writes
    there, or when files of these names are not ours.
    """
    is_new = not os.path.lexists(out)
    make_folder(out)
    ending = "" if shard is None else f"-{shard[0]}-of-{shard[1]}"

    with ExitStack() as stack:
        if is_new:  # a run that is refused leaves nothing behind
            stack.callback(remove_if_empty, out)
        # Shards run beside each other and lock out only a run of all inputs,
        # and a second run of the same shard.
        if shard is not None:
            hold_lock(stack, out / LOCK, shared=True)
        hold_lock(stack, out / f"{LOCK}{ending}", shared=False)

        # Nobody else is at work here, so that remains of stopped shards can
        # go.
        if shard is None:
            for entry in out.iterdir():
                if UNFINISHED_SHARD.fullmatch(entry.name):
                    remove_unfinished(entry)

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
    """Remove a folder unless it holds something."""
    with suppress(OSError):
        folder.rmdir()


def remove_unfinished(folder: Path) -> None:
    """Remove the unfinished files of a killed run; ToolkitError with status 4 when not ours."""
    if not os.path.lexists(folder):
        return
    # The run was killed at once
    is_empty = folder.is_dir() and not any(folder.iterdir())
    if folder.is_symlink() or not (is_empty or (folder / OWNER).is_file()):
        reason = f"{folder} was not left by a run."
        raise ToolkitError(
            reason, "Move it, or choose another --out.", status=4
        )
    clear(folder)


def clear(folder: Path) -> None:
    """Remove a folder of ours. The file that says so goes last: we may be killed at any moment."""
    with suppress(OSError):
        for path in folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            elif path.name != OWNER:
                path.unlink()

        (folder / OWNER).unlink(missing_ok=True)
        folder.rmdir()


def hold_lock(stack: ExitStack, path: Path, shared: bool) -> None:
    """Lock a file until the stack ends; the system releases it when the process is killed."""
    while True:
        try:
            if path.is_symlink():
                reason = f"{path} is a link, not the lock of a run."
                raise ToolkitError(
                    reason, "Remove it, or choose another --out.", status=4
                )
            file = open_lock(path)
            stack.callback(file.close)
            is_free = try_lock(file, shared)
            check_holder(file, path, is_free)

            # Otherwise the previous run removed the file together with its lock: try again.
            if path.exists() and os.path.samestat(
                os.fstat(file.fileno()), path.stat()
            ):
                break
        except FileNotFoundError as error:
            if not path.parent.is_dir():
                raise unwritable(path, error) from error
            # The previous run removed it between two of our looks: try again.
        except OSError as error:
            raise unwritable(path, error) from error

    if not shared:
        file.seek(0)
        file.write(holder_text())
        file.flush()
        stack.callback(path.unlink, missing_ok=True)


def check_holder(file: IO[str], path: Path, is_free: bool) -> None:
    """Raise ToolkitError with status 4 for a lock that another run holds, or that is not ours."""
    holder = HOLDER.fullmatch(file.read(LENGTH).strip())
    if not is_free:
        name = holder[2] if holder else "of another process"
        reason = f"Another run, {name}, writes to {path.parent}."
        raise ToolkitError(
            reason, "Wait for it, or choose another --out.", status=4
        )

    if holder is None:
        reason = f"{path} is not the lock of a run."
        raise ToolkitError(
            reason, "Remove it, or choose another --out.", status=4
        )


def holder_text() -> str:
    """The text in a lock of this process, always of the same length."""
    return f"{OWNER} {os.getpid()} on {socket.gethostname()}".ljust(LENGTH)[
        :LENGTH
    ]


def open_lock(path: Path) -> IO[str]:
    """Open a lock file without following links; make it when it does not exist.

    It is written elsewhere and then renamed, so that it names its holder from the first moment.
    """
    no_links = getattr(os, "O_NOFOLLOW", 0)
    # The file appears with its content at once, so that a run that fails to
    # lock it can always read who holds it.
    if not os.path.lexists(path):
        beside = path.with_name(f"{path.name}-{os.getpid()}")
        with suppress(FileNotFoundError):
            beside.unlink()
        handle = os.open(
            beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | no_links, 0o600
        )
        with os.fdopen(handle, "w") as file:
            file.write(holder_text())

        try:
            os.link(beside, path)
        except FileExistsError:
            pass  # another run came first
        except OSError:  # a file system without hard links
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)

    return os.fdopen(os.open(path, os.O_RDWR | no_links), "r+")


def try_lock(file: IO[str], shared: bool) -> bool:
    """Lock a file if that is possible at once; returns whether it was."""
    try:
        import fcntl
    except ImportError:  # Windows, which knows no shared locks
        import msvcrt

        lock: Any = msvcrt
        try:
            return (
                shared or lock.locking(file.fileno(), lock.LK_NBLCK, 1) is None
            )
        except OSError:
            return False

    # Shared locks admit each other; an exclusive one admits nobody.
    try:
        fcntl.flock(
            file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB
        )
    except OSError:
        return False

    return True
