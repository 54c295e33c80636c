"""Options about one scene: how it is fused, and what is written beside the result."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ddfm.cli.options import all_of
from ddfm.cli.trust import samples_for, trust_options
from ddfm.cli.writing import OutputPath

if TYPE_CHECKING:
    from ddfm.pipeline.beside import Beside

__all__ = ["BOTH", "OfImages", "image_options"]

PREVIEW = 512  # pixels of the longest side
# Options that name a file for images, and a folder for folders, and what goes with them.
BOTH = ("--check", "--uncertainty", "--samples", "--attribution")

image_options = all_of(
    click.option(
        "--check",
        type=OutputPath(),
        metavar="FILE",
        help="Write an image that shows the alignment: checkerboard and edges, before and after; "
        "for folders, a folder.",
    ),
    click.option(
        "--save-sources",
        type=OutputPath(),
        metavar="DIR",
        help="Write the sources as they were fused: enlarged, without noise, stripes and blur.",
    ),
    click.option(
        "--preview",
        is_flag=True,
        help=f"Fuse at a small size, the longest side {PREVIEW} pixels, for a quick look.",
    ),
    click.option(
        "--save-steps",
        type=OutputPath(),
        metavar="DIR",
        help="Write the estimate of every step, before and after the likelihood.",
    ),
    trust_options,
    click.option(
        "--show",
        multiple=True,
        metavar="VIEW",
        help="Also write a picture for viewing beside the result: side-by-side, before-after or "
        "overlay (temperatures in false colours). May be given several times.",
    ),
    click.option(
        "--overlay",
        metavar="MAP",
        help="Also write the result with temperatures in these false colours, and their scale: "
        "iron, ember, hot, ice or green.",
    ),
)


@dataclass(frozen=True)
class OfImages:
    """The options about one scene."""

    check: Path | None
    save_sources: Path | None
    preview: bool
    save_steps: Path | None
    uncertainty: Path | None
    samples: int | None
    attribution: Path | None
    show: tuple[str, ...]
    overlay: str | None

    @property
    def longest(self) -> int | None:
        """The number of pixels that the longest side is reduced to."""
        return PREVIEW if self.preview else None

    def beside(self, save_transform: Path | None) -> Beside:
        """What is written beside the result."""
        from ddfm.pipeline.beside import Beside

        views = dict.fromkeys([*self.show, *(["overlay"] if self.overlay else [])])
        return Beside(
            views=tuple(views),
            colormap=self.overlay or "iron",
            steps=self.save_steps,
            transform=save_transform,
            sheet=self.check,
            sources=self.save_sources,
            uncertainty=self.uncertainty,
            attribution=self.attribution,
            samples=samples_for(self.uncertainty, self.samples),
        )
