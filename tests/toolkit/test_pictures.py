"""Sheets of labelled panels."""

import cv2
import numpy as np

from hvd.toolkit import pictures


def test_a_caption_that_is_too_long_goes_on_below():
    words = "a caption that says more than one line of a narrow sheet can hold"
    lines = pictures.wrap_text(words, 200)
    assert len(lines) > 1 and " ".join(lines) == words
    widths = [
        cv2.getTextSize(line, pictures.FONT, 0.7, 1)[0][0] for line in lines
    ]
    assert max(widths) <= 200

    panel = np.zeros((50, 200, 3), np.uint8)
    short, long = (
        pictures.panels([("one", panel)], caption, cell=(50, 200))
        for caption in ("a", words)
    )
    assert long.shape[0] > short.shape[0] and long.shape[1] == short.shape[1]


def test_a_word_alone_may_be_longer_than_a_line():
    assert pictures.wrap_text("unbreakable", 10) == ["unbreakable"]
