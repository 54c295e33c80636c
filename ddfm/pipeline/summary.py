"""The outcome of each of many fusions, and of all together."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ddfm.imaging.metadata import note_of_kept
from ddfm.imaging.pairing import Pairing, listed

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

    def without_its_name(self, warning: str) -> str:
        """A warning without the pair's name in those of its files, to compare it with others.

        Numbers stay, of which the name of the pair may be a part.
        """
        return re.sub(re.escape(self.output.stem) + r"(?=\.[A-Za-z])", "", warning)


@dataclass(frozen=True)
class Summary:
    """The outcome of all items.

    Attributes:
        outcomes: the outcome of each item.
        seconds: the time that the run took.
        pairing: for folders, which files were paired and which were not.
        observed: for films, what was detected and corrected in each source, over all frames.
        aligned: how all were aligned, in space by one transform and films in time, in words.
    """

    outcomes: list[Outcome] = field(default_factory=list)
    seconds: float = 0.0
    pairing: Pairing = field(default_factory=Pairing)
    observed: Sequence[dict[str, Any]] = ()
    aligned: Sequence[str] = ()

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
                **({"warnings": list(one.warnings)} if one.warnings else {}),
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
            **({"aligned": list(self.aligned)} if self.aligned else {}),
        }

    def _of_each(self) -> Iterator[str]:
        """A line for each outcome that failed or has warnings; one warning of many stands once."""
        alike: dict[str, list[Outcome]] = {}
        for one in self.outcomes:
            for warning in one.warnings:
                alike.setdefault(one.without_its_name(warning), []).append(one)
        for one in self.outcomes:
            texts = []
            for warning in one.warnings:
                first, *others = alike[one.without_its_name(warning)]
                if first is one:
                    texts.append(warning + (f" (likewise {_names(others)})" if others else ""))
            if texts or one.status == "failed":
                yield str(replace(one, warnings=tuple(texts)))

    def __str__(self) -> str:
        lines = [*self._of_each(), *self.pairing.leftovers(), *self.aligned]
        if kept := dict.fromkeys(each for outcome in self.outcomes for each in outcome.kept):
            of = {each: _names([o for o in self.outcomes if each in o.kept]) for each in kept}
            lines.append(note_of_kept(f"{each} (in {names})" for each, names in of.items()))
        if corrected := Counter(each for outcome in self.outcomes for each in outcome.corrected):
            counted = [f"{kind} in {count}" for kind, count in corrected.most_common()]
            fused = len(self.of("fused"))
            lines.append(f"corrected in the sources of {fused} results: {', '.join(counted)}")
        kinds = ("fused", "skipped", "failed", "planned")
        counts = [f"{len(self.of(kind))} {kind}" for kind in kinds if self.of(kind)]
        what = ", ".join(counts + self.pairing.counts()) or "nothing to do"
        return "\n".join([*lines, f"{what} in {self.seconds:.1f} s"])


def _names(outcomes: Sequence[Outcome]) -> str:
    """The names of results; of many, the first ones."""
    return listed([outcome.output.name for outcome in outcomes])
