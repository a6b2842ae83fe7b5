"""Entire rows and columns that were lost are found, whatever their value; ground is not."""

import numpy as np
import pytest

from hvd.toolkit.core import ToolkitError
from hvd.toolkit.tasks.lines.files import from_array
from hvd.toolkit.tasks.lines.masks import random_lines, stripes
from hvd.toolkit.tasks.lines.options import InputOptions
from hvd.toolkit.tasks.lines.recognition import recognise_mask


@pytest.fixture
def scans(heads):
    """Six heads, int16 (6, 64, 64), without a zero."""
    return (1 + np.rint(heads[:6] * 1000)).astype(np.int16)


def rows(*numbers):
    """A mask of rows, bool (64, 64)."""
    return np.broadcast_to(np.isin(np.arange(64), numbers)[:, None], (64, 64))


@pytest.mark.parametrize("width", [1, 5, 7, 8, 13, 16])
@pytest.mark.parametrize("columns", [False, True])
def test_a_gap_of_any_width_is_found(width, columns, scans):
    mask = rows(*range(26, 26 + width))
    mask = mask.T if columns else mask
    finding = recognise_mask(np.where(mask, 0, scans))
    assert finding.kind == ("columns" if columns else "rows")
    assert (finding.missing == mask).all()


@pytest.mark.parametrize("value", [0, -1, -1024, 32767, np.nan])
def test_lines_may_hold_any_value_that_stands_for_nothing(value, scans):
    mask = stripes((64, 64), 2, 8, 0, 3)
    finding = recognise_mask(np.where(mask, value, scans))
    assert finding.kind == "rows" and (finding.missing == mask).all()


def test_both_directions_are_found_at_once(scans):
    mask = rows(10, 20, 30, 40, 50) | rows(15, 30, 45).T
    finding = recognise_mask(np.where(mask, 0, scans))
    assert finding.kind == "rows and columns"
    assert (finding.missing == mask).all()


def test_each_scan_may_have_lines_of_its_own(scans):
    rng = np.random.default_rng(3)
    masks = np.stack([random_lines((64, 64), 0.25, False, rng) for _ in scans])
    finding = recognise_mask(np.where(masks, 0, scans))
    assert finding.kind == "rows of each scan"
    assert not (finding.missing & ~masks).any()
    assert (finding.missing & masks).sum() >= 0.98 * masks.sum()


def test_one_damaged_scan_of_many_is_told(scans):
    damaged = scans.copy()
    damaged[4][rows(20, 21, 40)] = 0
    finding = recognise_mask(damaged)
    assert (finding.missing[4] == rows(20, 21, 40)).all()
    assert finding.missing.sum() == finding.missing[4].sum()
    assert "Scan 4 alone lost rows" in finding.notes[0]


def test_empty_rows_at_the_frame_are_told_and_left(scans):
    finding = recognise_mask(np.where(rows(0, 1, 62, 63), 0, scans))
    assert finding.kind == "none"
    assert "Rows 0, 1, 62, 63" in finding.notes[0]


def test_two_objects_apart_are_no_lost_columns():
    image = np.zeros((1, 64, 96), np.float32)
    y, x = np.mgrid[:64, :96]
    for centre in (26, 70):
        image[0][np.hypot(y - 32, x - centre) < 20] = 0.7
    assert recognise_mask(image).kind == "none"


def test_nan_around_the_picture_stays(scans):
    outside = np.hypot(*(np.mgrid[:64, :64] - 31.5)) > 27
    mask = stripes((64, 64), 1, 4, 0)
    values = np.where(mask, 0.0, scans)
    values[:, outside] = np.nan
    finding = recognise_mask(values)
    assert not finding.missing[:, outside].any()
    assert finding.missing[:, mask & ~outside].mean() > 0.95
    assert "--fill-outside" in finding.notes[-1]
    filled = from_array(values, InputOptions(fill_outside=True))
    assert filled.missing[:, outside].all()


def test_empty_slices_between_others_are_told(scans):
    damaged = scans.copy()
    damaged[[1, 3]] = 0
    finding = recognise_mask(damaged)
    assert not finding.missing.any() and "Scans 1, 3 " in finding.notes[0]


def test_a_mask_that_is_upside_down_is_refused(scans):
    mask = stripes((64, 64), 2, 4, 30)
    values = np.where(mask, 0, scans)
    with pytest.raises(ToolkitError, match="upside down"):
        from_array(values, InputOptions(mask=~mask))
    options = InputOptions(mask=~mask, mask_polarity="measured")
    assert (from_array(values, options).missing == mask).all()


def test_a_mask_that_is_transposed_or_empty_is_refused(scans):
    values = np.where(rows(20, 21, 33, 40), 0, scans)
    with pytest.raises(ToolkitError, match="transposed"):
        from_array(values, InputOptions(mask=rows(20, 21, 33, 40).T))
    with pytest.raises(ToolkitError, match="there is none"):
        from_array(values, InputOptions(mask_polarity="measured"))
    with pytest.raises(ToolkitError, match="marks no pixel"):
        from_array(values, InputOptions(mask=np.zeros((64, 64), bool)))


def test_masks_may_be_one_for_each_scan(scans):
    rng = np.random.default_rng(5)
    masks = np.stack([random_lines((64, 64), 0.2, True, rng) for _ in scans])
    values = np.where(masks, 0, scans)
    given = from_array(values, InputOptions(mask=masks))
    np.testing.assert_array_equal(given.missing, masks)


@pytest.mark.parametrize("axis", [1, 2])
def test_slices_of_an_array_lie_along_any_axis(axis, scans):
    mask = stripes((64, 64), 1, 4, 0)
    volume = np.moveaxis(np.where(mask, 0, scans), 0, axis)
    found = from_array(volume, InputOptions(axis=axis))
    assert (found.missing == mask).all()
