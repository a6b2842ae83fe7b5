"""Find the files of annotated images by their names, and name them in the data set."""

import hashlib
import os
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from hvd.data.preparation.images import Item
from hvd.data.preparation.instances import Annotated, Annotations, Problem
from hvd.toolkit.images import SUFFIXES

LONGEST = 200  # bytes in a name, without its suffix


@dataclass(frozen=True)
class ImageFiles:
    """The image files below a folder, as paths relative to it.

    Attributes
    ----------
    folder : the folder.
    paths : all files, sorted.
    by_name, by_stem : the files by their name, and by their name without suffix.
    exact : files that an annotation names with their path; no other may take them.
    """

    folder: Path
    paths: list[str]
    by_name: dict[str, list[str]]
    by_stem: dict[str, list[str]]
    exact: set[str]


def match_files(
    annotations: Annotations, folder: Path
) -> tuple[list[Item], list[Problem]]:
    """Find the files of annotated images; images and files without a partner become problems.

    The path must be the same, else the name in another folder, else the name without suffix.
    """
    files = image_files(annotations, folder)
    problems = []
    pairs = []
    taken = {}

    for annotated in annotations.images:
        candidates, reason = candidates_of(annotated, files)
        # Two annotations of one image would become two training examples.
        if len(candidates) == 1 and candidates[0] in taken:
            reason = f"its image is that of {taken[candidates[0]]} already"
            candidates = []
        if len(candidates) != 1:
            problems += problems_of(annotated, reason)
            continue

        taken[candidates[0]] = annotated.name
        pairs.append((annotated, candidates[0]))

    # An image without annotations may be background, or forgotten: it is left
    # out and listed.
    for file in files.paths:
        if file not in taken:
            problems.append(
                Problem("", "skipped", "the image has no annotations", file)
            )

    return name_items(pairs), problems


def image_files(annotations: Annotations, folder: Path) -> ImageFiles:
    """The images in a folder and its subfolders; hidden ones are left out."""
    paths = []
    for base, folders, names in os.walk(folder):
        folders[:] = sorted(
            name for name in folders if not name.startswith(".")
        )
        for name in names:
            if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                paths.append(Path(base, name).relative_to(folder).as_posix())
    paths.sort()

    # Annotations may name a file with its folder, without it, or without its
    # suffix.
    by_name = defaultdict(list)
    by_stem = defaultdict(list)
    for path in paths:
        file = PurePosixPath(path)
        by_name[file.name].append(path)
        # Of Cityscapes
        by_stem[file.stem.removesuffix("_leftImg8bit")].append(path)

    exact = {
        annotated.name.replace("\\", "/") for annotated in annotations.images
    }
    return ImageFiles(folder, paths, by_name, by_stem, exact & set(paths))


def candidates_of(
    annotated: Annotated, files: ImageFiles
) -> tuple[list[str], str]:
    """The files that an annotated image may be, and the reason unless there is exactly one."""
    name = annotated.name.replace("\\", "/")
    path = PurePosixPath(name)
    has_drive = path.parts[:1] and path.parts[0].endswith(":")
    if path.is_absolute() or ".." in path.parts or has_drive:
        return [], "its file name leaves the folder: refused"
    if name in files.exact:
        return [name], ""

    # In "scan.2" the end is no suffix.
    stem = path.stem if path.suffix[1:].isalpha() else path.name
    similar = (
        files.by_name.get(path.name)
        or files.by_stem.get(path.name)
        or files.by_stem.get(stem)
        or []
    )
    candidates = []
    for file in similar:
        if file not in files.exact and have_same_folders(path, file):
            candidates.append(file)

    if candidates:
        return (
            candidates,
            f"several images have this name: {', '.join(candidates[:3])}",
        )
    if os.path.isfile(files.folder / name):
        return [], "its file is of no kind that can be read"
    return [], "there is no such image"


def have_same_folders(annotated: PurePosixPath, file: str) -> bool:
    """Whether the folders in an annotation agree with those of a file, as far as both have some."""
    ours = annotated.parts[-2::-1]
    theirs = PurePosixPath(file).parts[-2::-1]
    return all(a == b for a, b in zip(ours, theirs, strict=False))


def problems_of(annotated: Annotated, reason: str) -> list[Problem]:
    """The problems of an image without a file: it is skipped, and its instances are dropped."""
    problems = [Problem(annotated.file, "skipped", reason, annotated.name)]
    for instance in annotated.instances:
        identity = instance.id, instance.category
        problems.append(
            Problem(
                annotated.file, "dropped", reason, annotated.name, *identity
            )
        )
    return problems


def name_items(pairs: list[tuple[Annotated, str]]) -> list[Item]:
    """Give each image a name of its own in the data set: that of its file where it can be."""
    stems = Counter(PurePosixPath(source).stem for _, source in pairs)
    used = set()
    items = []

    # Sorted, so that names do not depend on the order of the file system.
    for annotated, source in sorted(pairs, key=lambda pair: pair[1]):
        base = PurePosixPath(source).stem
        # Images of one name in several folders are named by their folder too.
        if stems[base] > 1:
            base = source.replace("/", "_").replace(".", "_")
        if len(os.fsencode(base)) > LONGEST:
            base = hashlib.sha256(os.fsencode(source)).hexdigest()

        name = base
        while name in used:
            name = f"{base}_{len(used)}"
        used.add(name)
        items.append(Item(annotated, source, name))

    return items
