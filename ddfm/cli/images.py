"""Options for one scene: previews, and further outputs of a fusion."""

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

__all__ = ["BOTH", "ImageOptions", "image_options"]

PREVIEW = 512  # longest side of a preview, in pixels
# Options that name a file for images and a folder for folders, and the option that goes with them.
BOTH = ("--check", "--uncertainty", "--samples", "--attribution")

image_options = all_of(
    click.option(
        "--check",
        type=OutputPath(),
        metavar="FILE",
        help="Also write an image that shows the alignment: checkerboard and edges, before and "
        "after; for folders, a folder of such images.",
    ),
    click.option(
        "--save-sources",
        type=OutputPath(),
        metavar="DIR",
        help="Also write the sources as they were fused: enlarged, and without noise, stripes and "
        "blur.",
    ),
    click.option(
        "--preview",
        is_flag=True,
        help=f"Fuse a reduced version, at most {PREVIEW} pixels on the longest side, for a quick "
        "look.",
    ),
    click.option(
        "--save-steps",
        type=OutputPath(),
        metavar="DIR",
        help="Also write the estimate of each step, before and after the likelihood, as PNG.",
    ),
    trust_options,
    click.option(
        "--show",
        multiple=True,
        metavar="VIEW",
        help="Also write an image for viewing, next to the result: side-by-side, before-after or "
        "overlay (temperatures in false colours). May be given several times.",
    ),
    click.option(
        "--overlay",
        metavar="MAP",
        help="Also write the result overlaid with temperatures in false colours, and their scale, "
        "next to it (fused.overlay.png): iron, ember, hot, ice or green.",
    ),
)


@dataclass(frozen=True)
class ImageOptions:
    """The values of these options."""

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
        """The pixels that the longest side is reduced to, or None."""
        return PREVIEW if self.preview else None

    def beside(self, save_transform: Path | None) -> Beside:
        """What to write next to the result."""
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
