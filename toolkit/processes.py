"""Start worker processes, which end with the process that started them."""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import warnings
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from multiprocessing.connection import wait

import cv2

from hvd.toolkit.core import is_debugging

# Parameters of mallopt, from malloc.h.
M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3


def pool(workers: int) -> ProcessPoolExecutor:
    """A pool of fresh processes that share nothing."""
    return ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), initializer=start_worker
    )


def stop(processes: ProcessPoolExecutor) -> None:
    """Kill all processes of a pool at once."""
    # There is no public way before 3.14
    for process in [*(processes._processes or {}).values()]:
        process.kill()
    processes.shutdown(cancel_futures=True)


def start_worker() -> None:
    """Prepare a worker process: it computes on one thread and ends with its parent."""
    cv2.setNumThreads(1)
    if not (is_debugging() or sys.warnoptions):
        warnings.simplefilter("ignore")  # as in the process that started it
    end_with_parent()


def end_with_parent() -> None:
    """End this process when its parent ends; nobody else tells it when the parent is killed.

    Ctrl-C, which a terminal sends to all processes, is left to the parent.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        wait([multiprocessing.parent_process().sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def keep_memory() -> None:
    """Make this process keep some of the memory it has freed.

    To return it and ask for it again for every image takes a tenth of the time. Works with glibc;
    elsewhere nothing happens.
    """
    # What other C libraries answer
    with suppress(AttributeError, OSError, TypeError):
        for parameter, size in (
            (M_MMAP_THRESHOLD, 16 << 20),
            (M_TRIM_THRESHOLD, 64 << 20),
        ):
            ctypes.CDLL(None).mallopt(parameter, size)
