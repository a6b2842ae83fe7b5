"""Options of `grains`: what is known of a micrograph, and how samples are changed."""

from dataclasses import dataclass

from hvd.toolkit.core import ToolkitError
from hvd.toolkit.options import ImageOptions, option

PREDICT = "Find grain boundaries, and measure the grains."
INPUT = "Each INPUT is a micrograph, or a folder of them: one batch. Several batches are compared."
SAMPLES = "Samples are micrographs with drawn boundaries."
DATA = (
    "Folder with images/NAME.* and boundaries/NAME.png, or builtin: generated."
)

# Micrometres a pixel: a scale beyond these limits is a mistake.
FINEST = 1e-5
COARSEST = 1e6


@dataclass(frozen=True)
class InputOptions(ImageOptions):
    """What is known of a micrograph."""

    micrometres_per_pixel: float | None = option(
        None,
        "Scale: how many micrometres a pixel is wide.",
        low=FINEST,
        high=COARSEST,
        shown_default="read from a TIFF's tags; else lengths are in pixels",
    )
    scale_bar_micrometres: float | None = option(
        None,
        "Length of the scale bar in the image, which is searched for.",
        low=1e-6,
        high=1e9,
    )
    exclude_bottom: int = option(
        0,
        "Rows to cut off at the bottom: the microscope's data bar.",
        low=0,
        high=1_000_000,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.micrometres_per_pixel and self.scale_bar_micrometres:
            remedy = "Give --micrometres-per-pixel or --scale-bar-micrometres, not both."
            raise ToolkitError("Two scales are given.", remedy, 2)


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
