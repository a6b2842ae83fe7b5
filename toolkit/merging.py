"""Merge the shards of a run: their manifests become one, as a single run would have left it."""

from pathlib import Path
from typing import Any

from hvd.toolkit import registry
from hvd.toolkit.core import ToolkitError
from hvd.toolkit.locking import lock_output
from hvd.toolkit.manifest import (
    MANIFEST,
    Manifest,
    ShardHeader,
    read_shard,
    shard_manifests,
)
from hvd.toolkit.outputs import check_replaceable
from hvd.toolkit.prediction import check_manifest, conclude


def merge_shards(out: Path) -> Path:
    """Merge the manifests of all shards in `out`, as a single run would have left them.

    Returns the path of the manifest. Raises ToolkitError with status 5 when the shards do not
    belong to one run over the same inputs, with status 4 when files there are not ours.
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
            # Check each record: shards may come from other machines.
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
            reason = f"Records in {out} lack fields that {task.name} summarises: {error!r}."
            raise ToolkitError(
                reason, "Run the shards again.", status=5
            ) from error

        # Only now, when the joined manifest exists, may the parts go.
        for part in parts:
            part.unlink()

    return out / MANIFEST


def check_headers(parts: list[Path]) -> ShardHeader:
    """What the shards of a run have in common; ToolkitError with status 5 when they differ."""
    first = read_shard(parts[0])[0]
    for part in parts:
        header = read_shard(part)[0]
        numbers = part.stem.removeprefix("manifest-").replace("-of-", "/")
        if header.shard != numbers:
            reason = f"{part} is of shard {header.shard}."
            raise ToolkitError(reason, "Run that shard again.", status=5)

        names = f"{parts[0].name} and {part.name}"
        if (header.task, header.run, header.limits) != (
            first.task,
            first.run,
            first.limits,
        ):
            reason = f"{names} are shards of different runs."
            remedy = "Run all shards with one version, method and network, and the same options."
            raise ToolkitError(reason, remedy, status=5)

        # A file may have been added between two shards.
        if (header.inputs, header.count) != (first.inputs, first.count):
            reason = f"{names} are shards of different inputs."
            raise ToolkitError(
                reason, "Run all shards over the same files.", status=5
            )

    if first.task not in registry.TASKS:
        raise ToolkitError(
            f"{parts[0]} is of an unknown task.", "Run it again.", status=5
        )
    return first


def check_record(
    record: dict[str, Any], header: ShardHeader, part: Path
) -> None:
    """Raise ToolkitError with status 5 for a record that belongs to another run than its shard."""
    if (record["task"], record.get("run", header.run)) != (
        header.task,
        header.run,
    ):
        reason = f"{part} holds a record of another run, of {record['input']}."
        raise ToolkitError(reason, "Run that shard again.", status=5)
