"""Options of `lines`: what is known of scans, and which of their pixels samples hide."""

from dataclasses import dataclass

from hvd.toolkit.options import ImageOptions, option

PREDICT = "Fill the missing lines of scans. Not for diagnosis."
INPUT = (
    "Each INPUT is a stack of scans: .npy, folder of images, image, NIfTI volume or DICOM file. "
    "Not for diagnosis."
)
SAMPLES = (
    "Samples are scans in which lines are hidden, further ones where some are "
    "missing already."
)
DATA = ".npy (N, H, W) or folder of scans, or builtin: generated heads."


@dataclass(frozen=True)
class InputOptions(ImageOptions):
    """What is known of scans; `masks.mask_of_description` says how to describe a mask."""

    mask: str | None = option(
        None,
        "What is missing: an image, .npy or NIfTI (1 = missing), of one scan or of all, task, or "
        "WIDTH/PERIOD@ANGLE[+PHASE].",
        shown_default="what is recognised",
        any_type=True,  # in Python an array or a path as well
    )
    mask_polarity: str = option(
        "missing",
        "What 1 means in the mask.",
        choices=("missing", "measured"),
    )
    fill_outside: bool = option(
        False,
        "Fill NaN and zeros around the picture too.",
    )
    axis: int | None = option(
        None,
        "Axis along which slices lie, of a volume or an .npy of three axes.",
        low=0,
        high=2,
        shown_default="the one whose slices share a mask",
    )
    uncertainty: bool = option(
        False,
        "Also save how far the answers to a scan and to its mirror image differ.",
    )


@dataclass(frozen=True)
class Conditions(ImageOptions):
    """Which pixels are hidden from complete scans."""

    mask: str = option(
        "task",
        "What is hidden: task, a file, WIDTH/PERIOD@ANGLE[+PHASE] (0 = rows, 90 = columns), "
        "random:SHARE or random:SHARE@90.",
        any_type=True,  # in Python an array or a path as well
    )
