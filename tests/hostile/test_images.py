"""One run over a folder of damaged, odd and hostile pictures."""

import io
import os
import struct
import subprocess
import sys
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.hostile.child import toolkit
from tests.hostile.rows import row

RNG = np.random.default_rng(0)
PICTURE = cv2.GaussianBlur(
    RNG.integers(0, 256, (40, 64, 3), np.uint8), (0, 0), 2
)


def coded(suffix, image=PICTURE):
    return cv2.imencode(suffix, image)[1].tobytes()


def saved(kind, image, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png_header(width, height):
    """A PNG that tells its size and holds next to nothing."""

    def chunk(name, data):
        return (
            struct.pack(">I", len(data))
            + name
            + data
            + struct.pack(">I", zlib.crc32(name + data))
        )

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + head
        + chunk(b"IDAT", zlib.compress(b"\0" * 100))
        + chunk(b"IEND", b"")
    )


def tiff(array, **options):
    file = io.BytesIO()
    tifffile.imwrite(file, array, **options)
    return file.getvalue()


def exif_turned():
    exif = Image.Exif()
    exif[274] = 6  # to be shown turned by a quarter
    return saved("JPEG", Image.fromarray(PICTURE), exif=exif)


def corpus():
    """Bytes of every picture by its name."""
    colour, still = (
        Image.fromarray(PICTURE),
        [Image.fromarray(np.rot90(PICTURE, 2).copy())],
    )
    jpeg, png = coded(".jpg"), coded(".png")
    flipped = bytearray(png)
    flipped[len(png) // 2] ^= 255
    nan = np.full((20, 30), np.nan, np.float32)
    return {
        "whole.png": png,
        "empty.jpg": b"",
        "text.jpg": b"no image at all",
        "cut50.jpg": jpeg[: len(jpeg) // 2],
        "cut90.jpg": jpeg[: len(jpeg) * 9 // 10],
        "flipped.png": bytes(flipped),
        "misnamed.jpg": png,
        "header.png": png_header(65500, 65500),
        "bomb.png": saved(
            "PNG", Image.fromarray(np.zeros((20000, 20000), np.uint8))
        ),
        "zero-width.png": png_header(0, 10),
        "one.png": coded(".png", PICTURE[:1, :1]),
        "deep.png": coded(".png", PICTURE.astype(np.uint16) * 257),
        "nan.tif": tiff(nan),
        "cmyk.jpg": saved("JPEG", colour.convert("CMYK")),
        "palette.png": saved("PNG", colour.quantize(8)),
        "alpha.png": saved("PNG", colour.convert("RGBA")),
        "grey-alpha.png": saved("PNG", colour.convert("LA")),
        "turned.jpg": exif_turned(),
        "pages.tif": tiff(
            np.stack([PICTURE[..., 0]] * 3), photometric="minisblack"
        ),
        "moving.webp": saved(
            "WEBP", colour, save_all=True, append_images=still, lossless=True
        ),
        "moving.png": saved("PNG", colour, save_all=True, append_images=still),
        "gif.png": saved("GIF", colour),
        "svg.png": b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        "film.mp4": b"\0\0\0\x18ftypmp42",
        "trailing.jpg": jpeg + b"<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>.png": png,
        "new\nline.png": png,
        "=HYPERLINK(1).png": png,
        "-rf.png": png,
        "\N{GRINNING FACE}.png": png,
        os.fsdecode(b"gef\xfcge.png"): png,
        f"{'x' * 200}.png": png,
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The run, and its records by the names of pictures."""
    place = tmp_path_factory.mktemp("pictures")
    (place / "in").mkdir()
    for name, data in corpus().items():
        (place / "in" / name).write_bytes(data)
    ended = toolkit(
        "predict",
        "objects",
        "in",
        "--out",
        "out",
        "--method",
        "trivial",
        cwd=place,
    )
    return (
        ended,
        {
            record["input"].removeprefix("in/"): record
            for record in ended.records
        },
        place,
    )


def failed(run, name, words):
    record = run[1][name]
    assert (
        record["status"] == "failed"
        and words in record["reason"]
        and record["remedy"]
    ), record


def answered(run, *names):
    for name in names:
        assert run[1][name]["status"] == "ok", run[1][name]


@row(
    "any folder of these",
    "one record for each; status 1; no traceback; the pictures themselves unchanged",
)
def test_all(run):
    ended, records, place = run
    assert ended.status == 1 and set(records) == set(corpus())
    assert all(
        line.startswith("Error: ")
        for line in ended.err.replace("new\nline", "").splitlines()
    ), ended.err
    assert all(
        (place / "in" / name).read_bytes() == data
        for name, data in corpus().items()
    )


@row("file of 0 bytes", "fails: it is empty")
def test_empty(run):
    failed(run, "empty.jpg", "is empty")


@row(
    "text renamed .jpg",
    "fails: not an image, with the bytes that it begins with",
)
def test_text(run):
    failed(run, "text.jpg", "not an image: it begins with")


@row(
    "JPEG cut at 50 % or 90 %",
    "fails: damaged or cut short; no pixels are made up",
)
def test_cut(run):
    failed(run, "cut50.jpg", "cut short")
    failed(run, "cut90.jpg", "cut short")


@row("PNG with a changed byte", "fails: damaged")
def test_flipped(run):
    failed(run, "flipped.png", "damaged")


@row("PNG named .jpg", "answered: files are told by their first bytes")
def test_misnamed(run):
    answered(run, "misnamed.jpg")


@row(
    "PNG that claims 65,500 x 65,500 pixels",
    "fails by its header: more than `--max-pixels`",
)
def test_header(run):
    failed(run, "header.png", "100,000,000 pixels")


@row(
    "PNG of 20,000 x 20,000 zeros, 389 KB",
    "fails by its header; reading it takes less than 50 MB",
)
def test_bomb(run, tmp_path):
    failed(run, "bomb.png", "100,000,000 pixels")
    (tmp_path / "bomb.png").write_bytes(corpus()["bomb.png"])
    script = """if True:
        import sys
        from hvd.benchmarks.machine import own_peak_megabytes
        from hvd.toolkit.core import ToolkitError
        from hvd.toolkit.images import read_image
        from pathlib import Path
        before = own_peak_megabytes()
        try:
            read_image(Path(sys.argv[1]))
        except ToolkitError:
            print(own_peak_megabytes() - before)
    """
    result = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "bomb.png"],
        capture_output=True,
        text=True,
    )
    assert float(result.stdout) < 50, result.stderr


@row("width 0", "fails: damaged")
def test_zero_width(run):
    failed(run, "zero-width.png", "damaged")


@row("picture of 1 x 1", "fails: 8 pixels a side are needed")
def test_one_pixel(run):
    failed(run, "one.png", "1 x 1")


@row(
    "16 bits a channel",
    "answered, scaled to 8 for colour; micrographs and scans keep all 16",
)
def test_deep(run):
    answered(run, "deep.png")


@row(
    "floating-point TIFF with NaN",
    "fails: pictures have 8 or 16 bits; of micrographs, NaN is not measured",
)
def test_nan(run):
    failed(run, "nan.tif", "colours as float32")


@row(
    "CMYK, palette, transparency",
    "answered as RGB, transparency dropped; of micrographs, it is not measured",
)
def test_colours(run):
    answered(run, "cmyk.jpg", "palette.png", "alpha.png", "grey-alpha.png")


@row(
    "EXIF orientation 6",
    "answered as it is shown: the mask is as high as the file is wide",
)
def test_turned(run):
    answered(run, "turned.jpg")
    mask = cv2.imread(str(run[2] / "out/turned/mask.png"), cv2.IMREAD_UNCHANGED)
    assert mask.shape[:2] == (64, 40)


@row(
    "TIFF of several pages, moving WebP or PNG",
    "fails: save each as a file of its own",
)
def test_pages(run):
    for name, count in (
        ("pages.tif", "several"),
        ("moving.webp", 2),
        ("moving.png", 2),
    ):
        failed(run, name, f"{count} pages or frames")


@row(
    "GIF or SVG renamed .png, film",
    "fails: not an image; a film is passed over by its name",
)
def test_other_formats(run):
    failed(run, "gif.png", "not an image")
    failed(run, "svg.png", "not an image")
    assert run[1]["film.mp4"]["status"] == "skipped"


@row(
    "JPEG with HTML behind its end",
    "answered; only pixels are ever written again",
)
def test_trailing(run):
    answered(run, "trailing.jpg")
    assert not any(
        b"alert" in path.read_bytes()
        for path in (run[2] / "out/trailing").iterdir()
        if path.suffix == ".png"
    )


@row(
    "file names with HTML, newline, `=`, leading `-`, emoji, 200 letters, bytes that are not UTF-8",
    "answered, told as JSON",
)
def test_names(run):
    odd = [
        name
        for name in corpus()
        if not name.isascii()
        or set(name) & set("<\n=")
        or name[0] == "-"
        or len(name) > 99
    ]
    assert len(odd) == 7
    answered(run, *odd)
    assert len((run[2] / "out/manifest.jsonl").read_text().splitlines()) == len(
        corpus()
    )
