"""How far the answer to a micrograph can be trusted."""

from dataclasses import dataclass, field
from typing import Any

from hvd.toolkit.tasks.grains.types import Boundaries, Micrograph


@dataclass(frozen=True)
class Trust:
    """How far an answer can be trusted: values for its record, and notes."""

    values: dict[str, Any]
    notes: list[str] = field(default_factory=list)


def reliability(answer: Boundaries, micrograph: Micrograph) -> Trust:
    return Trust({"reliability": None})
