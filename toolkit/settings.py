"""Change settings of the process while we work, and restore them afterwards.

Several threads may work at once: the first one to come changes a setting, the last one to leave
restores it.
"""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import cv2
from PIL import Image
from threadpoolctl import ThreadpoolController

Undo = Callable[[], None]


class Setting:
    """A context in which a setting is changed; `change()` returns a function that restores it."""

    def __init__(self, change: Callable[[], Undo]):
        self.change = change
        self.lock = threading.Lock()
        self.inside = 0
        self.undo: Undo = lambda: None

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self.lock:
            if self.inside == 0:
                self.undo = self.change()
            self.inside += 1

        try:
            yield
        finally:
            with self.lock:
                self.inside -= 1
                if self.inside == 0:
                    self.undo()


def limit_opencv() -> Undo:
    """Make OpenCV compute on one thread."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    return lambda: cv2.setNumThreads(threads)


def limit_blas() -> Undo:
    """Make the linear algebra libraries compute on one thread."""
    limited = ThreadpoolController().select(user_api="blas").limit(limits=1)
    return limited.restore_original_limits


def allow_any_size() -> Undo:
    """Make Pillow open headers of images of any size."""
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None

    def undo() -> None:
        Image.MAX_IMAGE_PIXELS = before

    return undo


def silence_libraries() -> Undo:
    """Keep C libraries from writing straight to standard error."""
    try:
        kept = os.dup(2)
        nowhere = os.open(os.devnull, os.O_WRONLY)
    except OSError:  # standard error is closed
        return lambda: None

    os.dup2(nowhere, 2)

    def undo() -> None:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)

    return undo


one_opencv_thread = Setting(limit_opencv)
one_blas_thread = Setting(limit_blas)

# For headers only: our own checks refuse large images before anything is decoded.
any_size = Setting(allow_any_size)

# For decoders that print warnings: our own errors say what is wrong with a file.
quiet = Setting(silence_libraries)


@contextmanager
def one_thread() -> Iterator[None]:
    """A context in which everything computes on one thread.

    Images are small: threads cost more than they save, and on one thread timings are comparable.
    OpenMP has a limit for each thread of ours, so each sets its own.
    """
    openmp = ThreadpoolController().select(user_api="openmp")
    with openmp.limit(limits=1), one_blas_thread(), one_opencv_thread():
        yield
