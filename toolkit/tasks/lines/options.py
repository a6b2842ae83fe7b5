"""What can be said about scans, and which of their pixels samples hide."""

from dataclasses import dataclass

from hvd.toolkit.options import ImageOptions, option

PREDICT = "Fill the missing lines of scans. Not for diagnosis."
INPUT = "Each INPUT is a stack of scans: .npy, folder of images, image, NIfTI volume or DICOM file. Not for diagnosis."
SAMPLES = "Samples are complete scans with lines hidden; of damaged ones, further lines."
DATA = ".npy (N, H, W) or folder of scans, or builtin: generated heads."


@dataclass(frozen=True)
class InputOptions(ImageOptions):
    """What is known of scans; `hvd.toolkit.tasks.lines.masks` says how masks are described."""

    mask: str | None = option(
        None,
        "What is missing: image or .npy, 1 = missing, task, WIDTH/PERIOD@ANGLE[+PHASE].",
        shown_default="NaN, or recognised by zeros",
        any_type=True,  # in Python an array or a path as well
    )
    axis: int | None = option(
        None,
        "Axis of a volume that slices lie along.",
        low=0,
        high=2,
        shown_default="recognised by the mask",
    )
    uncertainty: bool = option(
        False, "Also save how far the answers to a scan and its mirror image lie apart."
    )


@dataclass(frozen=True)
class Conditions(ImageOptions):
    """Which pixels are hidden from complete scans."""

    mask: str = option(
        "task",
        "What is hidden: task, a file, WIDTH/PERIOD@ANGLE[+PHASE] (0 = rows, 90 = columns), random:SHARE or random:SHARE@90.",
        any_type=True,  # in Python an array or a path as well
    )
