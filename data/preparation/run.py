"""Prepare a data set from annotations and images, with an account of everything that was done.

Images are prepared in chunks. Each chunk leaves its files and, last, a list of them; when a run is
interrupted, the next one prepares the chunks that have no list. Chunks depend on nothing but the
annotations and the options, so interrupted runs, and runs shared among machines, end in the same
bytes.
"""

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hvd.data.preparation import annotations as annotation_files
from hvd.data.preparation import report
from hvd.data.preparation.images import Item, Plan, image_sha256, prepare_image
from hvd.data.preparation.instances import Annotations, Problem
from hvd.data.preparation.matching import match_files
from hvd.data.preparation.options import PrepareOptions
from hvd.data.preparation.split import (
    PARTS,
    assign_parts,
    near_duplicate_groups,
)
from hvd.toolkit.core import ToolkitError
from hvd.toolkit.locking import LOCK, hold_lock
from hvd.toolkit.outputs import (
    is_as_written,
    make_folder,
    to_json,
    unwritable,
    write_bytes,
)
from hvd.toolkit.processes import keep_memory, pool
from hvd.toolkit.tasks.objects.options import SMALLEST
from hvd.toolkit.tasks.objects.types import BACKGROUND, IGNORE, MOST_CLASSES

CHUNK = 64  # images
BEGUN = "options.json"  # a file in the folder of an unfinished run
KINDS = ("images", ".jpg"), ("masks", ".png"), ("instances", ".png")


def prepare_data_set(
    options: PrepareOptions,
    out: Path,
    workers: int,
    shard: tuple[int, int] | None,
    resume: bool,
) -> Iterator[tuple[int, int]]:
    """Prepare a data set in `out`, which appears once all is done.

    Yields how many images are done, and how many there are, after every chunk.

    Parameters
    ----------
    options : what to prepare, and how.
    out : folder for the data set.
    workers : number of processes.
    shard : (i, n) prepares only every n-th chunk, from the i-th on. All shards share `out`, and a
        last run without a shard, with `resume`, puts them together.
    resume : continue an interrupted run.

    Raises
    ------
    ToolkitError
        With status 5 for annotations that cannot be used; with status 4 when there is something at
        `out` or another run writes there; with status 2 for an unfinished run that is not to be
        resumed, or that had other options.
    """
    check_places(options, out)
    annotations = annotation_files.read(options.annotations)
    classes, indices = choose_classes(options, annotations)
    items, problems = match_files(annotations, options.images)

    # Chunks are the unit of work and of resuming.
    plan = Plan(options, indices, len(classes))
    chunks = [items[k : k + CHUNK] for k in range(0, len(items), CHUNK)]
    work = out.with_name(f"{out.name}.unfinished")
    check_work(work)

    # The run has a folder beside `out`, which gets its name once all is done.
    with ExitStack() as stack:
        hold_lock(stack, make_folder(work) / LOCK, shared=shard is not None)
        begin(
            work,
            options,
            annotations.sha256,
            items,
            resume or shard is not None,
        )
        forget_changed(work, options.images, chunks)
        yield from prepare_chunks(work, plan, chunks, workers, shard)
        if shard is None:
            conclude(
                work, out, options, classes, annotations, problems, len(chunks)
            )


def check_places(options: PrepareOptions, out: Path) -> None:
    """Raise ToolkitError unless the inputs exist and the output is new and apart from them."""
    if out.exists() or out.is_symlink():
        remedy = "Move it, or choose another --out."
        raise ToolkitError(f"{out} is there already.", remedy, status=4)

    width, height = options.size
    if min(options.size) < SMALLEST:
        reason = f"--size {width}x{height} is too small."
        raise ToolkitError(reason, f"Give {SMALLEST} pixels or more.", status=2)

    if not options.images.is_dir():
        remedy = "Give --images the folder that holds the images."
        raise ToolkitError(
            f"There is no folder {options.images}.", remedy, status=5
        )

    # Results among the inputs would be read by the next run.
    for folder in (options.images, options.annotations):
        if folder.is_dir() and out.resolve().is_relative_to(folder.resolve()):
            reason = f"--out {out} lies within {folder}, which is read."
            raise ToolkitError(reason, "Choose another --out.", status=2)


def choose_classes(
    options: PrepareOptions, annotations: Annotations
) -> tuple[tuple[str, ...], dict[str, int]]:
    """The classes of masks, a background first, and the index in masks of each chosen category."""
    categories = annotations.categories
    # Without --classes, all categories count.
    chosen = options.classes or tuple(
        name for name in categories if name != BACKGROUND
    )

    unknown = [name for name in chosen if name not in categories]
    if unknown:
        reason = f"The annotations have no class {', '.join(unknown)}."
        known = ", ".join(list(categories)[:20])
        raise ToolkitError(reason, f"They have: {known}.", status=5)

    if len(set(chosen)) < len(chosen) or BACKGROUND in chosen:
        reason = f"--classes {','.join(chosen)} names a class twice, or the background."
        raise ToolkitError(reason, "Name each once.", status=2)

    if report.IGNORED in chosen:
        reason = f"A class is called {report.IGNORED}, as pixels of value {IGNORE} are."
        remedy = "Leave it out of --classes, or give it another name in the annotations."
        raise ToolkitError(reason, remedy, status=5)

    if options.mode == "binary" and chosen:
        name = chosen[0] if len(chosen) == 1 else "object"
        return (BACKGROUND, name), dict.fromkeys(chosen, 1)

    most = MOST_CLASSES - 1  # beside the background
    if not 1 <= len(chosen) <= most:
        remedy = f"Name 1 to {most} with --classes."
        raise ToolkitError(
            f"There are {len(chosen)} classes.", remedy, status=5
        )

    return (BACKGROUND, *chosen), {name: k + 1 for k, name in enumerate(chosen)}


# --- an unfinished run, and continuing it


def check_work(work: Path) -> None:
    """Refuse a folder for unfinished files that no run has begun: ToolkitError with status 4."""
    if not os.path.lexists(work):
        return
    names = {path.name for path in work.iterdir()} if work.is_dir() else {""}
    has_link = any(
        path.is_symlink() for path in (work, *(work / name for name in names))
    )

    # With a lock alone, a run was killed at once, or another one is just beginning.
    is_ours = BEGUN in names or names <= {LOCK}
    if has_link or not is_ours:
        reason = f"{work} holds files of no run."
        raise ToolkitError(
            reason, "Move it, or choose another --out.", status=4
        )


def begin(
    work: Path,
    options: PrepareOptions,
    sha256: str,
    items: list[Item],
    resume: bool,
) -> None:
    """Make the folder of an unfinished run, or check that it was begun in the same way.

    It records the options, and hashes of the annotations and of the list of images.
    """
    # The list of images is kept as a checksum, to notice a changed folder.
    image_list = [
        (item.source, item.name, item.annotated.name) for item in items
    ]
    now = asdict(options) | {
        "annotations": sha256,
        "images": str(options.images),
        "image_list": hashlib.sha256(
            json.dumps(image_list).encode()
        ).hexdigest(),
        "image_count": len(items),
    }

    path = work / BEGUN
    if path.exists():
        if not resume:
            remedy = "Give --resume to go on with it, or remove that folder."
            raise ToolkitError(
                f"An unfinished run lies in {work}.", remedy, status=2
            )
        check_same_run(read_options(path), json.loads(json.dumps(now)), work)
    else:
        write_bytes(path, json.dumps(now, indent=2).encode())

    for name in ("images", "masks", "instances", "chunks"):
        make_folder(work / name)


def check_same_run(
    earlier: dict[str, Any], now: dict[str, Any], work: Path
) -> None:
    """Raise ToolkitError with status 2 when a run was begun with other images or options."""
    if earlier.get("image_list") != now["image_list"]:
        counts = f"{earlier.get('image_count')}, now {now['image_count']}"
        reason = f"The images are others than when the run in {work} was begun: {counts}."
        raise ToolkitError(
            reason, "Remove that folder, and begin anew.", status=2
        )

    if earlier != now:
        reason = f"The run in {work} was begun with other options."
        raise ToolkitError(
            reason, "Resume it as it was begun, or remove it.", 2
        )


def read_options(path: Path) -> dict[str, Any]:
    """The options of an unfinished run, to compare when it is resumed."""
    try:
        options = json.loads(path.read_bytes())
        if not isinstance(options, dict):
            raise ValueError("it is not a JSON object")
    except (OSError, ValueError, RecursionError) as error:
        reason = f"{path} is damaged: {error}."
        raise ToolkitError(
            reason, f"Remove {path.parent}, and begin anew.", status=5
        ) from error

    return options


def forget_changed(work: Path, images: Path, chunks: list[list[Item]]) -> None:
    """Remove the lists of chunks that must be prepared again.

    That is, of chunks whose images or files have changed, or whose list is damaged.
    """
    for k, items in enumerate(chunks):
        path = chunk_list(work, k)
        if not path.exists():
            continue

        records = read_chunk(path) or []
        before = [(record["source"], record["sha256"]) for record in records]
        now = [
            (item.source, image_sha256(images / item.source)) for item in items
        ]
        if before != now or not all(
            is_written(work, record) for record in records
        ):
            path.unlink()


def is_written(work: Path, record: dict[str, Any]) -> bool:
    """Whether the files of an image are as they were written.

    A run that was killed late may have moved them to their part already.
    """
    for name, sha256 in record["files"].items():
        places = (work / name, *(work / part / name for part in PARTS))
        if not any(is_as_written(place, sha256) for place in places):
            return False
    return True


# --- chunks


def prepare_chunks(
    work: Path,
    plan: Plan,
    chunks: list[list[Item]],
    workers: int,
    shard: tuple[int, int] | None,
) -> Iterator[tuple[int, int]]:
    """Prepare the chunks of a shard that have no list yet.

    Yields how many images are done, and how many there are.
    """
    mine = (
        range(len(chunks))
        if shard is None
        else range(shard[0] - 1, len(chunks), shard[1])
    )
    # Lists of earlier runs count: --resume prepares only the rest.
    missing = [k for k in mine if not chunk_list(work, k).exists()]
    total = sum(len(chunks[k]) for k in mine)
    done = total - sum(len(chunks[k]) for k in missing)
    yield done, total

    # More processes than chunks would have nothing to do.
    processes = pool(min(workers, max(1, len(missing))))
    try:
        futures = [
            processes.submit(prepare_chunk, plan, work, k, chunks[k])
            for k in missing
        ]
        for future in as_completed(futures):
            done += future.result()
            yield done, total
    except BrokenProcessPool as error:
        reason = "A process that prepared images was killed."
        raise ToolkitError(
            reason, "Go on with --resume, with fewer --workers."
        ) from error
    finally:
        processes.shutdown(cancel_futures=True)


def prepare_chunk(
    plan: Plan,
    work: Path,
    k: int,
    items: list[Item],
) -> int:
    """Prepare the images of a chunk; returns how many there are."""
    keep_memory()
    lines = []
    for item in items:
        record, files = prepare_image(plan, item)
        record["files"] = {
            part: hashlib.sha256(data).hexdigest()
            for part, data in files.items()
        }
        for part, data in files.items():
            write_plain(work / part, data)
        lines.append(f"{to_json(record)}\n".encode())

    content = b"".join(lines)
    write_bytes(chunk_list(work, k), content + chunk_seal(content))
    return len(items)


def chunk_list(work: Path, k: int) -> Path:
    """The file that a chunk leaves when all its images are done."""
    return work / "chunks" / f"{k:06d}.jsonl"


def chunk_seal(lines: bytes) -> bytes:
    """The last line of the list of a chunk, which shows whether the others were changed."""
    return (
        json.dumps({"sha256": hashlib.sha256(lines).hexdigest()}).encode()
        + b"\n"
    )


def read_chunk(path: Path) -> list[dict[str, Any]] | None:
    """The records of the images of a chunk; None when the list is not as it was written."""
    *lines, last = path.read_bytes().splitlines(keepends=True) or [b""]
    if last != chunk_seal(b"".join(lines)):
        return None
    return [json.loads(line) for line in lines]


def write_plain(path: Path, data: bytes) -> None:
    """Write a file of an unfinished run; a link in its place is removed, not followed."""
    try:
        if path.is_symlink():
            path.unlink()
        path.write_bytes(data)
    except OSError as error:
        raise unwritable(path, error) from error


# --- the finished data set


def conclude(
    work: Path,
    out: Path,
    options: PrepareOptions,
    classes: tuple[str, ...],
    annotations: Annotations,
    problems: list[Problem],
    count: int,
) -> None:
    """Distribute the images among the parts, write the report, and rename the folder."""
    records = records_of_chunks(work, count)
    remove_hidden(work)
    # Near-duplicates go to one part, or a test would know its answers.
    good = [record for record in records if record["status"] == "ok"]
    groups = list(
        near_duplicate_groups([int(record["hash"], 16) for record in good])
    )
    parts = assign_parts(good, groups, options.seed)

    all_problems = [
        asdict(problem) for problem in (*annotations.problems, *problems)
    ]
    for record in records:
        all_problems += record["remarks"]

    # Images without objects are kept for testing, but teach nothing.
    written = []
    for record in good:
        if parts[record["name"]] == "train" and not shows_object(record):
            all_problems += leave_out(record)
        else:
            written.append(record)

    # Refuse an empty data set, and say why nothing was left.
    if not any(shows_object(record) for record in good):
        shutil.rmtree(work)
        refuse_empty(all_problems)

    manifest = move_files(work, written, parts, classes)
    write_class_files(work, classes)
    lines = [json.dumps(line) + "\n" for line in manifest]
    write_bytes(work / "manifest.jsonl", "".join(lines).encode())

    account = report.account_of(
        options, classes, annotations, records, manifest, all_problems
    )
    duplicates = [
        [good[k]["source"] for k in group] for group in groups if len(group) > 1
    ]
    account["near_duplicates"] = duplicates
    write_bytes(work / "report.json", json.dumps(account, indent=1).encode())
    page = report.html_page(account, work, manifest)
    write_bytes(work / "report.html", page.encode(errors="backslashreplace"))

    # All is moved: what is left are empty folders.
    for name in ("images", "masks", "instances", "chunks"):
        shutil.rmtree(work / name)
    (work / LOCK).unlink()
    try:
        work.rename(out)
    except OSError as error:
        raise unwritable(out, error) from error


def records_of_chunks(work: Path, count: int) -> list[dict[str, Any]]:
    """The records of all images; ToolkitError with status 5 when the list of a chunk is damaged."""
    records = []
    for k in range(count):
        path = chunk_list(work, k)
        chunk = read_chunk(path)
        if chunk is None:
            raise ToolkitError(
                f"{path} is damaged.", "Run it again with --resume.", status=5
            )
        records += chunk
    return records


def remove_hidden(work: Path) -> None:
    """Remove the temporary files of processes that were killed while they wrote."""
    for path in work.rglob(".*"):
        if path != work / LOCK and not path.is_dir():
            path.unlink()


def shows_object(record: dict[str, Any]) -> bool:
    """Whether the mask of an image shows an object."""
    return bool({int(value) for value in record["pixels"]} - {0, IGNORE})


def refuse_empty(problems: list[dict[str, Any]]) -> None:
    """Raise ToolkitError with status 5, with the most frequent reasons why nothing is left."""
    reasons = Counter()
    for problem in problems:
        if problem["action"] in ("dropped", "skipped"):
            reasons[problem["reason"]] += 1

    frequent = [
        f"{reason} ({times} times)" for reason, times in reasons.most_common(3)
    ]
    reason = f"No image could be prepared: {'; '.join(frequent)}."
    raise ToolkitError(reason, "Check --images and --annotations.", status=5)


def leave_out(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Leave an image without any object out of train; returns the problems that this makes."""
    file = record["annotations"]
    image = record["source"]
    reason = "it shows no object: left out of train"
    problems = [asdict(Problem(file, "skipped", reason, image))]

    reason = "its image, which shows no object, was left out of train"
    for instance_file, *identity in record["kept"]:
        problems.append(
            asdict(Problem(instance_file, "dropped", reason, image, *identity))
        )
    record["kept"] = []
    return problems


def write_class_files(work: Path, classes: tuple[str, ...]) -> None:
    """Write classes.json into the data set and each of its parts."""
    content = json.dumps(
        {"classes": list(classes), "ignore": IGNORE}, indent=1
    ).encode()
    for part in (".", *PARTS):
        if (work / part).exists():
            write_bytes(work / part / "classes.json", content)


def move_files(
    work: Path,
    records: list[dict[str, Any]],
    parts: dict[str, str],
    classes: tuple[str, ...],
) -> list[dict[str, Any]]:
    """Move the files of images to their parts; returns the lines of the manifest."""
    for part in sorted({parts[record["name"]] for record in records}):
        for kind, _ in KINDS:
            if any((work / kind).iterdir()):
                make_folder(work / part / kind)

    manifest = []
    for record in records:
        name = record["name"]
        part = parts[name]
        for kind, suffix in KINDS:
            # A killed run may have moved the file already, and not all images have instances.
            with suppress(FileNotFoundError):
                source = f"{work}/{kind}/{name}{suffix}"
                os.replace(source, f"{work}/{part}/{kind}/{name}{suffix}")

        pixels = {}
        for value, count in record["pixels"].items():
            index = int(value)
            pixels[report.IGNORED if index == IGNORE else classes[index]] = (
                count
            )
        line = {
            key: record[key]
            for key in ("name", "source", "sha256", "size", "hash")
        }
        manifest.append(line | {"part": part, "pixels": pixels})

    return manifest
