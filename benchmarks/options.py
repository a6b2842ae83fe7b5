"""What can be said of a benchmark and of a report."""

from dataclasses import dataclass
from pathlib import Path

from hvd.toolkit.options import MethodsOptions, Options, option


@dataclass(frozen=True)
class BenchmarkOptions(MethodsOptions):
    """What is measured, and where results go."""

    data: Path | None = option(
        None, "Folder with a subfolder for each task, instead of what is built in."
    )
    quick: bool = option(
        False, "A few samples only, for a first look; the tables stay as they are."
    )
    out: Path = option(Path("benchmarks/results"), "Folder for the results.")


@dataclass(frozen=True)
class ReportOptions(Options):
    """How the report is drawn."""

    check: bool = option(False, "Write nothing; fail when anything is stale.")
