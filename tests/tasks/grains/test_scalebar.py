"""Scale bars of every kind that microscopes draw."""

import cv2
import numpy as np
import pytest

from hvd.toolkit.core import ToolkitError
from hvd.toolkit.tasks.grains.scalebar import scale_bar
from tests.tasks.grains.test_surroundings import etched


def micrograph():
    return (
        np.random.default_rng(0).integers(60, 190, (300, 500)).astype(np.uint8)
    )


@pytest.mark.parametrize("tone", [0, 255])
def test_the_scale_bar_is_measured(tone):
    image = micrograph()
    image[280:285, 350:451] = tone
    bar = scale_bar(image)
    assert (bar.length, bar.row, bar.column) == (101, 280, 350)


def test_a_bar_with_ticks_in_a_data_bar_is_measured():
    image = micrograph()
    image[270:] = 0
    image[284:287, 300:400] = 255
    image[278:293, 300:302] = image[278:293, 398:400] = 255
    assert scale_bar(image).length == 100


def test_a_saturated_blob_is_no_bar():
    image = micrograph()
    cv2.ellipse(image, (250, 150), (25, 6), 0, 0, 360, 0, -1)
    with pytest.raises(ToolkitError, match="No scale bar"):
        scale_bar(image)


def test_no_bar_and_two_bars_are_refused():
    image = micrograph()
    with pytest.raises(ToolkitError, match="No scale bar"):
        scale_bar(image)
    image[280:285, 350:451] = 255
    image[20:25, 50:110] = 255
    with pytest.raises(ToolkitError, match="More than one"):
        scale_bar(image)


def test_a_bar_of_12_bits_in_a_file_of_16_is_measured():
    image = micrograph().astype(np.uint16) * 10
    image[200:206, 300:420] = 4095
    bar = scale_bar(image)
    assert (bar.length, bar.row, bar.column) == (120, 200, 300)


def photograph_like(shape=(300, 500), channels=0):
    """Smooth grey texture, with noise, as metals show it."""
    rng = np.random.default_rng(4)
    size = (*shape, channels) if channels else shape
    image = rng.normal(128, 60, size).astype(np.float32)
    image = cv2.GaussianBlur(image, (0, 0), 2) * 3 - 256
    return np.clip(image + rng.normal(0, 3, size), 20, 235).astype(np.uint8)


@pytest.mark.parametrize("thickness", [1, 2, 6])
@pytest.mark.parametrize("ends", [0, 5, 13])
@pytest.mark.parametrize("ground", ["bar", "box", "picture"])
@pytest.mark.parametrize("is_bright", [True, False])
def test_bars_are_measured_on_every_ground(thickness, ends, ground, is_bright):
    image = photograph_like()
    ink, paper = (255, 0) if is_bright else (0, 255)
    if ground == "bar":
        image[250:] = paper
    elif ground == "box":
        image[255:290, 330:470] = paper
    row = 270
    image[row : row + thickness, 350:450] = ink
    for left, right in ((350, 352), (448, 450)):
        image[row - ends : row + thickness + ends, left:right] = ink
    bar = scale_bar(image)
    assert bar.length == 100 and abs(bar.row - row) <= 1


@pytest.mark.parametrize(
    "colour", [(255, 0, 0), (0, 255, 0), (220, 40, 40), (255, 255, 0)]
)
@pytest.mark.parametrize("is_jpeg", [False, True])
def test_bars_in_colour_are_measured(colour, is_jpeg):
    image = cv2.cvtColor(photograph_like(), cv2.COLOR_GRAY2RGB)
    image[250:256, 300:420] = colour
    if is_jpeg:
        _, data = cv2.imencode(
            ".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95]
        )
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]
    assert abs(scale_bar(image).length - 120) <= 2


@pytest.mark.parametrize("has_ends", [False, True])
def test_a_number_in_the_middle_of_a_bar_does_not_halve_it(has_ends):
    image = photograph_like()
    image[260:] = 0
    image[278:281, 300:350] = image[278:281, 398:448] = 255
    if has_ends:
        image[272:287, 300:302] = image[272:287, 446:448] = 255
    cv2.putText(image, "500", (354, 285), 0, 0.5, 255, 1)
    bar = scale_bar(image)
    assert (bar.length, bar.column) == (148, 300)


def test_two_bars_on_one_row_without_a_number_are_refused():
    image = photograph_like()
    image[260:] = 0
    image[278:281, 200:250] = image[278:281, 298:378] = 255
    with pytest.raises(ToolkitError, match="More than one"):
        scale_bar(image)


def test_frames_around_text_are_no_bars():
    image = photograph_like()
    image[250:] = 255
    cv2.rectangle(image, (20, 255), (140, 292), 0, 1)
    image[275:278, 300:400] = 0
    assert scale_bar(image).length == 100


def test_straight_boundaries_of_grains_are_no_bars():
    image = photograph_like()
    rng = np.random.default_rng(1)
    for k in range(12):
        start = (int(rng.integers(20, 400)), 20 + 20 * k)
        end = (start[0] + 60, start[1] + int(rng.integers(-3, 4)))
        cv2.line(image, start, end, 25, 2, cv2.LINE_AA)
    noise = rng.normal(0, 4, image.shape)
    image = np.clip(image + noise, 0, 255).astype(np.uint8)
    with pytest.raises(ToolkitError, match="No scale bar"):
        scale_bar(image)


@pytest.mark.parametrize("quality", [None, 95, 75])
def test_the_strip_of_its_box_is_not_taken_for_the_bar(quality):
    image = etched((300, 400))
    image[220:280, 200:380] = 0
    image[250:258, 220:360] = 255
    cv2.putText(image, "100 um", (250, 242), 0, 0.4, 255, 1)
    if quality:
        flags = [cv2.IMWRITE_JPEG_QUALITY, quality]
        _, data = cv2.imencode(".jpg", image, flags)
        image = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)
    assert abs(scale_bar(image).length - 140) <= 1


def test_a_bar_of_black_and_white_pieces_is_no_piece():
    image = etched((300, 400))
    for k in range(4):
        columns = slice(200 + 30 * k, 230 + 30 * k)
        image[250:256, columns] = 255 * (k % 2)
    try:
        length = scale_bar(image).length
    except ToolkitError as error:
        assert "pieces" in str(error) or "More than one" in str(error)
    else:
        assert abs(length - 120) <= 2


def test_a_bar_in_the_picture_takes_little_of_it_away():
    image = etched((400, 600))
    image[350:356, 100:430] = 255
    bar = scale_bar(image)
    rows, _ = bar.box
    assert bar.length == 330
    assert rows.stop - rows.start < 70


@pytest.mark.parametrize("is_right", [True, False])
def test_a_bar_whose_other_piece_ends_at_the_frame_is_refused(is_right):
    image = etched((200, 800))
    image[160:] = 0
    image[180:183, 600:660] = 255
    image[180:183, 740:800] = 255
    cv2.putText(image, "50 um", (668, 186), 0, 0.5, 255, 1)
    if not is_right:
        image = image[:, ::-1].copy()
    with pytest.raises(ToolkitError, match="in pieces"):
        scale_bar(image)
