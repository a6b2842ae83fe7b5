"""Processes that work for this one, and end with it whatever ends it."""

import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.connection import wait


def pool(workers: int) -> ProcessPoolExecutor:
    """Processes that are started afresh and share nothing."""
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=end_with_parent)


def end_with_parent() -> None:
    """Watch the process that started this one: when it is killed, nobody else tells those that work for it. Ctrl-C, which a
    terminal sends to all, is for that one to heed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        wait([multiprocessing.parent_process().sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
