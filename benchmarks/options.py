"""Options of `toolkit benchmark` and `toolkit report`."""

from dataclasses import dataclass
from pathlib import Path

from hvd.toolkit.options import MethodsOptions, Options, option


@dataclass(frozen=True)
class BenchmarkOptions(MethodsOptions):
    """What is measured, and where results go."""

    data: Path | None = option(
        None,
        "Folder of real data, with a subfolder for each task, instead of built-in samples.",
    )
    quick: bool = option(
        False,
        "Measure only a few samples, for a first look; reports leave them out.",
    )
    out: Path = option(Path("benchmarks/results"), "Folder for the results.")


@dataclass(frozen=True)
class ReportOptions(Options):
    """How the report is written."""

    check: bool = option(False, "Write nothing; fail when a file is stale.")
