"""Worker processes, which end with the process that started them."""

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

from hvd.toolkit.core import debugging

# malloc.h
M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3


def pool(workers: int) -> ProcessPoolExecutor:
    """Processes that are started afresh and share nothing."""
    return ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), initializer=start_worker
    )


def stop(processes: ProcessPoolExecutor) -> None:
    """End processes at once, whatever they are doing."""
    for process in [*(processes._processes or {}).values()]:  # there is no public way before 3.14
        process.kill()
    processes.shutdown(cancel_futures=True)


def start_worker() -> None:
    """What a process does before it works: it computes on one thread and ends with its parent."""
    cv2.setNumThreads(1)
    if not (debugging() or sys.warnoptions):
        warnings.simplefilter("ignore")  # as in the process that started it
    end_with_parent()


def end_with_parent() -> None:
    """Watch the process that started this one: when it is killed, nobody else tells those that work for it. Ctrl-C, which a
    terminal sends to all, is for that one to heed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        wait([multiprocessing.parent_process().sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def keep_memory() -> None:
    """Have this process keep some memory that it is done with: to give it back and take it anew for every image costs it a tenth of
    its time. Only glibc can be asked to."""
    with suppress(AttributeError, OSError, TypeError):  # what others answer
        for parameter, size in ((M_MMAP_THRESHOLD, 16 << 20), (M_TRIM_THRESHOLD, 64 << 20)):
            ctypes.CDLL(None).mallopt(parameter, size)
