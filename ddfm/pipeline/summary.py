"""The outcome of each of many fusions, and of all together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from warnings import warn

from ddfm.imaging.metadata import note_of_kept
from ddfm.imaging.pairing import SHOWN, Pairing

__all__ = ["Outcome", "Summary"]


@dataclass(frozen=True)
class Outcome:
    """The outcome of an item: "fused", "skipped" (it existed), "failed" or "planned"."""

    output: Path
    status: str
    error: str = ""
    warnings: tuple[str, ...] = ()  # about its sources
    kept: tuple[str, ...] = ()  # names of metadata about persons and places
    unwritten: bool = False  # whether it failed because it could not be written
    corrected: tuple[str, ...] = ()  # what was corrected in its sources, such as noise

    def __str__(self) -> str:
        text = self.error or "; ".join(self.warnings)
        return f"{self.output}: {self.status}" + (f": {text}" if text else "")

    @property
    def words(self) -> tuple[str, ...]:
        """The former name of `warnings`, which will be removed."""
        warn("Outcome.words is now Outcome.warnings", FutureWarning, stacklevel=2)
        return self.warnings


@dataclass(frozen=True)
class Summary:
    """The outcome of all items.

    Attributes:
        outcomes: the outcome of each item.
        seconds: the time that the run took.
        pairing: for folders, which files were paired and which were not.
        observed: for films, what was detected and corrected in each source, over all frames.
    """

    outcomes: list[Outcome] = field(default_factory=list)
    seconds: float = 0.0
    pairing: Pairing = field(default_factory=Pairing)
    observed: Sequence[dict[str, Any]] = ()

    def of(self, status: str) -> list[Outcome]:
        """The outcomes of one kind."""
        return [outcome for outcome in self.outcomes if outcome.status == status]

    @property
    def ok(self) -> bool:
        """Whether none failed."""
        return not self.of("failed")

    def plain(self) -> dict[str, Any]:
        """Ready for JSON."""
        files = {pair.name: list(map(str, pair.files)) for pair in self.pairing.pairs}
        outcomes = [
            {
                "name": one.output.stem,
                "sources": files.get(one.output.stem, []),
                "output": str(one.output),
                "status": one.status,
                **({"error": one.error} if one.error else {}),
                **({"corrected": list(one.corrected)} if one.corrected else {}),
                **({"kept": list(one.kept)} if one.kept else {}),
            }
            for one in self.outcomes
        ]
        left = {name: list(map(str, some)) for name, some in self.pairing.ambiguous.items()}
        return {
            "outcomes": outcomes,
            "ambiguous": left,
            "unpaired": list(map(str, self.pairing.unpaired)),
            "left_out": {str(path): why for path, why in self.pairing.others.items()},
            "seconds": round(self.seconds, 3),
        }

    def _with(self, kept: str) -> str:
        """The names of the results that hold this; of many, the first ones."""
        names = [outcome.output.name for outcome in self.outcomes if kept in outcome.kept]
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        return ", ".join(names[:SHOWN]) + more

    def __str__(self) -> str:
        lines = [str(o) for o in self.outcomes if o.warnings or o.status == "failed"]
        lines += self.pairing.leftovers()
        if kept := dict.fromkeys(each for outcome in self.outcomes for each in outcome.kept):
            lines.append(note_of_kept(f"{each} (in {self._with(each)})" for each in kept))
        if corrected := Counter(each for outcome in self.outcomes for each in outcome.corrected):
            counted = [f"{kind} in {count}" for kind, count in corrected.most_common()]
            fused = len(self.of("fused"))
            lines.append(f"corrected in the sources of {fused} results: {', '.join(counted)}")
        kinds = ("fused", "skipped", "failed", "planned")
        counts = [f"{len(self.of(kind))} {kind}" for kind in kinds if self.of(kind)]
        what = ", ".join(counts + self.pairing.counts()) or "nothing to do"
        return "\n".join([*lines, f"{what} in {self.seconds:.1f} s"])
