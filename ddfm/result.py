"""The result of a fusion: the image, the settings that made it, and the intermediate steps."""

from __future__ import annotations

import io
import os
import re
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from ddfm.arguments import a_path, by_annotation
from ddfm.diffusion.watch import Snapshot
from ddfm.errors import InputError, warn
from ddfm.imaging.metadata import NOTHING
from ddfm.imaging.metadata.record import Record
from ddfm.imaging.picture import Picture, to_array
from ddfm.imaging.writing import held_by, image_bytes, output_suffix, write_image
from ddfm.storage.files import make_folder, remove
from ddfm.storage.ours import check_ours
from ddfm.storage.outputs import check_folder_writable
from ddfm.trust.attribution import Attribution
from ddfm.trust.uncertainty import Uncertainty

__all__ = ["Chosen", "Fusion", "check_sources", "check_steps"]

Chosen = dict[str, float | tuple[float, ...]]  # options that were estimated from an image

# Entries of the settings that describe the sources; all others follow from what the caller set.
ABOUT = ("sources", "sha256", "source_noise", "alignment", "observed", "levels")
SOURCE = re.compile(r"source-\d+\.(png|tif)")
STEP = re.compile(r"step-\d{3,}-t\d{3,}-(prior|rectified)\.png")


@dataclass(frozen=True, eq=False, repr=False)
class Fusion:
    """A fused image, and how it was made.

    Attributes:
        picture: the result in floating point, with the depth, range, colour profile and alpha that
            it takes over from its sources.
        settings: everything the result depends on, ready for JSON.
        trajectory: a `Snapshot` for every step, if requested.
        warnings: one line each, such as that the sources are misaligned.
        chosen: options estimated from the image: the curve of its tone; see
            `Fuser.with_shared_estimates`.
        sources: what was fused: the sources without noise, blur and other defects; clean sources
            are unchanged.
        uncertainty: how far the result may be off, if samples were requested.
        attribution: where its levels and gradients come from, if requested.
        opening: how the sources were read, as far as the caller specified it, ready for JSON; see
            `ddfm.imaging.opening`.
    """

    picture: Picture
    settings: dict[str, Any]
    trajectory: list[Snapshot] = field(default_factory=list)
    chosen: Chosen = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    sources: tuple[Picture, ...] = field(default=(), repr=False)
    opening: dict[str, Any] = field(default_factory=dict)
    uncertainty: Uncertainty | None = None
    attribution: Attribution | None = None

    def __repr__(self) -> str:
        sources = " + ".join(map(str, self.settings.get("sources", ())))
        return f"Fusion({self.picture.form}, of {sources})"

    @cached_property
    def image(self) -> np.ndarray:
        """(H, W), (H, W, 3), or with alpha as a last channel, at the sources' size and depth.

        In floating point, pixels without data in any source are NaN.
        """
        return to_array(self.picture.pixels, self.picture, self.picture.alpha)

    @property
    def kept(self) -> tuple[str, ...]:
        """Names of the metadata taken over from a source that may identify a person or a place."""
        return self.picture.metadata.personal

    @property
    def record(self) -> Record:
        """How the result was made, as stored in its file."""
        settings = {k: v for k, v in self.settings.items() if k not in ABOUT}
        names = self.settings.get("sources", ())
        sources = zip(names, self.settings.get("sha256", [None] * len(names)), strict=True)
        observed = self.settings.get("observed", ())
        return Record.of(settings, list(sources), self.opening, observed)

    @by_annotation
    def save(self, path: str | os.PathLike[str] | BinaryIO, *, format: str | None = None) -> None:
        """Writes the image, with the metadata of a source and a record of how it was made.

        With the setting `strip`, both are left out.

        Args:
            path: a path, whose suffix gives the format (the file is written atomically), or an
                object with a method `write`, open for bytes.
            format: the format for such an object, for example "png".
        """
        if not hasattr(path, "write"):
            if format is not None:
                raise InputError("format is for open files; the suffix of a path gives its format")
            name = a_path("path", path)
            write_image(name, *self._image())
        elif hasattr(path, "encoding"):
            raise InputError("the file is open for text, not for bytes: open it with 'wb'")
        elif format is None:
            raise InputError('the format of an open file must be given, as in format="png"')
        else:
            name = Path(f"image{output_suffix(format)}")
            path.write(image_bytes(name, *self._image()))
        for word in held_by(name, self.picture)[1]:
            warn(word)

    def _image(self) -> tuple[np.ndarray, Picture, np.ndarray | None, Record | None]:
        # A `Fusion` that was constructed by hand has no sources to record.
        known = "sources" in self.settings and not self.settings.get("strip")
        record = self.record if known else None
        return self.picture.pixels, self.picture, self.picture.alpha, record

    @by_annotation
    def save_sources(self, folder: str | os.PathLike[str]) -> None:
        """Writes the sources as they were fused, as `source-1.png` and so on, at their own depth.

        Sources in floating point are written as TIFF.
        """
        folder = Path(folder)
        check_sources(folder)
        make_folder(folder)
        for k, picture in enumerate(self.sources, 1):
            suffix = "tif" if picture.dtype.kind == "f" else "png"
            # Metadata belong to results only, and gaps were filled before the fusion.
            bare = replace(picture, metadata=NOTHING, mask=None)
            write_image(folder / f"source-{k}.{suffix}", bare.pixels, bare, bare.alpha)

    @by_annotation
    def save_steps(self, folder: str | os.PathLike[str]) -> None:
        """Writes x_0 of every step, before and after the likelihood, as 8-bit PNG.

        Steps of an earlier fusion in this folder are removed first; other files are kept.
        """
        folder = Path(folder)
        check_steps(folder)
        make_folder(folder)
        for path in _called(folder, STEP):
            remove(path)
        for shot in self.trajectory:
            for name, x in (("prior", shot.x0_prior), ("rectified", shot.x0)):
                pixels = (np.clip(x, -1, 1) + 1) / 2
                path = folder / f"step-{shot.step:03d}-t{shot.t:03d}-{name}.png"
                write_image(path, pixels, Picture(pixels[..., None]))

    def _repr_png_(self) -> bytes:
        """The image as a notebook shows it, in 8 bits."""
        shown = replace(self.picture, dtype=np.dtype(np.uint8), range=None)
        buffer = io.BytesIO()
        Image.fromarray(to_array(shown.pixels, shown, shown.alpha)).save(buffer, "PNG")
        return buffer.getvalue()


def check_sources(folder: str | os.PathLike[str]) -> None:
    """Raises the errors of `Fusion.save_sources` about this folder before any work is done."""
    _check_folder(Path(folder), SOURCE)


def check_steps(
    folder: str | os.PathLike[str], output: str | os.PathLike[str] | None = None
) -> None:
    """Raises the errors of `Fusion.save_steps` about this folder before any work is done.

    Args:
        output: the path of the result itself, which must not have the name of a step.
    """
    if output is not None and STEP.fullmatch(Path(output).name):
        raise InputError(f"cannot write {output}: this name is for steps; choose another output")
    _check_folder(Path(folder), STEP)


def _check_folder(folder: Path, names: re.Pattern[str]) -> None:
    """Raises unless files can be written there, and existing files with such names are ours."""
    check_folder_writable(folder)
    for path in _called(folder, names):
        check_ours(path)


def _called(folder: Path, names: re.Pattern[str]) -> list[Path]:
    return [path for path in folder.glob("s*") if names.fullmatch(path.name)]
