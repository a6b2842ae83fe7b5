"""Made-up pictures of shapes on cloudy ground, with the class of every pixel, and as a COCO data set.

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
FINE = 4  # outlines are drawn this much finer, so that edges cover pixels by parts
VERTICES = 48  # of a polygon that stands for a circle


@dataclass(frozen=True)
class Shape:
    """An object: its class, and its outlines (n, 2) as x, y in pixels; what lies within two of them is a hole."""

    name: str
    outlines: tuple[np.ndarray, ...]

    def covers(self) -> np.ndarray:
        """Share of every pixel that lies within, float32 (SIDE, SIDE)."""
        drawn = np.zeros((SIDE * FINE, SIDE * FINE), np.uint8)
        points = [np.rint(outline * FINE - 0.5).astype(np.int32) for outline in self.outlines]
        cv2.fillPoly(drawn, points, 1)
        return drawn.reshape(SIDE, FINE, SIDE, FINE).mean((1, 3), dtype=np.float32)


def scene(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, list[Shape]]:
    """A picture uint8 (128, 128, 3), its mask uint8 (128, 128), and the shapes from the rearmost to the foremost."""
    image = texture("cloudy", rng)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    shapes = [shape(rng) for _ in range(rng.integers(1, 6))]
    for one in shapes:
        share = one.covers()
        skin = texture(SKINS[one.name], rng)
        while np.abs(skin.mean((0, 1)) - image.mean((0, 1))).max() < 0.15:  # would hardly show
            skin = texture(SKINS[one.name], rng)
        image = image + share[..., None] * (skin - image)
        mask[share >= 0.5] = CLASSES.index(one.name)

    light = 1 + rng.uniform(0, 0.12) * field(1.5, rng)
    image = image * light[..., None] + rng.uniform(0, 0.05) * rng.standard_normal(
        image.shape, np.float32
    )

    return np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8), mask, shapes


def shape(rng: np.random.Generator) -> Shape:
    """A shape somewhere in the picture, perhaps partly outside."""
    name = CLASSES[rng.integers(1, len(CLASSES))]
    centre = rng.uniform(0.1, 0.9, 2) * SIDE
    size = np.exp(rng.uniform(np.log(8), np.log(32)))
    turn = rng.uniform(0, 2 * np.pi)
    corners = {"disc": VERTICES, "ring": VERTICES, "square": 4, "star": 10, "triangle": 3}[name]
    angle = turn + 2 * np.pi * np.arange(corners) / corners
    reach = np.where(np.arange(corners) % 2, 0.45, 1.0) if name == "star" else np.ones(corners)
    outline = (reach * size)[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
    outlines = (outline, 0.5 * outline) if name == "ring" else (outline,)

    return Shape(name, tuple(centre + one for one in outlines))


def field(period: float, rng: np.random.Generator) -> np.ndarray:
    """Smooth random field float32 of about unit deviation that changes over about `period` of half the picture."""
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
    """A surface in two colours at random; float32 (128, 128, 3) in about [0, 1]."""
    first = rng.uniform(0.1, 0.9, 3).astype(np.float32)
    second = np.clip(first + rng.choice([-1, 1], 3) * rng.uniform(0.1, 0.4, 3), 0, 1).astype(
        np.float32
    )
    rows, columns = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    angle = rng.uniform(0, np.pi)
    period = rng.uniform(4, 8)
    across = np.sin(2 * np.pi * (columns * np.cos(angle) + rows * np.sin(angle)) / period)
    along = np.sin(2 * np.pi * (rows * np.cos(angle) - columns * np.sin(angle)) / period)
    share = {
        "cloudy": lambda: 0.5 + 0.25 * field(0.5, rng),
        "plain": lambda: np.full((SIDE, SIDE), 0.5),
        "striped": lambda: 0.5 + 0.5 * across,
        "checked": lambda: (across * along > 0).astype(np.float32),
        "spotted": lambda: (across * along > 0.45).astype(np.float32),
        "rough": lambda: 0.5 + 0.35 * field(0.05, rng),
    }[kind]()

    return (first + share[..., None].astype(np.float32) * (second - first)).astype(np.float32)


def generated(seed: int, k: int) -> tuple[np.ndarray, np.ndarray, list[Shape]]:
    """Scene k, which depends on (seed, k) alone."""
    return scene(np.random.default_rng([seed, k]))


def prepare_scenes(out: Path, count: int, seed: int, workers: int) -> Iterator[int]:
    """A COCO data set: `images/` of scenes and `annotations.json`, with polygons, and RLE of shapes that have a hole. Yields as
    scenes are made, and leaves a folder only once all are."""
    with (
        whole_folder(out, {}) as unfinished,
        multiprocessing.get_context("spawn").Pool(workers, start_worker) as pool,
    ):
        images = []
        annotations = []
        for k, (image, _, shapes) in enumerate(
            pool.imap(partial(generated, seed), range(count), chunksize=20)
        ):
            name = f"{k:05d}.png"
            write_png(unfinished / "images" / name, image)
            images.append({"id": k + 1, "file_name": name, "width": SIDE, "height": SIDE})
            annotations += [
                {"id": len(annotations) + 1 + j, "image_id": k + 1, **described(s)}
                for j, s in enumerate(shapes)
            ]
            yield k + 1

        categories = [{"id": k, "name": name} for k, name in enumerate(CLASSES) if k]
        whole = {"images": images, "annotations": annotations, "categories": categories}
        write_bytes(unfinished / "annotations.json", json.dumps(whole).encode())


def described(one: Shape) -> dict[str, Any]:
    """A shape as COCO annotates it."""
    inside = one.covers() >= 0.5
    rows, columns = (np.flatnonzero(inside.any(axis)) for axis in (1, 0))
    box = (
        [int(columns[0]), int(rows[0]), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1]
        if len(rows)
        else [0, 0, 0, 0]
    )

    if len(one.outlines) == 1:
        segmentation = [[round(float(value), 2) for value in one.outlines[0].ravel()]]
    else:
        segmentation = {"counts": run_lengths(inside), "size": [SIDE, SIDE]}

    return {
        "category_id": CLASSES.index(one.name),
        "segmentation": segmentation,
        "area": int(inside.sum()),
        "bbox": box,
        "iscrowd": 0,
    }


def run_lengths(inside: np.ndarray) -> list[int]:
    """COCO's counts of a mask bool (H, W): pixels outside, inside, outside ..., column by column."""
    flat = inside.ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    counts = np.diff(changes, prepend=0, append=len(flat)).tolist()
    return [0, *counts] if flat[0] else counts
