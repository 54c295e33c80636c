"""The options for reading the files of one scene, and reading them."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from ddfm.arguments import two_numbers, whole_number
from ddfm.errors import InputError
from ddfm.imaging.levels import Levels, check_levels
from ddfm.imaging.picture import Picture
from ddfm.imaging.reading import pages_in, read_source
from ddfm.imaging.sizes import reduced
from ddfm.imaging.thermal.degrees import PERCENTILES, Celsius, is_camera
from ddfm.imaging.thermal.dji import is_dji
from ddfm.imaging.thermal.flir import check_reading, read_flir
from ddfm.progress import stage
from ddfm.storage.in_memory import as_path, name_of

__all__ = ["Opening"]


@dataclass(frozen=True)
class Opening:
    """How files are read. What is not specified is decided for each file by its content.

    Attributes:
        ranges: the values at black and white in the first source, the second, ..., as the `levels`
            of `read_image`; for a radiometric file, in its own unit. None decides by content.
        celsius, percentiles: the values at black and white in radiometric files; see `read_flir`.
        longest: the most pixels that the longest side may have; larger pictures are reduced, for a
            quick look.
        page: which picture to read, from 0, of files that hold several.
        grid, align: for a single radiometric file that holds both images; see `read_flir`.
    """

    ranges: tuple[str | Levels | None, ...] = ()
    celsius: Celsius | None = None
    percentiles: Levels | None = None
    grid: str | None = None
    align: bool = True
    longest: int | None = None
    page: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "ranges", tuple(map(_checked_levels, self.ranges)))
        for name in ("celsius", "percentiles"):
            given = getattr(self, name)
            if given is not None and not (name == "celsius" and is_camera(given)):
                object.__setattr__(self, name, two_numbers(name, given))
        if self.longest is not None and whole_number("longest", self.longest) < 1:
            raise InputError(f"longest must be a number of pixels, not {self.longest}")
        if self.page is not None and whole_number("page", self.page) < 0:
            raise InputError(f"page must be 0 or a larger number, not {self.page}")
        check_reading(**self._of_a_pair())

    def plain(self) -> dict[str, Any]:
        """The options that differ from the defaults, ready for JSON."""
        usual = {"ranges": (None,) * len(self.ranges), "align": True}
        return {k: v for k, v in vars(self).items() if v != usual.get(k)}

    def pictures(
        self,
        files: Sequence[str | os.PathLike[str] | bytes | BinaryIO],
        together: float = math.inf,
    ) -> tuple[Picture, ...]:
        """Read the pictures of one scene from paths, bytes or open files.

        A single file must be a radiometric one that holds both images.

        Args:
            together: the most pixels that all of them may have, beyond which no more are read.
        """
        with ExitStack() as stack:
            paths, names = [], {}
            for number, file in enumerate(files, 1):
                if isinstance(file, str | os.PathLike):
                    paths.append(file)
                    continue
                name = name_of(file, f"image {number}")
                paths.append(stack.enter_context(as_path(file, name)))
                names[str(paths[-1])] = name
            pictures = self._pictures(paths, names, together)
        for path, name in names.items():
            pictures = tuple(replace(p, name=p.name.replace(path, name)) for p in pictures)
        return pictures if self.longest is None else reduced(pictures, self.longest)

    def _pictures(
        self, files: Sequence[str | os.PathLike[str]], called: dict[str, str], together: float
    ) -> tuple[Picture, ...]:
        if len(files) == 1:
            self._refuse_alone(files[0])
            return tuple(read_flir(files[0], **self._of_a_pair()))
        ranges = [*self.ranges, *[None] * len(files)][: len(files)]
        pages = list(map(_pages, files))
        names = " and ".join(map(str, files))
        if self.page is not None and max(pages) == 1:
            raise InputError(f"{names}: page (--page) is for files that hold several pictures")
        pictures = []
        for file, levels, count in zip(files, ranges, pages, strict=True):
            name = called.get(str(file))
            stage(f"reading {name or file}")
            page = self.page if count > 1 else None  # a photograph among them has a single page
            of_degrees = self._of_degrees()
            # By content: once all are read, since exposures are stretched together.
            levels = None if levels == "auto" else levels
            pictures.append(read_source(file, levels=levels, page=page, name=name, **of_degrees))
            if sum(picture.size[0] * picture.size[1] for picture in pictures) > together:
                raise InputError(
                    f"{len(files)} images are too many of this size: all of them together may have "
                    f"{together / 1e6:g} megapixels; give fewer, or smaller ones"
                )
        measured = any(picture.unit for picture in pictures)
        if (self.celsius is not None or self.percentiles is not None) and not measured:
            raise InputError(
                f"{names}: none is a radiometric file, which celsius and percentiles (--celsius, "
                "--percentiles) need; use ranges (--range-a, --range-b), which suit any image"
            )
        return tuple(pictures)

    def _refuse_alone(self, file: str | os.PathLike[str]) -> None:
        if Path(file).is_file() and is_dji(file):
            raise InputError(
                f"{file} holds a thermal image of a DJI camera but no photograph; pass the one "
                "that was taken with it as a second image (its name ends in _V, _W or _Z)"
            )
        if (pages := _pages(file)) > 1:
            raise InputError(
                f"{file} holds {pages} pictures, but the images to fuse are passed as files of "
                "their own; save each as a file, or in Python call "
                f"fuse(*[read_image(file, page=k) for k in range({pages})])"
            )

    def _of_degrees(self) -> dict[str, Any]:
        return {
            "celsius": self.celsius,
            "percentiles": PERCENTILES if self.percentiles is None else self.percentiles,
        }

    def _of_a_pair(self) -> dict[str, Any]:
        return self._of_degrees() | {
            "grid": "visible" if self.grid is None else self.grid,
            "align": self.align,
        }


def _checked_levels(levels: Any) -> str | Levels | None:
    known = levels is None or (isinstance(levels, str) and levels in ("full", "auto"))
    return levels if known else check_levels(levels)


def _pages(file: str | os.PathLike[str]) -> int:
    return pages_in(file) if Path(file).is_file() else 1
