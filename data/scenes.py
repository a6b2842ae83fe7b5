"""Generate pictures of shapes on a cloudy ground, with the class of every pixel or as COCO files.

Each class has a shape and a texture of its own, in any colours.
"""

import json
import multiprocessing
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from hvd.data.fields import smooth_noise
from hvd.toolkit.images import write_png
from hvd.toolkit.outputs import whole_folder, write_bytes
from hvd.toolkit.processes import start_worker

CLASSES = "background", "disc", "ring", "square", "star", "triangle"
SIDE = 128  # pixels along a side of a picture
# Outlines are drawn this much finer, so that edges cover pixels by parts
FINE = 4
VERTICES = 48  # of a polygon that stands for a circle


@dataclass(frozen=True)
class Shape:
    """An object in a scene.

    Attributes
    ----------
    name : of its class.
    outlines : (n, 2) each, as x, y in pixels; pixels within two outlines are a hole.
    """

    name: str
    outlines: tuple[np.ndarray, ...]

    def coverage(self) -> np.ndarray:
        """Share of every pixel that the shape covers, float32 (SIDE, SIDE)."""
        fine = np.zeros((SIDE * FINE, SIDE * FINE), np.uint8)
        points = [
            np.rint(outline * FINE - 0.5).astype(np.int32)
            for outline in self.outlines
        ]
        cv2.fillPoly(fine, points, 1)
        return fine.reshape(SIDE, FINE, SIDE, FINE).mean(
            (1, 3), dtype=np.float32
        )


def scene(
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, list[Shape]]:
    """A picture uint8 (128, 128, 3), its mask uint8 (128, 128), and its shapes.

    Shapes come from the rearmost to the foremost.
    """
    image = texture("cloudy", rng)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    shapes = [random_shape(rng) for _ in range(rng.integers(1, 6))]

    for shape in shapes:
        share = shape.coverage()
        skin = texture(SKINS[shape.name], rng)
        # A shape in the colour of the ground would hardly show.
        while np.abs(skin.mean((0, 1)) - image.mean((0, 1))).max() < 0.15:
            skin = texture(SKINS[shape.name], rng)
        image = image + share[..., None] * (skin - image)
        mask[share >= 0.5] = CLASSES.index(shape.name)

    light = 1 + rng.uniform(0, 0.12) * field(1.5, rng)
    noise = rng.uniform(0, 0.05) * rng.standard_normal(image.shape, np.float32)
    image = image * light[..., None] + noise
    return np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8), mask, shapes


def random_shape(rng: np.random.Generator) -> Shape:
    """A shape somewhere in the picture, perhaps partly outside."""
    name = CLASSES[rng.integers(1, len(CLASSES))]
    centre = rng.uniform(0.1, 0.9, 2) * SIDE
    # Sizes are drawn on a logarithmic scale, so that small ones are not rare.
    size = np.exp(rng.uniform(np.log(8), np.log(32)))
    turn = rng.uniform(0, 2 * np.pi)

    corners = {
        "disc": VERTICES,
        "ring": VERTICES,
        "square": 4,
        "star": 10,
        "triangle": 3,
    }[name]
    number = np.arange(corners)
    angle = turn + 2 * np.pi * number / corners
    reach = (
        np.where(number % 2, 0.45, 1.0) if name == "star" else np.ones(corners)
    )
    outline = (reach * size)[:, None] * np.stack(
        [np.cos(angle), np.sin(angle)], 1
    )

    # A ring has a hole, which polygons of COCO cannot hold.
    outlines = (outline, 0.5 * outline) if name == "ring" else (outline,)
    return Shape(name, tuple(centre + one for one in outlines))


def field(period: float, rng: np.random.Generator) -> np.ndarray:
    """Smooth random field float32 of about unit deviation.

    It changes over about `period` times half the picture.
    """
    cells = int(2 / period) + 4
    return 1.4 * smooth_noise((cells, cells), rng, (SIDE, SIDE))


SKINS = {
    "disc": "plain",
    "ring": "striped",
    "square": "checked",
    "star": "spotted",
    "triangle": "rough",
}


def texture(kind: str, rng: np.random.Generator) -> np.ndarray:
    """A surface in two random colours, float32 (128, 128, 3) in about [0, 1]."""
    first = rng.uniform(0.1, 0.9, 3).astype(np.float32)
    difference = rng.choice([-1, 1], 3) * rng.uniform(0.1, 0.4, 3)
    second = np.clip(first + difference, 0, 1).astype(np.float32)

    # Waves in two directions at right angles.
    rows, columns = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    angle = rng.uniform(0, np.pi)
    period = rng.uniform(4, 8)
    across = np.sin(
        2 * np.pi * (columns * np.cos(angle) + rows * np.sin(angle)) / period
    )
    along = np.sin(
        2 * np.pi * (rows * np.cos(angle) - columns * np.sin(angle)) / period
    )

    # Where the second colour shows. Only the kind that is asked for draws random numbers.
    patterns = {
        "cloudy": lambda: 0.5 + 0.25 * field(0.5, rng),
        "plain": lambda: np.full((SIDE, SIDE), 0.5),
        "striped": lambda: 0.5 + 0.5 * across,
        "checked": lambda: (across * along > 0).astype(np.float32),
        "spotted": lambda: (across * along > 0.45).astype(np.float32),
        "rough": lambda: 0.5 + 0.35 * field(0.05, rng),
    }
    share = patterns[kind]()[..., None].astype(np.float32)
    return (first + share * (second - first)).astype(np.float32)


def sample_scene(
    seed: int, k: int
) -> tuple[np.ndarray, np.ndarray, list[Shape]]:
    """Scene k of a seed; depends on (seed, k) alone."""
    return scene(np.random.default_rng([seed, k]))


def prepare_scenes(
    out: Path,
    count: int,
    seed: int,
    workers: int,
) -> Iterator[int]:
    """Write a COCO data set of generated scenes: `images/` and `annotations.json`.

    Shapes are annotated as polygons, those with a hole as RLE. Yields the number of scenes made so
    far; the folder appears once all are.
    """
    context = multiprocessing.get_context("spawn")
    with (
        whole_folder(out, {}) as unfinished,
        context.Pool(workers, start_worker) as pool,
    ):
        images = []
        annotations = []
        # Each scene depends on (seed, number) alone, whatever the workers do.
        scenes = pool.imap(
            partial(sample_scene, seed), range(count), chunksize=20
        )
        for number, (image, _, shapes) in enumerate(scenes, 1):
            name = f"{number - 1:05d}.png"
            write_png(unfinished / "images" / name, image)
            images.append(
                {"id": number, "file_name": name, "width": SIDE, "height": SIDE}
            )
            for shape in shapes:
                identity = {"id": len(annotations) + 1, "image_id": number}
                annotations.append(identity | coco_annotation(shape))
            yield number

        categories = [
            # Class 0 is the background, which COCO does not list.
            {"id": k, "name": name}
            for k, name in enumerate(CLASSES)
            if k
        ]
        document = {
            "images": images,
            "annotations": annotations,
            "categories": categories,
        }
        write_bytes(
            unfinished / "annotations.json", json.dumps(document).encode()
        )


def coco_annotation(shape: Shape) -> dict[str, Any]:
    """A shape as a COCO annotation, without its ids."""
    inside = shape.coverage() >= 0.5
    rows = np.flatnonzero(inside.any(1))
    columns = np.flatnonzero(inside.any(0))
    box = [0, 0, 0, 0]
    if len(rows):
        left, top = int(columns[0]), int(rows[0])
        box = [left, top, int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1]

    # Shapes with holes are written as run lengths.
    segmentation: list | dict = {
        "counts": run_lengths(inside),
        "size": [SIDE, SIDE],
    }
    if len(shape.outlines) == 1:
        outline = shape.outlines[0].ravel()
        segmentation = [[round(float(value), 2) for value in outline]]

    return {
        "category_id": CLASSES.index(shape.name),
        "segmentation": segmentation,
        "area": int(inside.sum()),
        "bbox": box,
        "iscrowd": 0,
    }


def run_lengths(inside: np.ndarray) -> list[int]:
    """COCO's run lengths of a mask bool (H, W): outside, inside, outside ..., column by column."""
    flat = inside.ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    counts = np.diff(changes, prepend=0, append=len(flat)).tolist()
    return [0, *counts] if flat[0] else counts
