"""Options of `fragments`: what is known of a heap, and how sample heaps are made."""

from dataclasses import dataclass

from hvd.toolkit.core import ToolkitError
from hvd.toolkit.options import ImageOptions, option

# Pixels along a side of a fragment, and of a photograph.
SMALLEST = 4
LARGEST = 256
WIDEST = 1024

MOST = 2000  # fragments in a heap: memory grows with their square

PREDICT = "Group fragments by photograph, and put each photograph together."
INPUT = (
    "Each INPUT is a heap: a folder or .zip of fragments as images, "
    "or an .npy of uint8 (n, s, s, 3)."
)
SAMPLES = "Samples are heaps of photographs, cut and mixed afresh."
DATA = "Folder, .zip or .npy of photographs, or builtin."


@dataclass(frozen=True)
class InputOptions(ImageOptions):
    """What is known of a heap."""

    images: int = option(10, "Photographs in a heap.", low=1, high=MOST)
    known: str = option(
        "sizes",
        "What you know: sizes = how many photographs, all of the same size; "
        "count = how many; nothing.",
        choices=("sizes", "count", "nothing"),
    )
    rotate: bool = option(False, "Fragments may be turned by quarter turns.")


@dataclass(frozen=True)
class Conditions(InputOptions):
    """How heaps are made of photographs."""

    grid: int = option(
        4, "Fragments along a side of each photograph.", low=1, high=64
    )
    fragment: int = option(
        16, "Pixels along a side of each fragment.", low=SMALLEST, high=LARGEST
    )
    noise: float = option(
        0.0, "Gaussian noise: standard deviation, of 255.", low=0, high=255
    )
    worn: int = option(
        0, "Pixels lost on every side of each fragment.", low=0, high=LARGEST
    )
    missing: float = option(
        0.0,
        "Share of fragments left out; two of each photograph stay.",
        low=0,
        high=0.9,
    )
    augment: bool = option(
        False, "Mirror, turn, shift and tint photographs before they are cut."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.missing and self.known == "sizes":
            reason = "Photographs with missing fragments are of unequal sizes."
            raise ToolkitError(
                reason, "Give --known as count or nothing.", status=2
            )

        if self.fragment - 2 * self.worn < SMALLEST:
            raise ToolkitError(
                f"Fragments of {self.fragment} pixels, worn by {self.worn}, "
                f"are narrower than {SMALLEST}.",
                "Give a larger --fragment or a smaller --worn.",
                status=2,
            )

        if self.grid * self.fragment > WIDEST:
            raise ToolkitError(
                f"{self.grid} fragments of {self.fragment} pixels are wider than {WIDEST}.",
                "Give a smaller --grid or --fragment.",
                status=2,
            )

        # Methods compare all pairs, so memory grows with the square of this
        # number.
        fragments = self.images * self.grid**2
        if not 2 <= fragments <= MOST:
            raise ToolkitError(
                f"{self.images} images of {self.grid} x {self.grid} make {fragments} fragments.",
                f"Choose --images and --grid so that a heap has 2 to {MOST}.",
                status=2,
            )
