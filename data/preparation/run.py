"""From annotations and images to a data set that a network can be trained on, with an account of everything that was done.

Images are prepared in chunks, each of which leaves its files and, last, a list of them; whatever stops a run, the next one does the
chunks that have no list. Chunks depend on nothing but the annotations and the options, so runs that were cut short, or shared
among machines, end in the same bytes.
"""

import hashlib
import itertools
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, suppress
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any

from hvd.data.preparation import annotations, report
from hvd.data.preparation.images import Item, Plan, image_sha256, prepare_image
from hvd.data.preparation.instances import Annotations, Problem
from hvd.data.preparation.options import PrepareOptions
from hvd.data.preparation.split import PARTS, assign_parts, near_duplicate_groups
from hvd.toolkit.core import ToolkitError
from hvd.toolkit.images import SUFFIXES
from hvd.toolkit.locking import LOCK, hold_lock
from hvd.toolkit.outputs import is_as_written, make_folder, to_json, unwritable, write_bytes
from hvd.toolkit.processes import keep_memory, pool
from hvd.toolkit.tasks.objects.options import SMALLEST
from hvd.toolkit.tasks.objects.types import BACKGROUND, IGNORE

CHUNK = 64  # images
BEGUN = "options.json"  # in the folder of an unfinished run
MOST_CLASSES = 254
LONGEST = 200  # bytes of a name, without its suffix
KINDS = ("images", ".jpg"), ("masks", ".png"), ("instances", ".png")


def prepare_data_set(
    options: PrepareOptions, out: Path, workers: int, shard: tuple[int, int] | None, resume: bool
) -> Iterator[tuple[int, int]]:
    """Prepare a data set in `out`: yields images done, and images in all, chunk by chunk; `out` is there only once all is done.

    With a shard (i, n) only every n-th chunk from the i-th on is prepared, i from 1; the shards of a run share `out`, and a last
    run without one, with `resume`, puts them together. Raises ToolkitError with status 5 for annotations that cannot be used, with
    status 4 when there is something at `out` or another run writes there, and with status 2 for an unfinished run that is not to be
    resumed or was another.
    """
    if out.exists() or out.is_symlink():
        raise ToolkitError(
            f"{out} is there already.", "Move it, or choose another --out.", status=4
        )

    if min(options.size) < SMALLEST:
        raise ToolkitError(
            f"--size {options.size[0]}x{options.size[1]} is too small.",
            f"Give {SMALLEST} pixels or more.",
            status=2,
        )

    if not options.images.is_dir():
        raise ToolkitError(
            f"There is no folder {options.images}.",
            "Give --images the folder that holds the images.",
            status=5,
        )

    if any(
        out.resolve().is_relative_to(p.resolve())
        for p in (options.images, options.annotations)
        if p.is_dir()
    ):
        raise ToolkitError(f"{out} lies within what is read.", "Choose another --out.", status=2)

    found = annotations.read(options.annotations)
    classes, indices = choose_classes(options, found)
    items, problems = match_files(found, options.images)
    plan = Plan(options, indices, len(classes))
    chunks = [items[k : k + CHUNK] for k in range(0, len(items), CHUNK)]
    work = out.with_name(f"{out.name}.unfinished")
    check_work(work)

    with ExitStack() as stack:
        hold_lock(stack, make_folder(work) / LOCK, shared=shard is not None)
        begin(work, options, found.sha256, items, resume or shard is not None)
        forget_changed(work, options.images, chunks)
        yield from chunk_by_chunk(work, plan, chunks, workers, shard)
        if shard is None:
            conclude(work, out, options, classes, found, problems, len(chunks))


def chunk_by_chunk(
    work: Path, plan: Plan, chunks: list[list[Item]], workers: int, shard: tuple[int, int] | None
) -> Iterator[tuple[int, int]]:
    """Prepare the chunks of a shard that have no list yet; yields images done, and images in all."""
    mine = range(len(chunks)) if shard is None else range(shard[0] - 1, len(chunks), shard[1])
    missing = [k for k in mine if not chunk_list(work, k).exists()]
    done = sum(len(chunks[k]) for k in mine) - sum(len(chunks[k]) for k in missing)
    total = sum(len(chunks[k]) for k in mine)
    yield done, total
    processes = pool(min(workers, max(1, len(missing))))

    try:
        for future in as_completed(
            [processes.submit(prepare_chunk, plan, work, k, chunks[k]) for k in missing]
        ):
            done += future.result()
            yield done, total
    except BrokenProcessPool as error:
        raise ToolkitError(
            "A process that prepared images was killed.",
            "Go on with --resume, with fewer --workers.",
        ) from error
    finally:
        processes.shutdown(cancel_futures=True)


def check_work(work: Path) -> None:
    """Refuse a folder for what is unfinished that no run has begun: ToolkitError with status 4."""
    if not os.path.lexists(work):
        return
    names = {path.name for path in work.iterdir()} if work.is_dir() else {""}
    links = any(path.is_symlink() for path in (work, *(work / name for name in names)))
    # a lock alone: of a run that was killed at once, or that comes just before
    if links or not (BEGUN in names or names <= {LOCK}):
        reason = f"{work} holds files of no run."
        raise ToolkitError(reason, "Move it, or choose another --out.", status=4)


def begin(
    work: Path, options: PrepareOptions, sha256: str, items: list[Item], resume: bool
) -> None:
    """Make the folder of an unfinished run, with the options that it was begun with, the SHA-256 of
    its annotations and that of the list of its images; or check that it was begun with the same."""
    listed = [(item.source, item.name, item.annotated.name) for item in items]
    told = asdict(options) | {
        "annotations": sha256,
        "images": str(options.images),
        "image_list": hashlib.sha256(json.dumps(listed).encode()).hexdigest(),
        "image_count": len(items),
    }
    begun = work / BEGUN

    if begun.exists():
        if not resume:
            remedy = "Give --resume to go on with it, or remove that folder."
            raise ToolkitError(f"An unfinished run lies in {work}.", remedy, status=2)
        earlier = read_options(begun)
        if earlier.get("image_list") != told["image_list"]:
            before = earlier.get("image_count")
            now = len(items)
            reason = (
                f"The images are others than when the run in {work} was begun: {before}, now {now}."
            )
            raise ToolkitError(reason, "Remove that folder, and begin anew.", status=2)

        if earlier != json.loads(json.dumps(told)):
            raise ToolkitError(
                f"The run in {work} was begun with other options.",
                "Resume it as it was begun, or remove it.",
                2,
            )
    else:
        write_bytes(begun, json.dumps(told, indent=2).encode())

    for name in ("images", "masks", "instances", "chunks"):
        make_folder(work / name)


def read_options(path: Path) -> dict[str, Any]:
    """The options that a run was begun with; ToolkitError with status 5 when they cannot be read."""
    try:
        earlier = json.loads(path.read_bytes())
        if not isinstance(earlier, dict):
            raise ValueError("it is no object")
    except (OSError, ValueError, RecursionError) as error:
        reason = f"{path} does not say what was begun: {error}."
        raise ToolkitError(reason, f"Remove {path.parent}, and begin anew.", status=5) from error

    return earlier


def forget_changed(work: Path, images: Path, chunks: list[list[Item]]) -> None:
    """Remove the lists of chunks of which an image or a file changed since, or that are damaged:
    they are prepared again."""
    for k, items in enumerate(chunks):
        path = chunk_list(work, k)
        if path.exists():
            records = read_chunk(path)
            before = [(record["source"], record["sha256"]) for record in records or ()]
            now = [(item.source, image_sha256(images / item.source)) for item in items]
            if before != now or not all(is_written(work, record) for record in records):
                path.unlink()


def read_chunk(path: Path) -> list[dict[str, Any]] | None:
    """What the list of a chunk says of each of its images; None when it is not as it was written."""
    *lines, last = path.read_bytes().splitlines(keepends=True) or [b""]
    if last != chunk_seal(b"".join(lines)):
        return None
    return [json.loads(line) for line in lines]


def chunk_seal(lines: bytes) -> bytes:
    """The last line of the list of a chunk, which tells whether the others are as they were."""
    return json.dumps({"sha256": hashlib.sha256(lines).hexdigest()}).encode() + b"\n"


def is_written(work: Path, record: dict[str, Any]) -> bool:
    """Whether the files of an image are as they were written, be it that they were moved to their
    part by a run that was killed then."""
    for name, sha256 in record["files"].items():
        places = (work / name, *(work / part / name for part in PARTS))
        if not any(is_as_written(place, sha256) for place in places):
            return False
    return True


def choose_classes(
    options: PrepareOptions, found: Annotations
) -> tuple[tuple[str, ...], dict[str, int]]:
    """The classes of masks, a background first, and the index of each category that is taken."""
    taken = options.classes or tuple(name for name in found.categories if name != BACKGROUND)
    unknown = [name for name in taken if name not in found.categories]
    if unknown:
        there = ", ".join(list(found.categories)[:20])
        raise ToolkitError(
            f"The annotations know no class {', '.join(unknown)}.", f"They have: {there}.", status=5
        )

    if len(set(taken)) < len(taken) or BACKGROUND in taken:
        raise ToolkitError(
            f"--classes {','.join(taken)} names a class twice, or the background.",
            "Name each once.",
            status=2,
        )

    if report.IGNORED in taken:
        reason = f"A class is called {report.IGNORED}, as pixels of value {IGNORE} are."
        raise ToolkitError(
            reason,
            "Leave it out of --classes, or give it another name in the annotations.",
            status=5,
        )

    if options.mode == "binary" and taken:
        return (BACKGROUND, taken[0] if len(taken) == 1 else "object"), dict.fromkeys(taken, 1)
    if not taken or len(taken) > MOST_CLASSES:
        raise ToolkitError(
            f"There are {len(taken)} classes.",
            f"Name 1 to {MOST_CLASSES} with --classes.",
            status=5,
        )

    return (BACKGROUND, *taken), {name: k + 1 for k, name in enumerate(taken)}


def match_files(found: Annotations, folder: Path) -> tuple[list[Item], list[Problem]]:
    """The files of annotated images, by their names: exact, then of the same name in a subfolder, then without suffix; what has
    no partner is told."""
    files = []
    for base, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        files += [
            Path(base, n).relative_to(folder).as_posix()
            for n in names
            if n.lower().endswith(SUFFIXES) and n[0] != "."
        ]

    files.sort()
    by_path = set(files)
    by_name = {}
    by_stem = {}
    for file in files:
        by_name.setdefault(PurePosixPath(file).name, []).append(file)
        by_stem.setdefault(PurePosixPath(file).stem.removesuffix("_leftImg8bit"), []).append(file)

    problems = []
    pairs = []
    taken = {}
    named = {annotated.name.replace("\\", "/") for annotated in found.images} & by_path

    for annotated in found.images:
        name = annotated.name.replace("\\", "/")
        path = PurePosixPath(name)
        if (
            path.is_absolute()
            or ".." in path.parts
            or any(part.endswith(":") for part in path.parts[:1])
        ):
            reason = "its file name leaves the folder: refused"
            candidates = []
        else:
            whole = path.stem if path.suffix[1:].isalpha() else path.name  # scan.2 has no suffix
            likely = by_name.get(path.name) or by_stem.get(path.name) or by_stem.get(whole) or []
            candidates = (
                [name]
                if name in named
                else [file for file in likely if file not in named and same_folder(path, file)]
            )
            reason = f"several images have this name: {', '.join(candidates[:3])}"
            if not candidates:
                there = os.path.isfile(folder / name)
                reason = (
                    "its file is of no kind that can be read" if there else "there is no such image"
                )

        if len(candidates) == 1 and candidates[0] in taken:
            reason = f"its image is that of {taken[candidates[0]]} already"
            candidates = []
        if len(candidates) != 1:
            problems.append(Problem(annotated.file, "skipped", reason, annotated.name))
            problems += [
                Problem(annotated.file, "dropped", reason, annotated.name, i.id, i.category)
                for i in annotated.instances
            ]
            continue

        taken[candidates[0]] = annotated.name
        pairs.append((annotated, candidates[0]))

    problems += [
        Problem("", "skipped", "the image has no annotations", file)
        for file in files
        if file not in taken
    ]
    stems = Counter(PurePosixPath(source).stem for _, source in pairs)
    used = set()
    items = []

    for annotated, source in sorted(pairs, key=lambda pair: pair[1]):
        stem = PurePosixPath(source).stem
        base = stem if stems[stem] == 1 else source.replace("/", "_").replace(".", "_")
        name = base = (
            base
            if len(os.fsencode(base)) <= LONGEST
            else hashlib.sha256(os.fsencode(source)).hexdigest()
        )
        while name in used:
            name = f"{base}_{len(used)}"
        used.add(name)
        items.append(Item(annotated, source, name))

    return items, problems


def same_folder(named: PurePosixPath, file: str) -> bool:
    """Whether the folders that an annotation names, and those a file lies in, agree as far as both are told."""
    wanted = named.parts[-2::-1]
    found = PurePosixPath(file).parts[-2::-1]
    return all(a == b for a, b in zip(wanted, found, strict=False))


def chunk_list(work: Path, k: int) -> Path:
    """The file that a chunk leaves when all its images are done."""
    return work / "chunks" / f"{k:06d}.jsonl"


def prepare_chunk(plan: Plan, work: Path, k: int, items: list[Item]) -> int:
    """Prepare the images of a chunk; returns how many there are."""
    keep_memory()
    lines = []
    for item in items:
        record, files = prepare_image(plan, item)
        record["files"] = {part: hashlib.sha256(data).hexdigest() for part, data in files.items()}
        for part, data in files.items():
            write_plain(work / part, data)
        lines.append(f"{to_json(record)}\n".encode())

    whole = b"".join(lines)
    write_bytes(chunk_list(work, k), whole + chunk_seal(whole))
    return len(items)


def write_plain(path: Path, data: bytes) -> None:
    """Write a file of a run that is not finished; what lies in its place is no link."""
    try:
        if path.is_symlink():
            path.unlink()
        path.write_bytes(data)
    except OSError as error:
        raise unwritable(path, error) from error


def conclude(
    work: Path,
    out: Path,
    options: PrepareOptions,
    classes: tuple[str, ...],
    found: Annotations,
    problems: list[Problem],
    count: int,
) -> None:
    """Share the images of all chunks among the parts, write what was done, and put the folder in its place."""
    records = []
    for path in (chunk_list(work, k) for k in range(count)):
        chunk = read_chunk(path)
        if chunk is None:
            raise ToolkitError(f"{path} is damaged.", "Run it again with --resume.", status=5)
        records += chunk

    good = [record for record in records if record["status"] == "ok"]
    for path in work.rglob(".*"):  # of a process that was killed while it wrote
        if path != work / LOCK and not path.is_dir():
            path.unlink()

    groups = list(near_duplicate_groups([int(record["hash"], 16) for record in good]))
    parts = assign_parts(good, groups, options.seed)
    told = [asdict(one) for one in (*found.problems, *problems)] + [
        remark for record in records for remark in record["remarks"]
    ]
    left_out = [
        r
        for r in good
        if parts[r["name"]] == "train" and not {int(value) for value in r["pixels"]} - {0, IGNORE}
    ]

    for record in left_out:
        place = record["annotations"], record["source"]
        told.append(
            asdict(Problem(place[0], "skipped", "it shows no object: left out of train", place[1]))
        )
        reason = "its image, which shows no object, was left out of train"
        told += [
            asdict(Problem(file, "dropped", reason, place[1], *which))
            for file, *which in record["kept"]
        ]
        record["kept"] = []

    if not any({int(value) for value in record["pixels"]} - {0, IGNORE} for record in good):
        shutil.rmtree(work)
        reasons = Counter(
            one["reason"] for one in told if one["action"] in ("dropped", "skipped")
        ).most_common(3)
        summed = "; ".join(f"{reason} ({times} times)" for reason, times in reasons)
        raise ToolkitError(
            f"No image could be prepared: {summed}.", "Check --images and --annotations.", status=5
        )

    without = {record["name"] for record in left_out}
    manifest = move_files(
        work, [record for record in good if record["name"] not in without], parts, classes
    )
    described = json.dumps({"classes": list(classes), "ignore": IGNORE}, indent=1).encode()
    for part in (".", *PARTS):
        if (work / part).exists():
            write_bytes(work / part / "classes.json", described)

    write_bytes(
        work / "manifest.jsonl", "".join(json.dumps(line) + "\n" for line in manifest).encode()
    )
    account = report.account_of(options, classes, found, records, manifest, told)
    account["near_duplicates"] = [
        [good[k]["source"] for k in group] for group in groups if len(group) > 1
    ]
    write_bytes(work / "report.json", json.dumps(account, indent=1).encode())
    write_bytes(
        work / "report.html",
        report.html_page(account, work, manifest).encode(errors="backslashreplace"),
    )
    for name in ("images", "masks", "instances", "chunks"):
        shutil.rmtree(work / name)
    (work / LOCK).unlink()

    try:
        work.rename(out)
    except OSError as error:
        raise unwritable(out, error) from error


def move_files(
    work: Path, records: list[dict[str, Any]], parts: dict[str, str], classes: tuple[str, ...]
) -> list[dict[str, Any]]:
    """Move the files of images to their parts; returns the lines of the manifest."""
    manifest = []
    for part, (kind, _) in itertools.product(
        sorted({parts[record["name"]] for record in records}), KINDS
    ):
        if any((work / kind).iterdir()):
            make_folder(work / part / kind)

    for record in records:
        part = parts[record["name"]]
        for kind, suffix in KINDS:
            with suppress(
                FileNotFoundError
            ):  # of a run that was killed here some are moved already, and not all have instances
                os.replace(
                    f"{work}/{kind}/{record['name']}{suffix}",
                    f"{work}/{part}/{kind}/{record['name']}{suffix}",
                )

        pixels = {
            classes[int(v)] if int(v) != IGNORE else report.IGNORED: n
            for v, n in record["pixels"].items()
        }
        manifest.append(
            {k: record[k] for k in ("name", "source", "sha256", "size", "hash")}
            | {"part": part, "pixels": pixels}
        )

    return manifest
