"""Make the inputs of the tutorials, all of them generated: `python docs/examples/make.py`."""

from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

import hvd

HERE = Path(__file__).parent


def write_micrographs() -> None:
    """Two micrographs, as TIFF with a scale of half a micrometre a pixel."""
    for k, sample in enumerate(hvd.samples("grains", samples=2, seed=11), 1):
        tifffile.imwrite(
            HERE / "micrographs" / f"steel-{k}.tif",
            sample.inputs.image,
            resolution=(20_000, 20_000),
            resolutionunit="CENTIMETER",
            compression="zlib",
        )


def write_scans() -> None:
    """Six scans of generated heads, uint8 (6, 64, 64), with 0 in their missing lines."""
    samples = hvd.samples("lines", samples=6, seed=3)
    scans = np.stack([sample.inputs.images[0] for sample in samples])
    np.save(HERE / "scans.npy", np.rint(scans * 255).astype(np.uint8))


def write_fragments() -> None:
    """A heap of 64 fragments of four photographs, each a PNG of 16 x 16."""
    heap = next(hvd.samples("fragments", images=4, seed=5, samples=1)).inputs
    for k, fragment in enumerate(heap.fragments):
        Image.fromarray(fragment).save(HERE / "heap" / f"{k:02d}.png")


def write_scene() -> None:
    """A generated scene of shapes, as PNG."""
    sample = next(hvd.samples("objects", samples=1, seed=5))
    Image.fromarray(sample.inputs.image).save(HERE / "scene.png")


if __name__ == "__main__":
    for name in ("micrographs", "heap"):
        (HERE / name).mkdir(exist_ok=True)
    write_micrographs()
    write_scans()
    write_fragments()
    write_scene()
