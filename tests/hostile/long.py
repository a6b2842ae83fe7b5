"""Answer 10,000 pictures, 100 of them bad, in one run and in one that is killed ten times.

`python -m tests.hostile.long` prints what came of it, and the peak memory after 1,000 pictures
and after all. A part of `make fuzz`.
"""

import hashlib
import json
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from tests.hostile.test_images import coded

COUNT, BAD, KILLS = 10_000, 100, 10
GROWTH = 8  # megabytes that nine times as many pictures may add: what the allocator leaves
COMMAND = [
    sys.executable,
    "-m",
    "hvd.toolkit",
    "predict",
    "objects",
    "in",
    "--out",
    "out",
    "--method",
    "trivial",
    "--workers",
    "2",
]


def made(folder, count):
    """Pictures, one of a hundred cut short."""
    folder.mkdir(parents=True)
    data = coded(".png")
    for k in range(count):
        (folder / f"{k:05d}.png").write_bytes(
            data
            if k % (COUNT // BAD)
            else data[:200] + bytes([k // 256 % 256, k % 256])
        )


def digest(folder):
    """SHA-256 of all files below a folder, with their names."""
    complete = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        complete.update(
            f"{path.relative_to(folder)}\0".encode()
            + hashlib.sha256(path.read_bytes()).digest()
        )
    return complete.hexdigest()


def peak(folder):
    """Exit status, records and peak memory, in megabytes, of a run by one process."""
    code = "import sys; from hvd.benchmarks.machine import own_peak_megabytes as peak; "
    code += "from hvd.toolkit.cli import cli; "
    code += "status = cli.main(sys.argv[1:], standalone_mode=False); "
    code += "print(peak(), file=sys.stderr); sys.exit(status)"
    result = subprocess.run(
        [sys.executable, "-c", code, *COMMAND[3:-2]],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    return (
        result.returncode,
        [json.loads(line) for line in result.stdout.splitlines()],
        float(result.stderr.split()[-1]),
    )


def main():
    with tempfile.TemporaryDirectory() as place:
        few, complete, killed = (
            Path(place, name) for name in ("few", "whole", "killed")
        )
        made(few / "in", COUNT // 10)
        before = peak(few)[2]
        print(f"{COUNT // 10} pictures: peak memory {before:.0f} MB")
        made(complete / "in", COUNT)
        began = time.perf_counter()
        status, records, megabytes = peak(complete)
        counts = {
            name: sum(r["status"] == name for r in records)
            for name in ("ok", "failed")
        }
        print(
            f"{COUNT} pictures: {counts}, status {status}, peak memory "
            f"{megabytes:.0f} MB, {time.perf_counter() - began:.0f} s"
        )
        assert (status, counts) == (1, {"ok": COUNT - BAD, "failed": BAD})
        assert megabytes < before + GROWTH
        assert all(
            r["reason"] and r["input"]
            for r in records
            if r["status"] == "failed"
        )
        killed.mkdir()
        (killed / "in").symlink_to(complete / "in")
        rng = np.random.default_rng(0)
        for _ in range(KILLS):
            process = subprocess.Popen(
                [*COMMAND, "--resume"],
                cwd=killed,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            time.sleep(rng.uniform(2, 8))
            process.send_signal(signal.SIGKILL)
            process.wait()
        subprocess.run([*COMMAND, "--resume"], cwd=killed, capture_output=True)
        same = digest(complete / "out") == digest(killed / "out")
        print(
            f"killed {KILLS} times and resumed: {'the same bytes' if same else 'OTHER BYTES'}"
        )
        assert same


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()
