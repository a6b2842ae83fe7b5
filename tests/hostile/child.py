"""The command line in a process of its own, with a limit on memory and time."""

import json
import os
import resource
import subprocess
import sys
from dataclasses import dataclass

ADDRESSES = 6 << 30  # bytes of address space, of which libraries reserve most
SECONDS = 120


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def records(self):
        return [json.loads(line) for line in self.out.splitlines()]


def toolkit(*arguments, cwd=None, limits=(), **others):
    """Run `toolkit ARGUMENTS...`; a traceback, a signal or no end in time is a failure."""

    def bound():
        for kind, value in ((resource.RLIMIT_AS, ADDRESSES), *limits):
            resource.setrlimit(kind, (value, value))

    command = [sys.executable, "-m", "hvd.toolkit", *map(os.fspath, arguments)]
    with subprocess.Popen(
        command,
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=bound,
        **others,
    ) as process:
        out, err = (
            text.decode(errors="replace")
            for text in process.communicate(timeout=SECONDS)
        )
    assert process.returncode >= 0, (process.returncode, err)
    assert "Traceback" not in err, err
    return Ended(process.returncode, out, err)
