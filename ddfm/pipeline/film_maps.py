"""Maps of a fused film, as films: how far it may be off, and which source it comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ddfm.errors import InputError, unknown
from ddfm.imaging.picture import from_array
from ddfm.storage.atomic import atomic_path
from ddfm.video.files import VideoWriter, check_video
from ddfm.video.formats import WRITTEN

if TYPE_CHECKING:
    from PIL import Image

    from ddfm.result import Fusion

__all__ = ["FilmMaps"]


@dataclass(frozen=True)
class FilmMaps:
    """Which maps to write; by default, none.

    Attributes:
        uncertainty, attribution: the films to write, with an image of the map of each frame.
        samples: how many results the uncertainty is computed from.
    """

    uncertainty: Path | None = None
    attribution: Path | None = None
    samples: int = 0

    @cached_property
    def files(self) -> list[Path]:
        """The films to write."""
        return [path for path in (self.uncertainty, self.attribution) if path is not None]

    @cached_property
    def asked(self) -> dict[str, Any]:
        """The keywords with which a fuser is called for each frame."""
        return {"samples": self.samples, "attribution": self.attribution is not None}

    def check(self, out: Path) -> None:
        """Raise, before any work is done, if they cannot be written.

        Args:
            out: the fused film itself.
        """
        if self.files and not out.suffix:
            raise InputError(
                f"cannot write {self.files[0]}: maps of films are only for videos, and {out} "
                "becomes a folder of frames; make the maps frame by frame with ddfm fuse"
            )
        for path in self.files:
            if path.suffix.lower() not in WRITTEN:
                raise unknown("suffix of a film", path.suffix or path.name, WRITTEN)
            check_video(path)
        if self.uncertainty is not None:
            from ddfm.trust.samples import check_samples  # imports torch

            check_samples(self.samples, needed=True)

    @contextmanager
    def writing(self, rate: float, record: str | None) -> Iterator[Callable[[Fusion, str], None]]:
        """A function to call with each frame and its name; the films appear once complete."""
        with ExitStack() as stack:
            films = []
            for path, draw in ((self.uncertainty, _Deviation()), (self.attribution, _shares)):
                if path is not None:
                    temporary = stack.enter_context(atomic_path(path))
                    video = stack.enter_context(VideoWriter(temporary, path, rate, record))
                    films.append((video, draw))

            def write(fusion: Fusion, name: str) -> None:
                for video, draw in films:
                    video.write(from_array(np.asarray(draw(fusion))), name)

            yield write
            for video, _ in films:
                video.finish()


class _Deviation:
    """Draws uncertainty on the scale of the first frame, so that frames can be compared."""

    def __init__(self) -> None:
        self.top: int | None = None

    def __call__(self, fusion: Fusion) -> Image.Image:
        from ddfm.trust.drawing import drawn_uncertainty, top_for  # imports scipy

        assert fusion.uncertainty is not None
        std = 255 * fusion.uncertainty.std
        self.top = top_for(std) if self.top is None else self.top
        return drawn_uncertainty(std, self.top)


def _shares(fusion: Fusion) -> Image.Image:
    assert fusion.attribution is not None
    return fusion.attribution.drawn()
