"""Outputs that are whole or absent: written beside their place, then renamed into it."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from toolkit.core import ToolkitError


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file through a temporary neighbour; raise ToolkitError with status 4 when that cannot be done."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".unfinished-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise unwritable(path, error) from error


def cell(value: Any) -> Any:
    """A value for a table that spreadsheets open: text that they would take for a formula gets an apostrophe in front."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def made_folder(path: Path) -> Path:
    """The folder, made when it is not there; ToolkitError with status 4 when that cannot be done."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(path, error) from error
    return path


@contextmanager
def whole_folder(path: Path, replaces: set[str], work: Path | None = None) -> Iterator[Path]:
    """A folder to fill, in `work` or beside `path`, which takes the place of `path` only when the block ends without an error.

    A folder that is there already is replaced when all that it holds is named in `replaces`; any other is left as it is, with a
    ToolkitError of status 4.
    """
    if path.is_symlink() or (path.exists() and not (path.is_dir() and {p.name for p in path.iterdir()} <= replaces)):
        raise ToolkitError(
            f"{path} holds files that no earlier result accounts for.", "Move it, or choose another --out.", status=4
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=work or path.parent, prefix=".unfinished-"))
    except OSError as error:
        raise unwritable(path, error) from error
    old = temporary.with_name(f"{temporary.name}.old")
    try:
        yield temporary
        temporary.chmod(0o755)
        if path.exists():
            path.rename(old)
        temporary.rename(path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        if old.exists() and not path.exists():
            old.rename(path)
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def unwritable(path: Path, error: OSError) -> ToolkitError:
    """What to tell of an output that the system refused: that a name is too long concerns one input alone."""
    if error.errno == errno.ENAMETOOLONG:
        return ToolkitError(f"{path} cannot be written: {error.strerror}.", "Give the input a shorter name.")
    remedy = "Check that --out is a folder, its permissions and the free space."
    return ToolkitError(f"{path} cannot be written: {error.strerror}.", remedy, status=4)
