"""Where the scale of a micrograph comes from."""

import io

import numpy as np
import pytest
import tifffile

from hvd.toolkit.core import ToolkitError
from hvd.toolkit.tasks.grains.scale import (
    Scale,
    contradiction,
    file_tags,
    no_row,
    scale_in_table,
)

GREY = np.full((20, 30), 100, np.uint8)


def tiff(**options):
    file = io.BytesIO()
    tifffile.imwrite(file, GREY, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {
                "imagej": True,
                "resolution": (2.5, 2.5),
                "metadata": {"unit": "um"},
            },
            0.4,
        ),
        (
            {
                "imagej": True,
                "resolution": (2.5, 2.5),
                "metadata": {"unit": "micron"},
            },
            0.4,
        ),
        (
            {
                "imagej": True,
                "resolution": (0.02, 0.02),
                "metadata": {"unit": "nm"},
            },
            0.05,
        ),
        (
            {"resolution": (22502, 22502), "resolutionunit": "CENTIMETER"},
            1e4 / 22502,
        ),
        ({"resolution": (25400, 25400), "resolutionunit": "INCH"}, 1.0),
    ],
)
def test_a_tiffs_tags_tell_the_scale(options, expected):
    assert file_tags(
        tiff(**options)
    ).scale.micrometres_per_pixel == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"resolution": (72, 72), "resolutionunit": "INCH"},
        {"resolution": (300, 300), "resolutionunit": "INCH"},
        {
            "imagej": True,
            "resolution": (300, 300),
            "metadata": {"unit": "inch"},
        },
    ],
)
def test_a_printers_resolution_is_no_scale(options):
    assert file_tags(tiff(**options)).scale.micrometres_per_pixel is None


def test_files_without_tags_or_with_garbled_ones_have_no_scale():
    assert file_tags(b"\x89PNG\r\n\x1a\n").scale.micrometres_per_pixel is None
    assert file_tags(tiff()[:40]).scale.micrometres_per_pixel is None


def test_pixels_that_are_not_square_are_refused():
    with pytest.raises(ToolkitError, match="not square"):
        file_tags(tiff(resolution=(10000, 20000), resolutionunit="CENTIMETER"))


FEI = """[Scan]\nPixelWidth=2.5e-007\nPixelHeight=2.5e-007\n
[Image]\nResolutionX=30\nResolutionY=16\n"""
ZEISS = (
    "AP_MAG\nMag = 5.00 K X\nAP_PIXEL_SIZE\nPixel Size = 1.234 mm\n"
    "AP_IMAGE_PIXEL_SIZE\nImage Pixel Size = {}\n"
)
JEOL = (
    '<?xml version="1.0"?><TemReporter><ImageFormingSystem><ModeString>{}</ModeString>'
    "<SelectorValue>50000</SelectorValue></ImageFormingSystem></TemReporter>"
)


def text_tag(code, text):
    return code, "s", 0, text.encode("cp1252"), True


def double_tag(code, value):
    return code, "d", 1, value, True


def with_tags(*tags, **options):
    return tiff(extratags=tags, metadata=None, **options)


@pytest.mark.parametrize(
    ("data", "expected", "source"),
    [
        (with_tags(text_tag(34682, FEI)), 0.25, "FEI tags"),
        (with_tags(text_tag(34118, ZEISS.format("111.6 nm"))), 0.1116, "Zeiss"),
        (with_tags(text_tag(34118, ZEISS.format("2.5 µm"))), 2.5, "Zeiss"),
        (with_tags(text_tag(34118, ZEISS.format("930 pm"))), 9.3e-4, "Zeiss"),
        (
            with_tags(
                text_tag(65003, "nm"),
                text_tag(65004, "nm"),
                double_tag(65009, 12.5),
                double_tag(65010, 12.5),
            ),
            0.0125,
            "Gatan",
        ),
        (
            with_tags(
                text_tag(271, "JEOL Ltd."),
                resolution=(400, 400),
                resolutionunit="CENTIMETER",
                description=JEOL.format("MAG"),
            ),
            1e4 / 400 / 50000,
            "JEOL",
        ),
    ],
)
def test_the_tags_of_microscopes_tell_the_scale(data, expected, source):
    scale = file_tags(data).scale
    assert scale.micrometres_per_pixel == pytest.approx(expected, rel=1e-4)
    assert scale.source.startswith(source)


def test_a_microscopes_tags_go_before_the_resolution_for_a_printer():
    data = with_tags(
        text_tag(34682, FEI), resolution=(96, 96), resolutionunit="INCH"
    )
    assert file_tags(data).scale.micrometres_per_pixel == pytest.approx(0.25)


def test_the_data_bar_of_an_fei_file_is_told_by_its_tags():
    assert file_tags(with_tags(text_tag(34682, FEI))).bar_rows == 4
    taller = FEI.replace("ResolutionY=16", "ResolutionY=3")
    assert file_tags(with_tags(text_tag(34682, taller))).bar_rows == 0


def test_a_diffraction_pattern_has_no_scale():
    data = with_tags(
        text_tag(271, "JEOL Ltd."),
        resolution=(400, 400),
        resolutionunit="CENTIMETER",
        description=JEOL.format("DIFF"),
    )
    assert file_tags(data).scale.micrometres_per_pixel is None


@pytest.mark.parametrize(
    ("unit", "size", "expected"),
    [("µm", 0.4, 0.4), ("nm", 400, 0.4), ("mm", 0.0004, 0.4), (None, 0.4, 0.4)],
)
def test_ome_tells_the_scale_in_any_unit(unit, size, expected):
    metadata = {"axes": "YX", "PhysicalSizeX": size, "PhysicalSizeY": size}
    if unit:
        metadata |= {"PhysicalSizeXUnit": unit, "PhysicalSizeYUnit": unit}
    scale = file_tags(tiff(ome=True, metadata=metadata)).scale
    assert scale.micrometres_per_pixel == pytest.approx(expected)
    assert scale.source == "OME-XML"


@pytest.mark.parametrize(
    ("unit", "micrometres"),
    [
        ("\\u00B5m", 1),
        ("µm", 1),
        ("microns", 1),
        ("pm", 1e-6),
        ("Å", 1e-4),
        ("nm", 1e-3),
        ("mm", 1e3),
        ("cm", 1e4),
        ("m", 1e6),
    ],
)
def test_every_unit_that_imagej_writes_is_known(unit, micrometres):
    per_unit = 0.5 * micrometres
    data = tiff(
        imagej=True,
        resolution=(per_unit, per_unit),
        metadata={"unit": unit.encode("ascii", "backslashreplace").decode()},
    )
    scale = file_tags(data).scale
    assert scale.micrometres_per_pixel == pytest.approx(2, rel=1e-3)


@pytest.mark.parametrize("unit", ["pixel", "furlong", ""])
def test_a_unit_that_is_no_length_gives_no_scale(unit):
    data = tiff(
        imagej=True, resolution=(2.0, 2.0), metadata={"unit": unit or " "}
    )
    assert file_tags(data).scale.micrometres_per_pixel is None


def test_a_scale_that_contradicts_the_file_is_noted():
    ours, theirs = Scale(4.0, "given"), Scale(0.4, "FEI tags")
    (note,) = contradiction(ours, theirs)
    assert "contradicts" in note and "0.4 (FEI tags)" in note
    assert not contradiction(Scale(0.4, "given"), theirs)
    assert not contradiction(ours, Scale())


def test_a_table_gives_each_file_its_scale(tmp_path):
    table = tmp_path / "scales.csv"
    table.write_text(
        "file,micrometres per pixel\n# lenses\nbatch-?/a*.tif, 0.5\n*.tif,2\n"
    )
    cases = {"x/batch-1/a7.tif": 0.5, "x/batch-1/b7.tif": 2, "c.png": None}
    for name, expected in cases.items():
        scale = scale_in_table(table, tmp_path / name)
        assert (scale and scale.micrometres_per_pixel) == expected
    assert "row 1" in scale_in_table(table, tmp_path / "batch-1/a7.tif").source


@pytest.mark.parametrize(
    "text",
    [
        "a.tif\n",
        "a.tif,x1\n",
        "a.tif,zero\n",
        "a.tif,nan\n",
        "a.tif,0\n",
        "a.tif,-1\n",
    ],
)
def test_a_table_that_is_none_is_refused(tmp_path, text):
    table = tmp_path / "scales.csv"
    for first in ("*.png,1\n", "file,um\n", ""):
        table.write_text(first + text)
        with pytest.raises(ToolkitError, match="is no scale") as error:
            scale_in_table(table, tmp_path / "a.tif")
        assert error.value.status == 2
    with pytest.raises(ToolkitError, match="cannot be read"):
        scale_in_table(tmp_path / "missing.csv", tmp_path / "a.tif")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("file;um/px\n*.tif;0,25\n", 0.25),
        ("sep=;\n*.tif;0,25\n", 0.25),
        ("*.TIF\t0.25\n", 0.25),
        ("batch-1\\*.tif,0.25\n", 0.25),
        ("./batch-1/,0.25\n", 0.25),
        ("x[1].tif,0.25\n", 0.25),
        ("batch-2/*.tif,0.25\n", None),
    ],
)
def test_tables_come_from_any_program(tmp_path, text, expected):
    table = tmp_path / "scales.csv"
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        table.write_text(text, encoding=encoding)
        scale = scale_in_table(table, tmp_path / "batch-1" / "x[1].tif")
        assert (scale and scale.micrometres_per_pixel) == expected


@pytest.mark.parametrize(
    "header", ["nanometres per pixel", "nm/px", "pixels per micrometre"]
)
def test_a_header_that_says_another_unit_is_refused(tmp_path, header):
    table = tmp_path / "scales.csv"
    table.write_text(f"file,{header}\n*.tif,500\n")
    with pytest.raises(ToolkitError, match="header"):
        scale_in_table(table, tmp_path / "a.tif")


def test_a_file_that_no_row_fits_is_noted(tmp_path):
    table = tmp_path / "scales.csv"
    (note,) = no_row(Scale(), table)
    assert "No row of scales.csv" in note
    assert not no_row(Scale(1.0, "scales.csv, row 1: *.tif"), table)
    assert not no_row(Scale(), None)


def test_dots_for_a_printer_in_centimetres_are_no_scale_of_imagej():
    data = tiff(
        imagej=True, resolution=(118.11, 118.11), metadata={"unit": "cm"}
    )
    assert file_tags(data).scale.micrometres_per_pixel is None


def test_a_thumbnail_before_the_image_does_not_tell_its_scale():
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(
            GREY[::4, ::4],
            subfiletype=1,
            resolution=(10_000, 10_000),
            resolutionunit="CENTIMETER",
        )
        writer.write(
            GREY, resolution=(40_000, 40_000), resolutionunit="CENTIMETER"
        )
    scale = file_tags(file.getvalue()).scale
    assert scale.micrometres_per_pixel == pytest.approx(0.25)


def test_tags_of_a_picture_of_another_width_tell_no_scale():
    resized = FEI.replace("ResolutionX=30", "ResolutionX=60")
    scale = file_tags(with_tags(text_tag(34682, resized))).scale
    assert scale.micrometres_per_pixel is None
    assert "60 pixels wide" in scale.source


def test_tags_written_in_other_ways_are_understood():
    only_beam = FEI.replace("[Scan]", "[Scan]\nDwelltime=1\n[EScan]")
    scale = file_tags(with_tags(text_tag(34682, only_beam))).scale
    assert scale.micrometres_per_pixel == pytest.approx(0.25)
    for text in ("111,6 nm", "111.6nm"):
        scale = file_tags(with_tags(text_tag(34118, ZEISS.format(text)))).scale
        assert scale.micrometres_per_pixel == pytest.approx(0.1116)
    metadata = {
        "axes": "YX",
        "PhysicalSizeX": 400,
        "PhysicalSizeXUnit": "nm",
    }
    scale = file_tags(tiff(ome=True, metadata=metadata)).scale
    assert scale.micrometres_per_pixel == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("dots", "is_scale"),
    [(2400, False), (4800, False), (25400, True), (2413, True)],
)
def test_resolutions_of_scanners_are_no_scale(dots, is_scale):
    data = io.BytesIO()
    tifffile.imwrite(
        data,
        np.zeros((8, 8), np.uint8),
        resolution=(dots, dots),
        resolutionunit="INCH",
    )
    scale = file_tags(data.getvalue()).scale
    assert (scale.micrometres_per_pixel is not None) == is_scale
    assert is_scale or "scanner" in scale.source
