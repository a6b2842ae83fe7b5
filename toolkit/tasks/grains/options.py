"""Options of `grains`: what is known of a micrograph, and how samples are changed."""

import re
from dataclasses import dataclass
from pathlib import Path

from hvd.toolkit.core import ToolkitError
from hvd.toolkit.options import ImageOptions, flag, option

PREDICT = "Find grain boundaries, and measure the grains."
INPUT = "Each INPUT is a micrograph, or a folder of them: one batch. Several batches are compared."
MEASURE = (
    "Measure grains that were drawn or corrected by hand: the same numbers and files as "
    "`toolkit predict grains` gives. Each INPUT is a mask of boundaries (255 on 0), a label image "
    "(a whole number for every grain), a folder of these, or a .zip of ImageJ ROIs."
)
SAMPLES = "Samples are micrographs with drawn boundaries."
DATA = "Folder with images/NAME.* and boundaries/NAME.* or labels/NAME.*, or builtin: generated."

# Micrometres a pixel: a scale beyond these limits is a mistake.
FINEST = 1e-5
COARSEST = 1e6


def parse_length(text: str) -> tuple[float, str]:
    """A length with its unit, "um" or "px".

    >>> parse_length("2.5um"), parse_length("5 px")
    ((2.5, 'um'), (5.0, 'px'))
    """
    match = re.fullmatch(r"\s*([\d.]+)\s*(um|µm|μm|px)\s*", text)
    try:
        length = float(match[1]) if match else -1.0
    except ValueError:
        length = -1.0
    if not 0 < length <= 1e9:
        reason = f"{text!r} is no length."
        raise ToolkitError(reason, "Write 2um, or 5px.", 2)
    return length, "px" if match[2] == "px" else "um"


@dataclass(frozen=True)
class MeasureOptions(ImageOptions):
    """How grains are measured."""

    micrometres_per_pixel: float | None = option(
        None,
        "Scale: how many micrometres a pixel is wide.",
        low=FINEST,
        high=COARSEST,
        shown_default="read from a TIFF's tags; else lengths are in pixels",
    )
    scales: Path | None = option(
        None,
        "CSV table of scales: file pattern, micrometres per pixel; the first that fits counts.",
    )
    mask: str | None = option(
        None,
        "What is measured: an image (white), or a folder with one of the micrograph's name.",
        shown_default="all but transparent and empty surroundings, data bar and text boxes",
        any_type=True,  # in Python an array or a path as well
    )
    smallest: tuple[float, str] | None = option(
        None,
        "Least diameter of a grain, as 2um or 5px; smaller ones, such as pores, become part of "
        "their neighbours.",
        parse=parse_length,
        shown_default="all grains count",
    )
    twins: str = option(
        "keep",
        "Whether bands between parallel straight lines count as grains of their own (keep), or as "
        "part of the grain around them (ignore). A guess by shape.",
        choices=("keep", "ignore"),
    )
    three_dimensional: bool = option(
        False,
        "Estimate diameters in space too (Saltykov), for spherical grains.",
    )

    def __post_init__(self) -> None:
        if isinstance(self.smallest, str):
            object.__setattr__(self, "smallest", parse_length(self.smallest))
        super().__post_init__()
        scales = ("micrometres_per_pixel", "scale_bar_micrometres", "scales")
        chosen = []
        for name in scales:
            if getattr(self, name, None) is not None:
                chosen.append(flag(name))
        if len(chosen) > 1:
            remedy = f"Give one of them: {' or '.join(chosen)}."
            raise ToolkitError("Two scales are given.", remedy, 2)


@dataclass(frozen=True)
class InputOptions(MeasureOptions):
    """What is known of a micrograph, and what of it is measured."""

    scale_bar_micrometres: float | None = option(
        None,
        "Length of the scale bar in the image, which is searched for.",
        low=1e-6,
        high=1e9,
    )
    exclude_bottom: int | None = option(
        None,
        "Rows to cut off at the bottom: the microscope's data bar.",
        low=0,
        high=1_000_000,
        shown_default="an even band at the bottom",
    )
    size: float | None = option(
        None,
        "Enlarge the picture by this factor for the method, or reduce it below 1.",
        low=0.05,
        high=8,
        shown_default="by how fine its details are",
    )


@dataclass(frozen=True)
class DrawnOptions(MeasureOptions):
    """How drawn grains are measured."""

    micrographs: Path | None = option(
        None,
        "The micrograph that was drawn on, or a folder of them, to show below the grains.",
    )


@dataclass(frozen=True)
class Conditions(ImageOptions):
    """How sample micrographs are changed, in this order, and how answers are scored."""

    tolerance: float | None = option(
        None,
        "Two lines agree when they are at most this many pixels apart.",
        low=0,
        high=1000,
        shown_default="half the width of the drawn lines, at least 3",
    )
    contrast: float = option(
        1.0, "Multiply the differences from the mean grey.", low=0.01, high=100
    )
    brightness: float = option(
        1.0, "Multiply the grey values.", low=0.01, high=100
    )
    gamma: float = option(
        1.0, "Exponent of the grey values.", low=0.01, high=100
    )
    gradient: float = option(
        0.0,
        "Uneven light: 0.5 = half as bright on the left, 1.5 times on the right.",
        low=0,
        high=1,
    )
    blur: float = option(
        0.0, "Gaussian blur: standard deviation in pixels.", low=0, high=100
    )
    noise: float = option(
        0.0, "Gaussian noise: standard deviation, of 255.", low=0, high=255
    )
