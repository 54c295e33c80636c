"""A fuser that is not loaded yet, so that dry runs and finished folders do not need torch.

For the shipped prior on a CPU, the settings of its results are known without loading it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ddfm.config import FusionConfig
from ddfm.fusing.checks import check_number, resolved_for
from ddfm.numerics.device import found_without_torch
from ddfm.storage.checksum import sha256_of
from ddfm.storage.shipped import shipped

if TYPE_CHECKING:
    from ddfm.fuser import Fuser

__all__ = ["Unloaded"]


@dataclass(frozen=True)
class Unloaded:
    """Holds the keywords of a `Fuser` until it is loaded."""

    keywords: Mapping[str, Any]

    def load(self) -> Fuser:
        from ddfm.fuser import Fuser

        return Fuser(**self.keywords)

    def with_config(self, **changes: Any) -> Unloaded:
        """One with some other settings."""
        return Unloaded({**self.keywords, **changes})

    def check_number(self, number: int) -> None:
        """Refuses more sources than can be fused together."""
        check_number(number, self.config)

    @cached_property
    def config(self) -> FusionConfig:
        return FusionConfig.among(self.keywords)

    def settings(self, task: str) -> dict[str, Any] | None:
        """What `Fuser.settings` would return for a task; None if it must be loaded to know."""
        full = self.config.resolved(task)
        weights = shipped("default.safetensors")
        usual = self.keywords.get("prior", "default") == "default" and full.method == "ddfm"
        if (
            not usual
            or self.keywords.get("head") is not None
            or weights is None
            or full.start is None
        ):
            return None
        found = found_without_torch(
            self.keywords.get("device", "auto"), self.keywords.get("dtype", "auto")
        )
        if found is None:
            return None
        full = resolved_for(self.config, task, full.start + 1)
        return full.noted("default", sha256_of(weights), *found)
