"""What is written next to the result of one scene: views, steps, maps, alignment, sources."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ddfm.errors import InputError
from ddfm.imaging.picture import Picture, from_array
from ddfm.imaging.views import check_view, path_of, view
from ddfm.imaging.writing import check_output, write_image
from ddfm.storage.outputs import check_writable

if TYPE_CHECKING:
    from ddfm.config import FusionConfig
    from ddfm.result import Fusion

__all__ = ["Beside", "check_sheet", "check_transform"]


@dataclass(frozen=True)
class Beside:
    """What to write; by default, nothing.

    Attributes:
        views: names of `ddfm.imaging.views`, images for viewing.
        colormap: the false colours of an overlay.
        steps: the folder for the estimate of each step.
        transform: the file for the transform that was found.
        sheet: the file for an image of the alignment, before and after.
        sources: the folder for the sources as they were fused.
        uncertainty, attribution: the files for how far each pixel may be off, and for which source
            it comes from, as numbers (.tif) or as images.
        samples: how many results the uncertainty is computed from.
    """

    views: tuple[str, ...] = ()
    colormap: str = "iron"
    steps: Path | None = None
    transform: Path | None = None
    sheet: Path | None = None
    sources: Path | None = None
    uncertainty: Path | None = None
    attribution: Path | None = None
    samples: int = 0

    def __post_init__(self) -> None:
        for kind in self.views:
            check_view(kind, self.colormap)

    def check(self, output: Path, config: FusionConfig) -> None:
        """Raise, before any work is done, if an output cannot be written or would not exist.

        Args:
            output: the file of the result.
            config: the settings of the fusion.
        """
        for path in self.views_of(output):
            check_output(path)
        if self.transform is not None:
            check_transform(self.transform, config)
        if self.sheet is not None:
            check_sheet(config)
        for image in (self.sheet, self.uncertainty, self.attribution):
            if image is not None:
                check_output(image)
        if self.sources is not None:
            from ddfm.result import check_sources

            check_sources(self.sources)
        if self.steps is not None:
            from ddfm.result import check_steps

            check_steps(self.steps, output)

    @property
    def asked(self) -> dict[str, Any]:
        """The keywords with which a fuser is called."""
        return {
            "trajectory": self.steps is not None,
            "samples": self.samples,
            "attribution": self.attribution is not None,
        }

    def views_of(self, output: Path) -> list[Path]:
        """The files of the views of a result."""
        return [path_of(output, kind) for kind in self.views]

    def write(self, fusion: Fusion, pictures: Sequence[Picture], output: Path) -> None:
        """Writes everything that was requested.

        Args:
            fusion: the result.
            pictures: the sources as they were read.
            output: the file of the result.
        """
        if self.steps is not None:
            fusion.save_steps(self.steps)
        if self.sources is not None:
            fusion.save_sources(self.sources)
        uncertainty, attribution = fusion.uncertainty, fusion.attribution
        if self.uncertainty is not None and uncertainty is not None:
            uncertainty.save(self.uncertainty)
        if self.attribution is not None and attribution is not None:
            attribution.save(self.attribution)
        self._write_alignment(fusion, pictures)
        for kind, path in zip(self.views, self.views_of(output), strict=True):
            look = from_array(view(kind, fusion.picture, fusion.sources, self.colormap))
            write_image(path, look.pixels, look)

    def _write_alignment(self, fusion: Fusion, pictures: Sequence[Picture]) -> None:
        """Writes the transforms of the sources, and the image of their alignment."""
        if self.transform is None and self.sheet is None:
            return
        from ddfm.registration.sheet import alignment_sheet
        from ddfm.registration.transform import Transform, save_transforms

        about = fusion.settings["alignment"]
        used = []
        for found in about:
            transform = Transform.from_dict(found["transform"])
            as_it_lies = Transform.framed(transform.moving, transform.fixed)
            used.append(transform if found["applied"] else as_it_lies)
        if self.transform is not None:
            of_each: list[Transform | None] = [None] * len(pictures)
            for found, transform in zip(about, used, strict=True):
                of_each[found["source"]] = transform
            # A single transform is used again to move the first source onto the second.
            alone = len(used) == 1 and about[0]["onto"] == 1
            save_transforms(used[0] if alone else of_each, self.transform)
        if self.sheet is not None:
            moved = [
                (pictures[found["source"]], transform if found["applied"] else None)
                for found, transform in zip(about, used, strict=True)
            ]
            alignment_sheet(self.sheet, pictures[about[0]["onto"]], moved)


def check_transform(path: Path, config: FusionConfig) -> None:
    """Raise if there will be no transform to save, or if it cannot be written."""
    if not config.moves:
        raise InputError("a transform can be saved (--save-transform) only if --align finds one")
    check_writable(path)


def check_sheet(config: FusionConfig) -> None:
    """Raise if no alignment will be known that an image could show."""
    if not (config.moves or config.look):
        raise InputError(
            "an image of the alignment (--check) needs sources that are aligned, or checked for "
            "misalignment (look)"
        )
