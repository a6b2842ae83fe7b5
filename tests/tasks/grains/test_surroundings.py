"""What is no specimen is told from what is."""

import cv2
import numpy as np
import pytest

from hvd.data.grains import polycrystal_samples
from hvd.data.polycrystals import tessellation
from hvd.toolkit.core import ToolkitError
from hvd.toolkit.tasks.grains.options import InputOptions
from hvd.toolkit.tasks.grains.reading import from_array, mask_file
from hvd.toolkit.tasks.grains.surroundings import surroundings


def etched(shape=(260, 300), noise=3.0, seed=1):
    """Dark lines between grains, uint8, with a camera's noise."""
    rng = np.random.default_rng(seed)
    section = tessellation(shape, 35, rng)
    image = 170 - 90 * np.exp(-((section.distance / 1.5) ** 2))
    return np.clip(image + rng.normal(0, noise, shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("tone", [0, 255, 90])
@pytest.mark.parametrize("rows", [24, 40, 70])
def test_a_data_bar_is_found_to_its_last_row(tone, rows):
    image = etched()
    image[-rows:] = tone
    cv2.putText(
        image, "15 kV  x500", (10, 260 - rows // 3), 0, 0.4, 255 - tone, 1
    )
    image[-rows // 2 : -rows // 2 + 2, 180:260] = 255 - tone
    result = surroundings(image)
    assert abs(result.bar_rows - rows) <= 1
    assert result.outside is None and "bottom" in result.notes[0]


def test_a_bar_at_the_top_is_outside():
    image = etched()
    image[:24] = 0
    result = surroundings(image)
    assert result.bar_rows == 0
    assert result.outside[:24].all() and not result.outside[26:].any()


@pytest.mark.parametrize("tone", [0, 255])
def test_margins_of_a_mosaic_are_outside(tone):
    image = etched()
    image[:40, :120] = tone
    image[200:, 170:] = tone
    result = surroundings(image)
    outside = result.outside
    assert outside[5:35, 5:115].all() and outside[205:, 175:].all()
    assert not outside[60:190, 20:280].any()
    assert "Empty surroundings" in result.notes[0]


def test_the_round_edge_of_a_lens_is_outside():
    image = etched()
    rows, columns = np.mgrid[:260, :300]
    corner = np.hypot(rows - 130, columns - 150) > 150
    image[corner] = 0
    outside = surroundings(image).outside
    assert (outside & ~corner).sum() == 0
    assert outside.sum() > 0.6 * corner.sum()


def test_overexposed_grains_at_the_frame_are_no_margins():
    rng = np.random.default_rng(2)
    section = tessellation((260, 300), 40, rng)
    tones = rng.choice([255, 255, 190, 140], section.count)
    image = tones[section.labels] + rng.normal(0, 3, section.shape)
    image[section.distance < 1] = 60
    result = surroundings(np.clip(image, 0, 255).astype(np.uint8))
    assert result.outside is None and not result.notes


def test_pictures_that_are_drawn_have_no_margins():
    section = tessellation((260, 300), 40, np.random.default_rng(3))
    tones = np.random.default_rng(4).integers(0, 255, section.count)
    result = surroundings(tones[section.labels].astype(np.uint8))
    assert result.outside is None and not result.bar_rows
    for flat in (0, 128, 255):
        image = np.full((64, 64), flat, np.uint8)
        assert surroundings(image).outside is None


def test_generated_micrographs_are_specimen_all_over():
    for sample in polycrystal_samples(25, 3):
        result = surroundings(sample.inputs.image)
        assert result.outside is None and not result.bar_rows


def test_a_box_with_text_is_outside():
    image = etched()
    image[200:230, 200:280] = 255
    cv2.putText(image, "100 um", (204, 222), 0, 0.55, 0, 1)
    outside = surroundings(image).outside
    assert outside[200:230, 200:280].all() and outside.sum() < 34 * 84 + 1


def test_text_at_the_edge_of_a_thin_box_leaves_it_a_box():
    image = etched()
    image[240:248, 150:270] = 255
    cv2.putText(image, "20 um", (190, 247), 0, 0.3, 90, 1)
    outside = surroundings(image).outside
    assert outside[240:248, 150:270].all() and outside.sum() < 12 * 124 + 1


def test_what_surrounds_a_mosaic_does_not_change_its_numbers():
    alone = from_array(etched(), InputOptions())
    large = np.zeros((400, 420, 4), np.uint8)
    large[70:330, 60:360, :3] = etched()[..., None]
    large[70:330, 60:360, 3] = 255
    around = from_array(large, InputOptions())
    assert alone.inside is None
    np.testing.assert_array_equal(around.inside, large[..., 3] > 0)
    np.testing.assert_array_equal(around.image[70:330, 60:360], alone.image)


def test_a_mask_says_what_is_measured():
    mask = np.zeros((260, 300), np.uint8)
    mask[50:200, 40:250] = 255
    micrograph = from_array(etched(), InputOptions(mask=mask))
    np.testing.assert_array_equal(micrograph.inside, mask > 0)

    for wrong, words in (
        (mask[:-1], "is 300 x 259 pixels"),
        (np.arange(78000).reshape(260, 300), "other values than 0"),
        (np.where(mask, 2, 1), "other values than 0"),
        (mask * 0, "Nothing of"),
    ):
        with pytest.raises(ToolkitError, match=words):
            from_array(etched(), InputOptions(mask=wrong))


def test_a_folder_of_masks_has_one_for_each_micrograph(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "b.tif").write_bytes(b"")
    (tmp_path / "b.png").write_bytes(b"")
    assert mask_file(tmp_path, tmp_path / "a.tif") == tmp_path / "a.png"
    for name, words in (("b", "several masks"), ("c", "no mask")):
        with pytest.raises(ToolkitError, match=words):
            mask_file(tmp_path, tmp_path / f"{name}.tif")


@pytest.mark.parametrize("height", [260, 520, 1024])
@pytest.mark.parametrize("tone", [0, 128, 255])
def test_logos_large_text_and_rules_are_part_of_a_data_bar(height, tone):
    image = etched((height, 300))
    rows = height // 8
    image[-rows:] = tone
    ink = 255 if tone < 128 else 0
    image[-rows] = ink  # a rule along its edge
    image[-rows + 6 : -4, 10:80] = ink  # a logo
    cv2.putText(image, "x500", (90, height - 8), 0, rows / 45, ink, 2)
    assert abs(surroundings(image).bar_rows - rows) <= 1


def test_pores_and_dust_do_not_hide_empty_surroundings():
    image = etched((300, 340))
    rows, columns = np.mgrid[:300, :340]
    outside = np.hypot(rows - 150, columns - 170) > 140
    for k in range(14):
        cv2.circle(image, (90 + 12 * k, 60 + 13 * k), 5, 0, -1)
    image[outside] = 0
    image[8:14, 8:60:6] = 200  # dust, or text
    found = surroundings(image).outside
    assert found[outside].mean() > 0.97 and found[~outside].mean() < 0.03


def test_one_overexposed_grain_in_a_corner_is_specimen():
    image = etched()
    cv2.circle(image, (0, 0), 60, 255, -1)
    assert surroundings(image).outside is None


def test_even_blocks_of_a_jpeg_are_no_boxes():
    image = etched()
    image[100:124, 200:224] = 255
    assert surroundings(image).outside is None


def test_dark_noisy_particles_are_no_boxes():
    rng = np.random.default_rng(3)
    image = etched()
    for row, column in ((40, 60), (150, 200), (200, 40)):
        part = image[row : row + 24, column : column + 24]
        part[:] = rng.normal(15, 6, part.shape).clip(0, 40)
    assert surroundings(image).outside is None


def test_no_data_bar_is_looked_for_when_its_rows_are_given():
    image = etched()
    image[-40:] = 0
    micrograph = from_array(image, InputOptions(exclude_bottom=0))
    assert len(micrograph.image) == 260


def test_a_mask_may_be_drawn_as_transparency(tmp_path):
    mask = np.full((260, 300, 4), 255, np.uint8)
    mask[:60, ..., 3] = 0
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    options = InputOptions(mask=str(tmp_path / "mask.png"))
    inside = from_array(etched(), options).inside
    assert not inside[:60].any() and inside[60:].all()
