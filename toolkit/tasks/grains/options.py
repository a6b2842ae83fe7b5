"""What can be said about a micrograph, and how samples are changed before they are answered."""

from dataclasses import dataclass

from hvd.toolkit.core import ToolkitError
from hvd.toolkit.options import ImageOptions, option

PREDICT = "Find grain boundaries, and measure the grains."
INPUT = "Each INPUT is a micrograph, or a folder of them: one batch. Several batches are compared."
SAMPLES = "Samples are micrographs with drawn boundaries."
DATA = "Folder with images/NAME.* and boundaries/NAME.png, or builtin: generated."

# micrometres a pixel: beyond, a scale is a mistake
FINEST = 1e-5
COARSEST = 1e6


@dataclass(frozen=True)
class InputOptions(ImageOptions):
    """What is known of a micrograph."""

    micrometres_per_pixel: float | None = option(
        None,
        "The scale.",
        low=FINEST,
        high=COARSEST,
        shown_default="of a TIFF's tags, or none: pixels",
    )
    scale_bar_micrometres: float | None = option(
        None,
        "Find the scale bar in the image, which stands for this length.",
        low=1e-6,
        high=1e9,
    )
    exclude_bottom: int = option(
        0, "Rows of the microscope's data bar to leave out.", low=0, high=1_000_000
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.micrometres_per_pixel and self.scale_bar_micrometres:
            remedy = "Give --micrometres-per-pixel or --scale-bar-micrometres, not both."
            raise ToolkitError("Two scales are given.", remedy, 2)


@dataclass(frozen=True)
class Conditions(ImageOptions):
    """How micrographs are changed, in this order, and how answers are scored."""

    tolerance: float | None = option(
        None,
        "Pixels within which lines agree.",
        low=0,
        high=1000,
        shown_default="half the label's pen, at least 3",
    )
    contrast: float = option(
        1.0, "Factor on the differences from the mean grey.", low=0.01, high=100
    )
    brightness: float = option(1.0, "Factor on grey.", low=0.01, high=100)
    gamma: float = option(1.0, "Exponent of grey.", low=0.01, high=100)
    gradient: float = option(
        0.0, "Uneven light: share less on the left and more on the right.", low=0, high=1
    )
    blur: float = option(0.0, "Gaussian blur: standard deviation in pixels.", low=0, high=100)
    noise: float = option(0.0, "Gaussian noise: standard deviation, of 255.", low=0, high=255)
