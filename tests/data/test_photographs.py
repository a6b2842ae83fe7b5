"""Photographs are read as they are now."""

import shutil

import cv2
import numpy as np
import pytest

from hvd.data.fragments import samples
from hvd.toolkit.core import ToolkitError
from hvd.toolkit.tasks.fragments import Conditions


def write(folder, tone):
    folder.mkdir(exist_ok=True)
    for k in range(2):
        cv2.imwrite(
            str(folder / f"{k}.png"), np.full((64, 64, 3), tone, np.uint8)
        )


def brightness(path):
    return next(
        samples(str(path), Conditions(images=2), 1, 0)
    ).inputs.fragments.mean()


@pytest.mark.parametrize("kind", ["folder", "zip", "npy"])
def test_photographs_that_were_replaced_are_read_again(tmp_path, kind):
    for tone in (50, 200, 90):
        write(tmp_path / "photographs", tone)
        place = tmp_path / "photographs"
        if kind == "zip":
            place = shutil.make_archive(str(place), "zip", place)
        if kind == "npy":
            place = tmp_path / "photographs.npy"
            np.save(place, np.full((2, 64, 64, 3), tone, np.uint8))
        assert brightness(place) == tone


def test_a_photograph_that_is_taken_away_is_missed(tmp_path):
    write(tmp_path / "photographs", 50)
    assert brightness(tmp_path / "photographs") == 50
    (tmp_path / "photographs/1.png").unlink()
    with pytest.raises(ToolkitError, match="1 photographs"):
        brightness(tmp_path / "photographs")
