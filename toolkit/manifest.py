"""Collect the records of a run in the order of its inputs, without holding all in memory."""

import heapq
import itertools
import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hvd.toolkit.core import ToolkitError
from hvd.toolkit.outputs import default_mode, to_json, unwritable

MANIFEST = "manifest.jsonl"
SHARD_MANIFEST = re.compile(r"manifest-([1-9]\d{0,5})-of-([1-9]\d{0,5})\.jsonl")
STATUSES = ("ok", "failed", "skipped")
# Records in memory before they are written to a temporary file
MOST_HELD = 1000
MOST_PARTS = 100  # temporary files that are open at once

Shard = tuple[int, int] | None


@dataclass(frozen=True)
class ShardHeader:
    """The first line of a shard's manifest, by which `merge` knows the shards that belong together.

    Attributes
    ----------
    shard : "I/N".
    task : name of the task.
    run : hash of everything that answers depend on besides the inputs.
    inputs : hash of the places and sizes of the inputs of all shards.
    count : number of the inputs of all shards.
    limits : on the pixels of an input, and on the seconds that it may take.
    """

    shard: str
    task: str
    run: str
    inputs: str
    count: int
    limits: tuple[float, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "limits", tuple(self.limits))


def shard_name(shard: Shard) -> str:
    """The file name for the records of a run, or of the i-th of n shards of it."""
    return (
        MANIFEST
        if shard is None
        else f"manifest-{shard[0]}-of-{shard[1]}.jsonl"
    )


def shard_manifests(out: Path) -> list[Path]:
    """The manifests of all shards of a run; ToolkitError with status 5 when one is missing."""
    remedy = "Give the --out of `toolkit predict --shard I/N`."
    shards: dict[tuple[int, int], Path] = {}
    for path in out.glob("manifest-*-of-*.jsonl"):
        match = SHARD_MANIFEST.fullmatch(path.name)
        if match is None or not path.is_file() or path.is_symlink():
            raise ToolkitError(
                f"{path} is the manifest of no shard.", remedy, status=5
            )
        shards[int(match[1]), int(match[2])] = path

    # Shards of different counts overlap: their records cannot be joined.
    counts = {count for _, count in shards}
    if len(counts) != 1:
        several = "shards of several runs" if counts else "no shards of a run"
        if not counts and (out / MANIFEST).exists():
            several = (
                f"no shards, but a {MANIFEST}: they were put together already"
            )
        raise ToolkitError(f"{out} holds {several}.", remedy, status=5)

    (count,) = counts
    if count != len(shards):
        missing = next(
            k for k in range(1, count + 1) if (k, count) not in shards
        )
        reason = f"{out} lacks {shard_name((missing, count))}."
        raise ToolkitError(reason, "Run the other shards first.", status=5)

    return [shards[key] for key in sorted(shards)]


class Manifest:
    """Collects the records of a run; sorted parts of it lie in temporary files in `work`."""

    def __init__(self, work: Path):
        self.work = work
        # Input and line of each record in memory
        self.held: list[tuple[str, str]] = []
        self.parts: list[Path] = []
        self.files_written = 0

    def add(self, record: dict[str, Any]) -> None:
        """Add a record, which names its `input`."""
        self.held.append((record["input"], to_json(record)))
        if len(self.held) >= MOST_HELD:
            self.write_part()

    def write_part(self) -> None:
        """Write the records in memory to a temporary file, sorted."""
        lines = [f"{line}\n" for _, line in sorted(self.held)]
        self.parts.append(self.write(lines))
        self.held = []
        if len(self.parts) >= MOST_PARTS:
            self.join_parts()

    def join_parts(self) -> None:
        """Merge all temporary files into one."""
        parts = self.parts
        self.parts = [self.write(self.lines())]
        for part in parts:
            part.unlink()

    def write(self, lines: Iterable[str]) -> Path:
        """Write lines to a new temporary file."""
        part = self.work / f"{self.files_written:08d}.jsonl"
        self.files_written += 1
        try:
            with open(part, "w") as file:
                file.writelines(lines)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise unwritable(part, error) from error

        return part

    def lines(self) -> Iterator[str]:
        """Yield the lines of all temporary files, in the order of the inputs' names."""
        with ExitStack() as stack:
            parts = [stack.enter_context(open(part)) for part in self.parts]
            before = None
            for line in heapq.merge(*parts, key=input_of):
                if input_of(line) == before:
                    reason = f"There are two records of {before}."
                    raise ToolkitError(reason, "Run it again.", status=5)
                before = input_of(line)
                yield line

    def finish(self, path: Path, header: ShardHeader | None = None) -> None:
        """Write all records, in the order of the inputs' names, to a file."""
        self.write_part()
        first = [f"{to_json(asdict(header))}\n"] if header else []
        complete = self.write(itertools.chain(first, self.lines()))
        try:
            os.chmod(complete, default_mode(0o666))
            os.replace(complete, path)
        except OSError as error:
            raise unwritable(path, error) from error


def input_of(line: str) -> str:
    """The input that a line of a manifest is about."""
    return json.loads(line)["input"]


def read_manifest(path: Path, after: int = 0) -> Iterator[dict[str, Any]]:
    """Yield the records in a manifest, without the first `after` lines.

    Raises ToolkitError with status 5 when a line is no record.
    """
    with open(path, errors="replace") as file:
        for number, line in enumerate(file, 1):
            if number <= after:
                continue
            try:
                # A manifest may have been edited or cut short since it was
                # written.
                record = json.loads(line)
                if not all(
                    isinstance(record[name], str)
                    for name in ("task", "input", "status")
                ):
                    raise TypeError("no text")
                if record["status"] not in STATUSES or not isinstance(
                    record["outputs"], list
                ):
                    raise ValueError("no record")
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                reason = f"Line {number} of {path} is damaged."
                raise ToolkitError(
                    reason, "Run that shard again.", status=5
                ) from error

            yield record


def read_shard(path: Path) -> tuple[ShardHeader, Iterator[dict[str, Any]]]:
    """The header and the records of a shard's manifest.

    Raises ToolkitError with status 5 when it has no header.
    """
    try:
        with open(path, errors="replace") as file:
            header = ShardHeader(**json.loads(file.readline()))
    except (ValueError, TypeError, RecursionError) as error:
        reason = f"{path} is the manifest of no shard."
        raise ToolkitError(reason, "Run that shard again.", status=5) from error
    return header, read_manifest(path, after=1)
