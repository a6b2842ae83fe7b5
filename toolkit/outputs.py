"""Write outputs that are complete or absent: written elsewhere, then renamed into place."""

import errno
import hashlib
import json
import math
import os
import shutil
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hvd.toolkit.core import ToolkitError

RECORD = "record.json"  # in the folder of each input's results

UMASK = threading.Lock()


def default_mode(mode: int) -> int:
    """The mode of a new file (0o666) or folder (0o777) under the umask of the process."""
    with UMASK:  # the umask can only be read by setting it
        umask = os.umask(0o077)
        os.umask(umask)
    return mode & ~umask


def write_bytes(path: Path, data: bytes, work: Path | None = None) -> None:
    """Write a file at once: after a crash it is the old one or the new one, never a part.

    Parameters
    ----------
    path : of the file; its folder is made.
    data : its content.
    work : folder on the same file system for the temporary file, such as `lock_output` yields;
        beside the file when None.

    Raises
    ------
    ToolkitError : status 1 for a name that is too long, else 4.
    """
    # Write a temporary file and rename it, which file systems do at once.
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(
            dir=work or path.parent, prefix=".unfinished-"
        )
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())

            # mkstemp makes files that nobody else may read.
            os.chmod(temporary, default_mode(0o666))
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise unwritable(path, error) from error


def to_json(
    value: Any, indent: int | None = None, sort_keys: bool = False
) -> str:
    """Strict JSON, in which null stands for NaN and infinite numbers.

    >>> to_json({"mean": math.nan})
    '{"mean": null}'
    """
    return json.dumps(
        finite(value), indent=indent, sort_keys=sort_keys, allow_nan=False
    )


def finite(value: Any) -> Any:
    """A value with None in place of NaN and infinite numbers."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite(one) for one in value]
    return value


def cell(value: Any) -> Any:
    """A value for a table that spreadsheets open.

    Text that they would take for a formula gets an apostrophe in front.

    >>> cell("=1+1")
    "'=1+1"
    """
    if isinstance(value, str) and value.startswith(
        ("=", "+", "-", "@", "\t", "\r")
    ):
        return f"'{value}"
    return value


def make_folder(path: Path) -> Path:
    """Make a folder unless it exists, and return it; ToolkitError with status 4 when that fails."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(path, error) from error
    return path


@contextmanager
def whole_folder(
    path: Path, replaces: Mapping[str, str | None], work: Path | None = None
) -> Iterator[Path]:
    """Yield a folder to fill, which replaces `path` when the block ends without an error.

    Parameters
    ----------
    path : the folder.
    replaces : the files that it may hold before, by name, with their SHA-256, or None for any
        content. When it holds others it is left as it is: ToolkitError with status 4.
    work : where the folder is filled; beside `path` when None.
    """
    if path.is_symlink() or (path.exists() and not holds_only(path, replaces)):
        raise strange_files(path, replaces)

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(
            tempfile.mkdtemp(dir=work or path.parent, prefix=".unfinished-")
        )
    except OSError as error:
        raise unwritable(path, error) from error

    old = temporary.with_name(f"{temporary.name}.old")
    try:
        yield temporary
        # mkdtemp makes folders that nobody else may read.
        temporary.chmod(default_mode(0o777))
        if path.exists():
            path.rename(old)
            if not holds_only(old, replaces):  # changed since we looked
                raise strange_files(path, {})
        temporary.rename(path)
    except OSError as error:
        raise unwritable(path, error) from error
    # Put the old folder back when the new one did not take its place.
    finally:
        if old.exists() and not path.exists():
            old.rename(path)
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def strange_files(
    path: Path, replaces: Mapping[str, str | None]
) -> ToolkitError:
    """The error for a folder that holds somebody else's files, or files that were changed."""
    reason = f"{path} holds files that no earlier result accounts for"
    files = (
        sorted(path.iterdir())
        if path.is_dir() and not path.is_symlink()
        else []
    )
    # Name one file, so that the user knows where to look.
    for file in files:
        if not is_as_written(file, replaces.get(file.name, "")):
            changed = (
                "was changed since it was written"
                if file.name in replaces
                else "is not ours"
            )
            reason += f": {file.name} {changed}"
            break

    return ToolkitError(
        f"{reason}.", "Move it, or choose another --out.", status=4
    )


def holds_only(folder: Path, files: Mapping[str, str | None]) -> bool:
    """Whether a folder holds nothing but files of these names and SHA-256."""
    if not folder.is_dir():
        return False
    for path in folder.iterdir():
        if path.name not in files or not is_as_written(path, files[path.name]):
            return False
    return True


def is_as_written(path: Path, sha256: str | None) -> bool:
    """Whether a path is a plain file with that SHA-256; None means any content."""
    if path.is_symlink() or not path.is_file():
        return False
    return (
        sha256 is None
        or hashlib.sha256(path.read_bytes()).hexdigest() == sha256
    )


# --- files of an entire run; a later run may replace only those that an earlier one wrote

RUN = "run.json"  # names the files that a run wrote beside its manifest, with their SHA-256


def read_plain(path: Path) -> bytes:
    """The bytes of a plain file; raises OSError for a pipe, which would make us wait."""
    if not path.is_file():
        raise FileNotFoundError(path)
    return path.read_bytes()


def recorded_files(folder: Path) -> dict[str, list[str]] | None:
    """The files of the previous run, with the SHA-256 that each may have.

    None when there is no record of a run.
    """
    try:
        files = json.loads(read_plain(folder / RUN))["files"]
        return {
            str(name): [str(sha256) for sha256 in hashes]
            for name, hashes in files.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def check_replaceable(folder: Path, names: Iterable[str]) -> None:
    """Refuse to overwrite run files that we did not write: ToolkitError with status 4."""
    names = tuple(names)
    if not names:
        return

    # Without a record of its own, no file here can be known as ours.
    recorded = recorded_files(folder)
    strange = [
        name
        for name in names
        if not is_replaceable(folder / name, recorded or {})
    ]
    if recorded is None and os.path.lexists(folder / RUN):
        strange.append(RUN)

    if strange:
        files = ", ".join(strange)
        reason = f"{folder} holds {files}, which a run would replace, but did not write as it is."
        raise ToolkitError(
            reason, "Move it, or choose another --out.", status=4
        )


def is_replaceable(path: Path, recorded: dict[str, list[str]]) -> bool:
    """Whether a file is absent, or still as an earlier run wrote it."""
    if not os.path.lexists(path):
        return True
    return any(
        is_as_written(path, sha256) for sha256 in recorded.get(path.name, ())
    )


def replace_files(folder: Path, contents: dict[str, bytes], work: Path) -> None:
    """Write the files of a run, remove those of the previous one, and record what was written.

    Unfinished files lie in `work`.
    """
    recorded = recorded_files(folder)
    if not contents and not recorded:
        return
    check_replaceable(folder, contents)
    old = recorded or {}
    new = {
        name: [hashlib.sha256(data).hexdigest()]
        for name, data in contents.items()
    }

    # Should we be killed between here and the end, both versions of a file are ours.
    both = {
        name: old.get(name, []) + new.get(name, []) for name in {**old, **new}
    }
    write_record(folder, both, work)

    for name, data in contents.items():
        write_bytes(folder / name, data, work)
    for name in old.keys() - new.keys():
        if is_replaceable(folder / name, old):
            (folder / name).unlink(missing_ok=True)

    write_record(folder, new, work)


def write_record(folder: Path, files: dict[str, list[str]], work: Path) -> None:
    """Record which files a run wrote; without any, the record is removed."""
    if files:
        write_bytes(
            folder / RUN, to_json({"files": files}, indent=1).encode(), work
        )
    else:
        (folder / RUN).unlink(missing_ok=True)


def unwritable(path: Path, error: OSError) -> ToolkitError:
    """The error for an output that the system refused to write.

    Status 4 ends the run, but a name that is too long concerns one input alone: status 1.
    """
    if error.errno == errno.ENAMETOOLONG:
        reason = f"{path} cannot be written: {error.strerror}."
        return ToolkitError(reason, "Give the input a shorter name.")

    # NumPy raises errors of its own when a disk is full.
    why = error.strerror or error
    remedy = "Check that --out is a folder, its permissions and the free space."
    return ToolkitError(f"{path} cannot be written: {why}.", remedy, status=4)
