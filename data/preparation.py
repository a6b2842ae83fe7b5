"""From annotations and images to a data set that a network can be trained on, with an account of everything that was done.

Images are prepared in chunks, each of which leaves its files and, last, a list of them; whatever stops a run, the next one does the
chunks that have no list. Chunks depend on nothing but the annotations and the options, so runs that were cut short, or shared
among machines, end in the same bytes.
"""

import hashlib
import io
import itertools
import json
import os
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np
from PIL import ExifTags, Image

from data import annotations, preparation_report, rasters
from data.annotations import Annotated, Problem
from toolkit.core import ToolkitError
from toolkit.images import FORMATS, SUFFIXES, check_header, quiet, read_bytes
from toolkit.manifest import LOCK, hold
from toolkit.outputs import made_folder, unwritable, write_bytes
from toolkit.processes import pool
from toolkit.tasks.objects import BACKGROUND, IGNORE

PARTS = {"train": 0.8, "val": 0.1, "test": 0.1}
MODES, FITS = ("classes", "binary", "instances"), ("letterbox", "crop", "stretch")
CHUNK = 64  # images
MOST_CLASSES = 254
MOST_INSTANCES = 65535  # in a mask of 16 bits
QUALITY = 95  # of JPEG, colours at full resolution
SURROUND = 104, 116, 124  # BGR, around a picture in a letterbox: the mean of photographs
ALIKE = 4  # of 64 bits of their hashes in which near-duplicates may differ
BANDS = 5  # into which a hash is cut: two that differ in ALIKE bits have one in common


@dataclass(frozen=True)
class Options:
    """How a data set is prepared. `classes`: categories to take, in the order of their indices; none: all. `size`: width and height
    of what is written; `fit`: whether images are shrunk into it, cut to it, or stretched; `priority`: see rasters.label_map."""

    annotations: Path
    images: Path
    classes: tuple[str, ...] = ()
    mode: str = "classes"
    size: tuple[int, int] = (256, 256)
    fit: str = "letterbox"
    priority: str = "area"
    boxes: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Item:
    """An image to prepare: its annotations, its file relative to the images' folder, and its name in the data set."""

    annotated: Annotated
    source: str
    name: str


@dataclass(frozen=True)
class Plan:
    """What every chunk is prepared by."""

    options: Options
    indices: dict[str, int]
    count: int


def prepared(options: Options, out: Path, workers: int, shard: tuple[int, int] | None, resume: bool) -> Iterator[tuple[int, int]]:
    """Prepare a data set in `out`: yields images done, and images in all, chunk by chunk; `out` is there only once all is done.

    With a shard (i, n) only every n-th chunk from the i-th on is prepared, i from 1; the shards of a run share `out`, and a last
    run without one, with `resume`, puts them together. Raises ToolkitError with status 5 for annotations that cannot be used, with
    status 4 when there is something at `out` or another run writes there, and with status 2 for an unfinished run that is not to be
    resumed or was another.
    """
    if out.exists() or out.is_symlink():
        raise ToolkitError(f"{out} is there already.", "Move it, or choose another --out.", status=4)
    if not options.images.is_dir():
        raise ToolkitError(f"There is no folder {options.images}.", "Give --images the folder that holds the images.", status=5)
    if any(out.resolve().is_relative_to(p.resolve()) for p in (options.images, options.annotations) if p.is_dir()):
        raise ToolkitError(f"{out} lies within what is read.", "Choose another --out.", status=2)
    found = annotations.read(options.annotations)
    classes, indices = chosen_classes(options, found)
    items, problems = matched(found, options.images)
    plan = Plan(options, indices, len(classes))
    chunks = [items[k : k + CHUNK] for k in range(0, len(items), CHUNK)]
    work = out.with_name(f"{out.name}.unfinished")
    with ExitStack() as stack:
        hold(stack, made_folder(work) / LOCK, shared=shard is not None)
        begin(work, options, resume or shard is not None)
        yield from chunk_by_chunk(work, plan, chunks, workers, shard)
        if shard is None:
            conclude(work, out, options, classes, found, problems, len(chunks))


def chunk_by_chunk(
    work: Path, plan: Plan, chunks: list[list[Item]], workers: int, shard: tuple[int, int] | None
) -> Iterator[tuple[int, int]]:
    """Prepare the chunks of a share that have no list yet; yields images done, and images in all."""
    mine = range(len(chunks)) if shard is None else range(shard[0] - 1, len(chunks), shard[1])
    missing = [k for k in mine if not chunk_list(work, k).exists()]
    done = sum(len(chunks[k]) for k in mine) - sum(len(chunks[k]) for k in missing)
    total = sum(len(chunks[k]) for k in mine)
    yield done, total
    processes = pool(min(workers, max(1, len(missing))))
    try:
        for future in as_completed([processes.submit(prepare_chunk, plan, work, k, chunks[k]) for k in missing]):
            done += future.result()
            yield done, total
    except BrokenProcessPool as error:
        raise ToolkitError("A process that prepared images was killed.", "Go on with --resume, with fewer --workers.") from error
    finally:
        processes.shutdown(cancel_futures=True)


def begin(work: Path, options: Options, resume: bool) -> None:
    """The folder of an unfinished run, with the options it was begun with."""
    whole = hashlib.sha256()
    for file in annotations.annotation_files(options.annotations):
        with suppress(ToolkitError):  # annotations.read tells of files that cannot be read
            whole.update(read_bytes(file))
    told = asdict(options) | {"annotations": whole.hexdigest(), "images": str(options.images)}
    begun = work / "options.json"
    if begun.exists():
        if not resume:
            remedy = "Give --resume to go on with it, or remove that folder."
            raise ToolkitError(f"An unfinished run lies in {work}.", remedy, status=2)
        if json.loads(begun.read_text()) != json.loads(json.dumps(told)):
            raise ToolkitError(f"The run in {work} was begun with other options.", "Resume it as it was begun, or remove it.", 2)
    elif work.exists() and any(not path.name.startswith(".") for path in work.iterdir()):
        raise ToolkitError(f"{work} holds files of no run.", "Move it, or choose another --out.", status=4)
    else:
        write_bytes(begun, json.dumps(told, indent=2).encode())
    for name in ("images", "masks", "instances", "chunks"):
        made_folder(work / name)


def chosen_classes(options: Options, found: annotations.Annotations) -> tuple[tuple[str, ...], dict[str, int]]:
    """The classes of masks, a background first, and the index of each category that is taken."""
    taken = options.classes or tuple(name for name in found.categories if name != BACKGROUND)
    unknown = [name for name in taken if name not in found.categories]
    if unknown:
        there = ", ".join(list(found.categories)[:20])
        raise ToolkitError(f"The annotations know no class {', '.join(unknown)}.", f"They have: {there}.", status=5)
    if len(set(taken)) < len(taken) or BACKGROUND in taken:
        raise ToolkitError(f"--classes {','.join(taken)} names a class twice, or the background.", "Name each once.", status=2)
    if options.mode == "binary" and taken:
        return (BACKGROUND, taken[0] if len(taken) == 1 else "object"), dict.fromkeys(taken, 1)
    if not taken or len(taken) > MOST_CLASSES:
        raise ToolkitError(f"There are {len(taken)} classes.", f"Name 1 to {MOST_CLASSES} with --classes.", status=5)
    return (BACKGROUND, *taken), {name: k + 1 for k, name in enumerate(taken)}


def matched(found: annotations.Annotations, folder: Path) -> tuple[list[Item], list[Problem]]:
    """The files of annotated images, by their names: exact, then of the same name in a subfolder, then without suffix; what has
    no partner is told."""
    files = []
    for base, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        files += [Path(base, n).relative_to(folder).as_posix() for n in names if n.lower().endswith(SUFFIXES) and n[0] != "."]
    files.sort()
    by_path, by_name, by_stem = set(files), {}, {}
    for file in files:
        by_name.setdefault(PurePosixPath(file).name, []).append(file)
        by_stem.setdefault(PurePosixPath(file).stem.removesuffix("_leftImg8bit"), []).append(file)
    problems, pairs, taken = [], [], {}
    named = {annotated.name.replace("\\", "/") for annotated in found.images} & by_path
    for annotated in found.images:
        name = annotated.name.replace("\\", "/")
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or any(part.endswith(":") for part in path.parts[:1]):
            reason, candidates = "its file name leaves the folder: refused", []
        else:
            likely = by_name.get(path.name) or by_stem.get(path.name) or by_stem.get(path.stem) or []
            candidates = [name] if name in named else [file for file in likely if file not in named and same_folder(path, file)]
            reason = "there is no such image" if not candidates else f"several images have this name: {', '.join(candidates[:3])}"
        if len(candidates) == 1 and candidates[0] in taken:
            reason, candidates = f"its image is that of {taken[candidates[0]]} already", []
        if len(candidates) != 1:
            problems.append(Problem(annotated.file, "skipped", reason, annotated.name))
            problems += [Problem(annotated.file, "dropped", reason, annotated.name, i.id, i.category) for i in annotated.instances]
            continue
        taken[candidates[0]] = annotated.name
        pairs.append((annotated, candidates[0]))
    problems += [Problem("", "skipped", "the image has no annotations", file) for file in files if file not in taken]
    stems, used, items = Counter(PurePosixPath(source).stem for _, source in pairs), set(), []
    for annotated, source in sorted(pairs, key=lambda pair: pair[1]):
        stem = PurePosixPath(source).stem
        name = base = stem if stems[stem] == 1 else source.replace("/", "_").replace(".", "_")
        while name in used:
            name = f"{base}_{len(used)}"
        used.add(name)
        items.append(Item(annotated, source, name))
    return items, problems


def same_folder(named: PurePosixPath, file: str) -> bool:
    """Whether the folders that an annotation names, and those a file lies in, agree as far as both are told."""
    wanted, found = named.parts[-2::-1], PurePosixPath(file).parts[-2::-1]
    return all(a == b for a, b in zip(wanted, found, strict=False))


# --- one image


def chunk_list(work: Path, k: int) -> Path:
    """The file that a chunk leaves when all its images are done."""
    return work / "chunks" / f"{k:06d}.jsonl"


def prepare_chunk(plan: Plan, work: Path, k: int, items: list[Item]) -> int:
    """Prepare the images of a chunk; returns how many there are."""
    cv2.setNumThreads(1)
    lines = []
    for item in items:
        record, files = prepared_image(plan, item)
        for part, data in files.items():
            try:
                (work / part).write_bytes(data)
            except OSError as error:
                raise unwritable(work / part, error) from error
        lines.append(json.dumps(record))
    write_bytes(chunk_list(work, k), ("\n".join(lines) + "\n").encode())
    return len(items)


def prepared_image(plan: Plan, item: Item) -> tuple[dict[str, Any], dict[str, bytes]]:
    """What the manifest and the report say of an image, and its files by their names; none when it is skipped."""
    options, annotated = plan.options, item.annotated
    remarks: list[Problem] = []

    def remark(action: str, reason: str, instance: str = "", category: str = "") -> None:
        remarks.append(Problem(annotated.file, action, reason, item.source, instance, category))

    record = {"name": item.name, "source": item.source, "annotations": annotated.file, "status": "ok"}
    try:
        image, shape, sha256 = read_turned(options, item, remark)
    except ToolkitError as error:
        remark("skipped", error.reason)
        for instance in annotated.instances:
            remark("dropped", "its image was skipped", instance.id, instance.category)
        return record | {"status": "skipped", "remarks": [asdict(one) for one in remarks], "kept": 0}, {}
    found = []
    for instance in annotated.instances:
        if instance.category not in plan.indices:
            remark("dropped", "its class is not taken", instance.id, instance.category)
            continue
        one, told = rasters.painted(instance, shape, options.boxes)
        for r in told:
            remark(r.action, r.reason, instance.id, instance.category)
        if one:
            found.append(one)
    labels, numbers, order = rasters.label_map(found, shape, plan.indices, options.priority)
    for one in found:
        if one.instance.crowd and not (labels[one.where][one.pixels] == IGNORE).any():
            remark("noted", "a crowd that lies wholly under others", one.instance.id, one.instance.category)
    picture, mask, instances, place = fitted(image, labels, numbers, options)
    if instances is not None:  # of objects that share a pixel each may have less of it than what lies around, and together more
        owners = np.array([0, *(plan.indices[one.instance.category] for one in order)], np.uint8)
        mask = np.where(instances > 0, owners[instances], np.where(mask == IGNORE, mask, 0))
    if instances is not None and len(order) > MOST_INSTANCES:
        remark("noted", f"it has {len(order)} instances: those beyond {MOST_INSTANCES} are not told apart")
    shown_as = [plan.indices[one.instance.category] if instances is None else k + 1 for k, one in enumerate(order)]
    kept, given = len(found), lone_pixels(order, numbers, mask if instances is None else instances, shown_as, place)
    for k, one in enumerate(order):
        visible = numbers[one.where] == k + 1
        told = "it lies wholly under others"
        if visible.any():
            told = seen_as(one, visible, k + 1, plan.indices[one.instance.category], mask, instances, place, given)
        if told == OUTSIDE:
            kept -= 1
            remark("dropped", told, one.instance.id, one.instance.category)
        elif told:
            remark("noted", told, one.instance.id, one.instance.category)
    checked(picture, mask, plan)
    files = {f"images/{item.name}.jpg": encoded(".jpg", picture), f"masks/{item.name}.png": encoded(".png", mask)}
    if options.mode == "instances":
        files[f"instances/{item.name}.png"] = encoded(".png", np.minimum(instances, MOST_INSTANCES).astype(np.uint16))
    counts = np.bincount(mask.ravel())
    pixels = {int(value): int(counts[value]) for value in np.flatnonzero(counts)}
    told = {"sha256": sha256, "size": list(shape[::-1]), "pixels": pixels, "hash": f"{likeness(picture):016x}"}
    covered = (numbers > 0) | (labels == IGNORE)
    told["overlap"] = int(sum(one.pixels.sum() for one in found) - covered.sum())
    return record | told | {"kept": kept, "remarks": [asdict(one) for one in remarks]}, files


def read_turned(options: Options, item: Item, remark: Any) -> tuple[np.ndarray, tuple[int, int], str]:
    """An image BGR, at least as large as what is written of it needs, its height and width as the annotations mean them, and the
    SHA-256 of its file.

    Annotations that tell the size of the file's own pixels mean these, as COCO's do; those that tell the size of the image as its
    EXIF orientation shows it, or no size, mean that one; any other size is refused.
    """
    data = read_bytes(options.images / item.source)
    check_header(data, "it")
    try:
        header = Image.open(io.BytesIO(data), formats=FORMATS)
        stored = header.size
    except Exception as error:  # Pillow's errors share no base class
        raise ToolkitError("it is no image that can be read", "") from error
    try:
        turn = header.getexif().get(ExifTags.Base.Orientation, 1) if "exif" in header.info else 1
    except Exception:  # of a header that is damaged, or of another program's making
        turn = 1
        remark("noted", "its EXIF data are damaged: taken as upright")
    told = item.annotated.size
    shown = stored[::-1] if turn in (5, 6, 7, 8) else stored
    if told not in (None, stored, shown):
        raise ToolkitError(f"it is {stored[0]} x {stored[1]}, its annotations are for {told[0]} x {told[1]}", "")
    upright = turn != 1 and told != stored
    if turn != 1:
        why = "as the annotations' size tells" if told and stored != shown else "though the size tells nothing of it"
        remark("noted", f"EXIF orientation {turn}: {'applied' if upright else 'not applied'}, {why}")
    size = shown if upright else stored
    scale = needed_scale(size, options)
    flags = {1: cv2.IMREAD_COLOR, 2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4}[scale]
    try:
        with quiet():
            image = cv2.imdecode(np.frombuffer(data, np.uint8), flags if upright else flags | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise ToolkitError("it has too many pixels", "") from error
    if image is None:
        raise ToolkitError("it is damaged or cut short", "")
    if max(abs(scale * got - side) for got, side in zip(image.shape, size[::-1], strict=False)) >= scale:
        raise ToolkitError(f"it was read as {image.shape[1]} x {image.shape[0]}, not {size[0]} x {size[1]}", "")
    return image, size[::-1], hashlib.sha256(data).hexdigest()


def needed_scale(size: tuple[int, int], options: Options) -> int:
    """How much smaller an image may be decoded, and still be shrunk further."""
    ratios = [have / want for have, want in zip(size, options.size, strict=True)]
    least = max(ratios) if options.fit == "letterbox" else min(ratios)
    return 4 if least >= 4 else 2 if least >= 2 else 1


def fitted(
    image: np.ndarray, labels: np.ndarray, numbers: np.ndarray, options: Options
) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple]:
    """Picture, classes and instances at the size that is written, and where the image came to lie: scales, offsets of x and y."""
    width, height = options.size
    rows, columns = labels.shape
    left = top = 0
    if options.fit == "crop":
        scale = max(width / columns, height / rows)
        wide, high = max(1, min(columns, round(width / scale))), max(1, min(rows, round(height / scale)))
        left, top = (columns - wide) // 2, (rows - high) // 2
        smaller = columns / image.shape[1]  # when it was decoded so
        first, last = (int(left / smaller), int(top / smaller)), (round((left + wide) / smaller), round((top + high) / smaller))
        image = image[first[1] : max(last[1], first[1] + 1), first[0] : max(last[0], first[0] + 1)]
        labels, numbers = (part[top : top + high, left : left + wide] for part in (labels, numbers))
        rows, columns = high, wide
    size = width, height
    if options.fit == "letterbox":
        scale = min(width / columns, height / rows)
        size = max(1, round(columns * scale)), max(1, round(rows * scale))
    shrinks = size[0] < image.shape[1]
    picture = cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    mask, instances = rasters.voted(labels, size), rasters.voted(numbers, size) if options.mode == "instances" else None
    x, y = (width - size[0]) // 2, (height - size[1]) // 2

    def placed(array: np.ndarray, around: Any) -> np.ndarray:
        whole = np.full((height, width, *array.shape[2:]), around, array.dtype)
        whole[y : y + size[1], x : x + size[0]] = array
        return whole

    scales = size[0] / columns, size[1] / rows
    place = scales, (x - left * scales[0], y - top * scales[1])
    return placed(picture, SURROUND), placed(mask, IGNORE), placed(instances, 0) if instances is not None else None, place


OUTSIDE = "it lies outside of what is cut from the image"


def seen_as(
    one: rasters.Painted,
    visible: np.ndarray,
    number: int,
    index: int,
    mask: np.ndarray,
    instances: np.ndarray | None,
    place: tuple,
    given: set[int],
) -> str:
    """What is to be noted of how an instance is seen in the mask: nothing, when it is; that it lies OUTSIDE; or that it had
    vanished, and was given the pixel where most of it lies, unless all such pixels were `given` to others."""
    (across, down), (x, y) = place
    step = max(1, int(visible.size**0.5 / 32))  # of a large one some pixels will do
    sampled = visible[::step, ::step]
    rows, columns = (step * part for part in np.nonzero(sampled)) if sampled.any() else np.nonzero(visible)
    rows = np.floor((rows + one.top + 0.5) * down + y).astype(int)
    columns = np.floor((columns + one.left + 0.5) * across + x).astype(int)
    inside = (rows >= 0) & (rows < mask.shape[0]) & (columns >= 0) & (columns < mask.shape[1])
    if not inside.any():
        return OUTSIDE
    rows, columns = rows[inside], columns[inside]
    shown = mask[rows, columns] == index if instances is None else instances[rows, columns] == number
    if shown.any():
        return ""
    flat, counts = np.unique(rows * mask.shape[1] + columns, return_counts=True)
    free = np.array([int(pixel) not in given for pixel in flat])
    if not free.any():
        return "so small that others take all of its pixels"
    pixel = int(flat[free][counts[free].argmax()])
    given.add(pixel)
    row, column = divmod(pixel, mask.shape[1])
    mask[row, column] = index
    if instances is not None:
        instances[row, column] = number
    return "so small that it is kept as one pixel"


def lone_pixels(order: list[rasters.Painted], numbers: np.ndarray, mask: np.ndarray, shown_as: list[int], place: tuple) -> set[int]:
    """The pixels of a mask, of classes or of instances, that are the only ones in which an instance shows, by the value that it is
    `shown_as`: none may be taken."""
    (across, down), (x, y) = place
    found = set()
    for k, one in enumerate(order):
        if one.pixels.shape[0] * down > 2 or one.pixels.shape[1] * across > 2:
            continue
        rows, columns = np.nonzero(numbers[one.where] == k + 1)
        places = set(
            zip(np.floor((rows + one.top + 0.5) * down + y), np.floor((columns + one.left + 0.5) * across + x), strict=True)
        )
        if len(places) == 1:
            row, column = (int(value) for value in places.pop())
            inside = 0 <= row < mask.shape[0] and 0 <= column < mask.shape[1]
            if inside and mask[row, column] == shown_as[k]:
                found.add(row * mask.shape[1] + column)
    return found


def checked(picture: np.ndarray, mask: np.ndarray, plan: Plan) -> None:
    """Fail rather than save what a training could not use."""
    width, height = plan.options.size
    right = picture.shape == (height, width, 3) and mask.shape == (height, width) and picture.dtype == mask.dtype == np.uint8
    if not right or np.bincount(mask.ravel(), minlength=256)[plan.count : IGNORE].any():
        raise AssertionError(f"{picture.shape} {mask.shape} {np.unique(mask)}")


def encoded(suffix: str, image: np.ndarray) -> bytes:
    """A picture as JPEG, with colours at full resolution, or indices as PNG."""
    if suffix == ".png":
        return cv2.imencode(suffix, image, [cv2.IMWRITE_PNG_COMPRESSION, 4])[1].tobytes()
    settings = [cv2.IMWRITE_JPEG_QUALITY, QUALITY, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    return cv2.imencode(suffix, image, settings)[1].tobytes()


def likeness(picture: np.ndarray) -> int:
    """64 bits that near-duplicates share: whether brightness falls from each to the next of 9 x 8 parts (dHash)."""
    grey = cv2.resize(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), (9, 8), interpolation=cv2.INTER_AREA)
    return int.from_bytes(np.packbits(grey[:, 1:] < grey[:, :-1]).tobytes())


# --- all images together


def conclude(
    work: Path,
    out: Path,
    options: Options,
    classes: tuple[str, ...],
    found: annotations.Annotations,
    problems: list[Problem],
    count: int,
) -> None:
    """Share the images of all chunks among the parts, write what was done, and put the folder in its place."""
    records = [json.loads(line) for k in range(count) for line in chunk_list(work, k).read_text().splitlines()]
    good = [record for record in records if record["status"] == "ok"]
    for left in (path for path in work.rglob(".*") if path != work / LOCK):  # by a process that was killed while it wrote
        left.unlink()
    if not good:
        shutil.rmtree(work)
        reasons = [remark["reason"] for record in records for remark in record["remarks"] if remark["action"] == "skipped"]
        reasons += [problem.reason for problem in (*found.problems, *problems) if problem.action == "skipped"]
        told = "; ".join(f"{reason} ({count} times)" for reason, count in Counter(reasons).most_common(3))
        raise ToolkitError(f"No image could be prepared: {told}.", "Check --images and --annotations.", status=5)
    groups = list(alike([int(record["hash"], 16) for record in good]))
    parts = shared_out(good, groups, options.seed)
    told = [asdict(one) for one in (*found.problems, *problems)] + [remark for record in records for remark in record["remarks"]]
    manifest = []
    for record in good:
        part = parts[record["name"]]
        files = [
            (name, f"{record['name']}{suffix}") for name, suffix in KINDS if name != "instances" or options.mode == "instances"
        ]
        empty = not {int(value) for value in record["pixels"]} - {0, IGNORE}
        if empty and part == "train":
            for name, file in files:
                (work / name / file).unlink(missing_ok=True)
            reason = "it shows no object: left out of train" + (", with its crowds" if record["kept"] else "")
            told.append(asdict(Problem(record["annotations"], "skipped", reason, record["source"])))
            continue
        for name, file in files:
            target = made_folder(work / part / name) / file
            if (work / name / file).exists():
                os.replace(work / name / file, target)
        pixels = {classes[int(v)] if int(v) != IGNORE else "ignored": n for v, n in record["pixels"].items()}
        manifest.append({k: record[k] for k in ("name", "source", "sha256", "size", "hash")} | {"part": part, "pixels": pixels})
    described = json.dumps({"classes": list(classes), "ignore": IGNORE}, indent=1).encode()
    for part in (".", *PARTS):
        if (work / part).exists():
            write_bytes(work / part / "classes.json", described)
    write_bytes(work / "manifest.jsonl", "".join(json.dumps(line) + "\n" for line in manifest).encode())
    account = accounted(options, classes, found, records, manifest, told)
    account["near_duplicates"] = [[good[k]["source"] for k in group] for group in groups if len(group) > 1]
    write_bytes(work / "report.json", json.dumps(account, indent=1).encode())
    write_bytes(work / "report.html", preparation_report.page(account, work, manifest).encode(errors="backslashreplace"))
    for name in ("images", "masks", "instances", "chunks"):
        shutil.rmtree(work / name)
    (work / LOCK).unlink()
    try:
        work.rename(out)
    except OSError as error:
        raise unwritable(out, error) from error


MENDED = "repaired", "clipped"
KINDS = ("images", ".jpg"), ("masks", ".png"), ("instances", ".png")


def shared_out(records: list[dict[str, Any]], groups: list[list[int]], seed: int) -> dict[str, str]:
    """The part of every image by its name, at random; images of one of the groups, near-duplicates, go to the same part."""
    wanted = {part: share * len(records) for part, share in PARTS.items()}
    parts = {}
    for k in np.random.default_rng(seed).permutation(len(groups)):
        part = max(wanted, key=wanted.get)
        wanted[part] -= len(groups[k])
        parts |= {records[member]["name"]: part for member in groups[k]}
    return parts


def alike(hashes: list[int]) -> Iterator[list[int]]:
    """Groups of images whose hashes differ in few bits, directly or by way of others, in the order of their first members."""
    values, which = np.unique(np.array(hashes, np.uint64), return_inverse=True)
    leader = list(range(len(values)))

    def root(k: int) -> int:
        while leader[k] != k:
            leader[k] = leader[leader[k]]
            k = leader[k]
        return k

    cuts = np.linspace(0, 64, BANDS + 1).astype(int)
    for low, high in itertools.pairwise(cuts.tolist()):
        band = (values >> np.uint64(low)) & np.uint64((1 << (high - low)) - 1)
        order = np.argsort(band, kind="stable")
        for bucket in np.split(order, np.flatnonzero(np.diff(band[order])) + 1):
            for place, k in enumerate(bucket[:-1].tolist()):
                others = bucket[place + 1 :]
                for other in others[np.bitwise_count(values[others] ^ values[k]) <= ALIKE].tolist():
                    first, second = sorted((root(k), root(other)))
                    leader[second] = first
    groups = defaultdict(list)
    for k in range(len(hashes)):
        groups[root(int(which[k]))].append(k)
    yield from groups.values()


def accounted(
    options: Options,
    classes: tuple[str, ...],
    found: annotations.Annotations,
    records: list[dict[str, Any]],
    manifest: list[dict[str, Any]],
    told: list[dict[str, Any]],
) -> dict[str, Any]:
    """What the report says: counts, the balance of classes, and everything that was done."""
    dropped = sum(one["action"] == "dropped" for one in told)
    mended = {
        action: {(one["file"], one["image"], one["instance"]) for one in told if one["action"] == action} for action in MENDED
    }
    kept = sum(record["kept"] for record in records)
    balance = {
        part: {
            name: {
                "images": sum(name in line["pixels"] for line in manifest if line["part"] == part),
                "pixels": sum(line["pixels"].get(name, 0) for line in manifest if line["part"] == part),
            }
            for name in (*classes, "ignored")
        }
        for part in PARTS
    }
    return {
        "formats": sorted(found.formats),
        "options": {
            k: list(v) if isinstance(v, tuple) else str(v) if isinstance(v, Path) else v for k, v in asdict(options).items()
        },
        "classes": list(classes),
        "images": {
            "annotated": len(found.images),
            "written": len(manifest),
            "skipped": len({one["image"] for one in told if one["action"] == "skipped"}),
            "parts": {part: sum(line["part"] == part for line in manifest) for part in PARTS},
        },
        "instances": {
            "annotated": found.met,
            "kept": kept,
            "dropped": dropped,
            **{action: len(which) for action, which in mended.items()},
        },
        "overlaps": {
            "images": sum(record.get("overlap", 0) > 0 for record in records),
            "pixels": sum(record.get("overlap", 0) for record in records),
        },
        "balance": balance,
        "problems": told,
    }
