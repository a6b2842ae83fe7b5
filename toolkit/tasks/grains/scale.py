"""The scale of a micrograph: given, from a table, or as the microscope wrote it into the file."""

import csv
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import tifffile

from hvd.toolkit.core import ToolkitError
from hvd.toolkit.tasks.grains.options import COARSEST, FINEST
from hvd.toolkit.tiff import is_tiff, only_page, quiet_tifffile

UTF_16 = b"\xff\xfe", b"\xfe\xff"  # how such a text begins

# How many micrometres a unit is, by its name in lower case.
MICROMETRES = {
    **dict.fromkeys(("um", "µm", "μm"), 1.0),
    **dict.fromkeys(("micron", "micrometer", "micrometre"), 1.0),
    **dict.fromkeys(("pm", "picometer", "picometre"), 1e-6),
    **dict.fromkeys(("a", "å", "angstrom", "ångström"), 1e-4),
    **dict.fromkeys(("nm", "nanometer", "nanometre"), 1e-3),
    **dict.fromkeys(("mm", "millimeter", "millimetre"), 1e3),
    **dict.fromkeys(("cm", "centimeter", "centimetre"), 1e4),
    **dict.fromkeys(("m", "meter", "metre"), 1e6),
    **dict.fromkeys(("in", "inch", "inche", '"'), 25400.0),
    **dict.fromkeys(("mil", "thou"), 25.4),
}


def micrometres(unit: str) -> float:
    """How many micrometres a unit is; raises KeyError for what is no unit of length."""
    unit = unit.strip().lower()
    if unit not in MICROMETRES:
        unit = unit.removesuffix("s")
    return MICROMETRES[unit]


# Micrometres a pixel: a coarser resolution in inches or centimetres (below 1,270 dots an inch) is
# meant for a printer.
PRINTED = 20.0
MOST_SCANNED = 9600  # dots an inch, in hundreds, that scanners have

SQUARE = 0.01  # relative difference of width and height of a pixel that counts as none
CONTRADICTION = 0.02  # relative difference of two scales from which they contradict each other
MOST_ROWS_OF_BAR = 0.4  # of an image: a taller data bar is a mistake


@dataclass(frozen=True)
class Scale:
    """Micrometres per pixel, or None when the scale is unknown, and where it comes from."""

    micrometres_per_pixel: float | None = None
    source: str = "none: lengths are in pixels"


@dataclass(frozen=True)
class FileTags:
    """What a microscope wrote into a file.

    Attributes
    ----------
    scale : its scale; unknown when there is none.
    bar_rows : the rows of the data bar at the bottom of the image.
    """

    scale: Scale = Scale()
    bar_rows: int = 0


def file_tags(data: bytes) -> FileTags:
    """Scale and data bar by the tags of a TIFF; nothing of other files.

    Tags of microscopes come first, then OME, ImageJ, and the resolution that every TIFF may have,
    unless that is meant for a printer. Raises ToolkitError for pixels that are not square.
    """
    if not is_tiff(data):
        return FileTags()

    with quiet_tifffile():
        try:
            with tifffile.TiffFile(io.BytesIO(data)) as file:
                for source, read in READERS.items():
                    tags = tags_by(read, file, source)
                    if tags is not None:
                        return tags
        except ToolkitError:
            raise
        except Exception:
            # Garbled tags fail in a dozen ways, and a micrograph without a scale is still one.
            return FileTags()

    return FileTags()


def tags_by(
    read: Callable[[tifffile.TiffFile], Any],
    file: tifffile.TiffFile,
    source: str,
) -> FileTags | None:
    """What one kind of tags says; None when they are missing or make no sense."""
    try:
        pixel = read(file)
    except Exception:  # see `file_tags`
        return None
    if pixel is None or isinstance(pixel, FileTags):
        return pixel

    x, y, bar_rows = pixel
    if not (FINEST <= x <= COARSEST and FINEST <= y <= COARSEST):
        return None
    if abs(x - y) > SQUARE * x:
        reason = (
            f"The TIFF's pixels are {x:.4g} x {y:.4g} micrometres, not square."
        )
        raise ToolkitError(
            reason, "Resample the image, or give --micrometres-per-pixel."
        )
    return FileTags(Scale((x * y) ** 0.5, source), bar_rows)


# --- readers: width and height of a pixel in micrometres, and rows of the data bar

Pixel = tuple[float, float, int]


def image_page(file: tifffile.TiffFile) -> tifffile.TiffPage:
    """The page with the image, which a thumbnail may precede."""
    return only_page(file, "the image")


def fei_pixel(file: tifffile.TiffFile) -> Pixel | FileTags | None:
    """FEI and Thermo Fisher: tag 34682 or 34680."""
    tags = file.fei_metadata
    if not tags:
        return None
    sections = [tags.get(name, {}) for name in ("Scan", "EScan", "IScan")]
    beam = next(section for section in sections if "PixelWidth" in section)
    width = float(beam["PixelWidth"]) * 1e6
    height = float(beam.get("PixelHeight", beam["PixelWidth"])) * 1e6

    # The image may end in a data bar, below the rows that were scanned.
    page = image_page(file)
    rows = page.imagelength
    columns = int(tags.get("Image", {}).get("ResolutionX", page.imagewidth))
    if columns != page.imagewidth:
        source = (
            f"none: the tags are of a picture {columns} pixels wide; "
            "lengths are in pixels"
        )
        return FileTags(Scale(source=source))
    scanned = int(tags.get("Image", {}).get("ResolutionY", rows))
    bar_rows = rows - scanned
    if not 0 <= bar_rows <= MOST_ROWS_OF_BAR * rows:
        bar_rows = 0
    return width, height, bar_rows


def zeiss_pixel(file: tifffile.TiffFile) -> Pixel | None:
    """Zeiss: tag 34118. Its "Pixel Size" is that of the monitor, its "Image Pixel Size" ours."""
    tags = file.sem_metadata
    if not tags:
        return None
    _, *parts = tags["ap_image_pixel_size"]
    text = " ".join(map(str, parts)).replace(",", ".")
    number, unit = re.fullmatch(r"\s*([\d.eE+-]+)\s*(\D+)", text).groups()
    size = float(number) * micrometres(unit)
    return size, size, 0


def olympus_pixel(file: tifffile.TiffFile) -> Pixel | None:
    """Olympus SIS: tags 33471 and 33560, in metres."""
    tags = file.sis_metadata
    if not tags:
        return None
    width = float(tags["pixelsizex"]) * 1e6
    return width, float(tags.get("pixelsizey", tags["pixelsizex"])) * 1e6, 0


def tvips_pixel(file: tifffile.TiffFile) -> Pixel | None:
    """TVIPS: tag 37706, in nanometres."""
    tags = file.tvips_metadata
    if not tags:
        return None
    return float(tags["PixelSizeX"]) / 1e3, float(tags["PixelSizeY"]) / 1e3, 0


def gatan_pixel(file: tifffile.TiffFile) -> Pixel | None:
    """Gatan DigitalMicrograph: tags 65003 and 65004 (units), 65009 and 65010 (sizes)."""
    value = image_page(file).tags.valueof
    if value(65009) is None:
        return None
    y = float(value(65009)) * micrometres(value(65003))
    return float(value(65010)) * micrometres(value(65004)), y, 0


def jeol_pixel(file: tifffile.TiffFile) -> Pixel | FileTags | None:
    """JEOL's transmission microscopes: the resolution is that of the camera, to be demagnified."""
    value = image_page(file).tags.valueof
    if value("Make") != "JEOL Ltd.":
        return None
    text = value("ImageDescription")
    mode = re.search(r"<ModeString>\s*(\w+)", text)
    magnification = re.search(r"<SelectorValue>\s*([\d.eE+]+)", text)
    x, y = resolution(file)
    if not magnification or (mode and mode[1] != "MAG"):
        source = "none: the tags tell no magnification; lengths are in pixels"
        return FileTags(Scale(source=source))
    return x / float(magnification[1]), y / float(magnification[1]), 0


def ome_pixel(file: tifffile.TiffFile) -> Pixel | None:
    """OME-XML in the image's description; the unit's default is the micrometre."""
    if not file.is_ome:
        return None
    root = ElementTree.fromstring(file.pages[0].description)
    pixels = next(
        element for element in root.iter() if element.tag.endswith("Pixels")
    )
    sizes = []
    for axis in "XY":
        size = pixels.get(f"PhysicalSize{axis}")
        if size is not None:
            unit = pixels.get(f"PhysicalSize{axis}Unit", "µm")
            sizes.append(float(size) * micrometres(unit))
    return sizes[0], sizes[-1], 0


def imagej_pixel(file: tifffile.TiffFile) -> Pixel | FileTags | None:
    """ImageJ: the resolution is in pixels per unit, and the unit in the description."""
    tags = file.imagej_metadata
    if not tags or "unit" not in tags:
        return None
    unit = str(tags["unit"]).strip()
    if "\\" in unit:  # ImageJ writes the micro sign as an escape sequence
        unit = unit.encode("latin-1").decode("unicode_escape")
    try:
        length = micrometres(unit)
    except KeyError:
        source = f"none: {unit!r} is no unit of length; lengths are in pixels"
        return FileTags(Scale(source=source))
    x, y = resolution(file, length)
    # ImageJ says inch or cm where it knows nothing but dots for a printer.
    if unit.lower() in ("inch", "cm") and x > PRINTED:
        return None
    return x, y, 0


def tiff_pixel(file: tifffile.TiffFile) -> Pixel | FileTags | None:
    """Any TIFF: pixels per inch or centimetre, unless a printer or scanner is meant."""
    x, y = resolution(file)
    if is_of_printer(x) and x <= COARSEST:
        dots = f"{25400 / x:.0f} dots an inch are for a printer or scanner"
        source = f"none: {dots}; lengths are in pixels"
        return FileTags(Scale(source=source))
    return x, y, 0


def is_of_printer(pixel: float) -> bool:
    """Whether a pixel of so many micrometres is one of a printer or a scanner of paper and film."""
    dots = 25400 / pixel
    is_round = abs(dots - round(dots, -2)) < 0.01 and dots <= MOST_SCANNED
    return pixel > PRINTED or is_round


def resolution(
    file: tifffile.TiffFile, unit: float | None = None
) -> tuple[float, float]:
    """Width and height of a pixel in micrometres by the resolution tags.

    `unit` is what the resolution is counted in, in micrometres; None asks the tags.
    """
    tags = image_page(file).tags
    if unit is None:
        unit = {2: 25400.0, 3: 1e4}[tags.valueof("ResolutionUnit", 2)]
    sizes = []
    for name in ("XResolution", "YResolution"):
        above, below = tags[name].value
        sizes.append(unit * below / above)
    return sizes[0], sizes[1]


READERS: dict[str, Callable[[tifffile.TiffFile], Any]] = {
    "FEI tags": fei_pixel,
    "Zeiss tags": zeiss_pixel,
    "Olympus SIS tags": olympus_pixel,
    "TVIPS tags": tvips_pixel,
    "JEOL tags": jeol_pixel,
    "Gatan tags": gatan_pixel,
    "OME-XML": ome_pixel,
    "ImageJ tags": imagej_pixel,
    "TIFF resolution": tiff_pixel,
}


# --- scales that the user gives


def scale_in_table(table: Path, path: Path) -> Scale | None:
    """The scale of a micrograph by a table of file patterns; None when no pattern fits.

    A row is a pattern, as in `batch-?/*.tif`, and micrometres per pixel; the first that fits the
    file's name, or the end of its path, counts; upper and lower case are alike, and a pattern that
    ends in a slash fits all files in that folder. Raises ToolkitError for a table that is none.
    """
    place = path.as_posix().lower()
    for number, (pattern, size) in enumerate(rows_of_table(table), 1):
        wanted = pattern.replace("\\", "/").removeprefix("./").lower()
        if wanted.endswith("/"):
            wanted += "*"
        is_it = place == wanted or place.endswith(f"/{wanted}")
        if is_it or fnmatchcase(f"/{place}", f"*/{wanted}"):
            return Scale(size, f"{table.name}, row {number}: {pattern}")
    return None


def rows_of_table(table: Path) -> list[tuple[str, float]]:
    """Patterns and micrometres per pixel in a CSV table; a first row of words is a header.

    Cells are parted by commas, semicolons or tabs, the latter two with decimal commas.
    """
    try:
        data = table.read_bytes()
        encoding = "utf-16" if data[:2] in UTF_16 else "utf-8-sig"
        text = data.decode(encoding)
    except (OSError, UnicodeDecodeError) as error:
        reason = f"The table of scales {table} cannot be read: {error}."
        remedy = "Give a CSV file in UTF-8 for --scales."
        raise ToolkitError(reason, remedy, 2) from error

    first = text.lstrip().partition("\n")[0]
    separator = next((one for one in ";\t" if one in first), ",")
    rows = []
    has_header = False
    lines = csv.reader(io.StringIO(text), delimiter=separator)
    for number, row in enumerate(lines, 1):
        cells = [one.strip() for one in row]
        if not any(cells) or cells[0].startswith(("#", "sep=")):
            continue
        if is_header(cells) and not rows and not has_header:
            check_header(cells[1], table)
            has_header = True
            continue
        try:
            number_text = cells[1].replace("_", "?")
            if separator != ",":
                number_text = number_text.replace(",", ".")
            pattern, size = cells[0], float(number_text)
            if not FINEST <= size <= COARSEST:
                raise ValueError
        except (IndexError, ValueError) as error:
            reason = (
                f"{table}, line {number}: {separator.join(row)!r} is no scale."
            )
            remedy = "Write a file pattern, a comma, and micrometres per pixel."
            raise ToolkitError(reason, remedy, 2) from error
        rows.append((pattern, size))
    return rows


def is_header(cells: list[str]) -> bool:
    """Whether a row of a table of scales is words alone: no file pattern and no number."""
    is_pattern = bool(set(cells[0]) & set("*?./\\"))
    is_word = len(cells) > 1 and cells[1][:1].isalpha()
    return is_word and not is_pattern and cells[1].lower() not in ("nan", "inf")


def check_header(words: str, table: Path) -> None:
    """Raise ToolkitError when a header says something else than micrometres per pixel."""
    words = words.lower()
    is_other = re.search(
        r"nano|milli|nm\b|mm\b|inch|pi?x(el)?s?\s*(per|/)", words
    )
    if is_other:
        reason = f"The header of {table} says {words!r}."
        raise ToolkitError(reason, "Give micrometres per pixel.", 2)


def no_row(scale: Scale, table: Path | None) -> list[str]:
    """A note when a table of scales has no row for a file, whose scale is another one then."""
    if table is None or scale.source.startswith(f"{table.name}, row"):
        return []
    return [
        f"No row of {table.name} fits this file. Its scale: {scale.source}."
    ]


def contradiction(scale: Scale, other: Scale) -> list[str]:
    """A note when two known scales of one file differ by more than two per cent."""
    ours = scale.micrometres_per_pixel
    theirs = other.micrometres_per_pixel
    if not ours or not theirs or abs(ours / theirs - 1) <= CONTRADICTION:
        return []
    return [
        f"The scale used, {ours:.4g} micrometres a pixel ({scale.source}), contradicts the file's "
        f"own: {theirs:.4g} ({other.source}). Check which is right."
    ]
