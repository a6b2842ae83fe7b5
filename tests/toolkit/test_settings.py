"""Settings of the process are changed while we work, and as before afterwards, in threads too."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from PIL import Image
from threadpoolctl import threadpool_info

import hvd
from hvd.toolkit.images import write_png
from hvd.toolkit.settings import Setting, any_size, one_thread, quiet


def state():
    """What our work may change for a while."""
    pools = sorted(
        (pool["filepath"], pool["num_threads"]) for pool in threadpool_info()
    )
    return cv2.getNumThreads(), Image.MAX_IMAGE_PIXELS, os.fstat(2)[:3], pools


def test_calls_that_overlap_leave_all_as_it_was():
    before, value = state(), {"now": "old"}

    def change():
        kept, value["now"] = value["now"], "new"
        return lambda: value.update(now=kept)

    setting = Setting(change)
    entered, leave = threading.Event(), threading.Event()

    def other():
        with setting(), one_thread(), any_size(), quiet():
            entered.set()
            leave.wait(10)

    with ThreadPoolExecutor(1) as threads:
        with setting(), one_thread(), any_size(), quiet():
            job = threads.submit(other)
            entered.wait(10)
            assert value["now"] == "new" and cv2.getNumThreads() == 1
        # The other is inside still
        assert value["now"] == "new" and Image.MAX_IMAGE_PIXELS is None
        leave.set()
        job.result()
    assert value["now"] == "old" and state() == before


def test_an_error_inside_leaves_all_as_it_was():
    before = state()
    with pytest.raises(ZeroDivisionError), one_thread(), any_size(), quiet():
        raise ZeroDivisionError
    assert state() == before


def test_the_door_used_in_threads_leaves_all_as_it_was(tmp_path):
    write_png(tmp_path / "p.png", np.full((24, 24, 3), 90, np.uint8))
    before = state()
    with ThreadPoolExecutor(8) as threads:
        calls = [
            threads.submit(hvd.predict, "objects", tmp_path / "p.png")
            for _ in range(60)
        ]
    masks = {call.result().prediction.mask.tobytes() for call in calls}
    assert len(masks) == 1 and state() == before
