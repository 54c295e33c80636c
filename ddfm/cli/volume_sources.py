"""Options for volumes: which ones are read, their black and white, and their slices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import click

from ddfm.cli.options import all_of

__all__ = ["VolumeSourceOptions", "volume_options"]

volume_options = all_of(
    click.option(
        "--axis",
        metavar="AXIS",
        help="The slices to fuse: axial, coronal, sagittal, or the index, 0 to 2, of the axis "
        "across them.  [default: those of the best resolution]",
    ),
    click.option("--window-a", metavar="WINDOW", help="As --window-b, for A."),
    click.option(
        "--window-b",
        metavar="WINDOW",
        help="The window of B, a CT, whose ends become black and white: brain, subdural, bone, "
        "soft-tissue, mediastinum, lung, or LEVEL/WIDTH (40/80 or 40,80).  [default: soft-tissue "
        "for CT, --percentiles for all others]",
    ),
    click.option(
        "--percentiles",
        nargs=2,
        type=float,
        default=(0.5, 99.5),
        show_default=True,
        metavar="LOW HIGH",
        help="The percentiles, of values above the background, that become black and white where "
        "there is no window.",
    ),
    click.option("--colormap-a", metavar="MAP", help="As --colormap-b, for A."),
    click.option(
        "--colormap-b",
        metavar="MAP",
        help="The colours of B, the activity in a PET or SPECT: ember, hot, ice, green or none.  "
        "[default: ember for DICOM of PET and SPECT, none for all others]",
    ),
    click.option(
        "--fwhm-b",
        metavar="WIDTH",
        help="Undo the blur of B, a PET or SPECT, on the grid of A: the full width at half "
        "maximum of a point in millimetres, such as 5mm, from 0 (only that of the voxels) to "
        "100.  [default: B is interpolated]",
    ),
    click.option(
        "--window-c",
        multiple=True,
        metavar="WINDOW",
        help="As --window-b, for C; given again, for the volumes after it.",
    ),
    click.option(
        "--colormap-c",
        multiple=True,
        metavar="MAP",
        help="As --colormap-b, for C; given again, for the volumes after it.",
    ),
    click.option("--series-a", type=int, metavar="NUMBER", help="As --series-b, for A."),
    click.option(
        "--series-b",
        type=int,
        metavar="NUMBER",
        help="The number of the DICOM series to read as B, if its folder has several.",
    ),
    click.option(
        "--volume",
        "number",
        type=int,
        metavar="NUMBER",
        help="The volume to read, counted from 0, of files that hold several (times, directions, "
        "echoes).",
    ),
    click.option(
        "--together",
        type=click.IntRange(1),
        default=1,
        show_default=True,
        help="How many slices go through the network at once; more keep a GPU busier.",
    ),
)


@dataclass(frozen=True)
class VolumeSourceOptions:
    """The values of these options."""

    axis: str | None
    window_a: str | None
    window_b: str | None
    percentiles: tuple[float, float]
    colormap_a: str | None
    colormap_b: str | None
    fwhm_b: str | None
    window_c: tuple[str, ...]
    colormap_c: tuple[str, ...]
    together: int
    series_a: int | None
    series_b: int | None
    number: int | None

    def how(self) -> dict[str, Any]:
        """Return these options as keywords of `fuse_volumes`."""
        return {
            "axis": self.axis,
            "window_a": self.window_a,
            "window_b": self.window_b,
            "percentiles": self.percentiles,
            "colormap_a": self.colormap_a,
            "colormap_b": self.colormap_b,
            "fwhm_b": None if self.fwhm_b is None else _millimetres(self.fwhm_b),
            "more_windows": self.window_c,
            "more_colormaps": self.colormap_c,
            "together": self.together,
        }

    def which(self) -> dict[str, Any]:
        """Which volumes to read, under the names used in a record."""
        return {"series_a": self.series_a, "series_b": self.series_b, "numbers": self.number}


def _millimetres(text: str) -> float:
    try:
        return float(text.removesuffix("mm"))
    except ValueError:
        raise click.UsageError(
            f"--fwhm-b must be a width in millimetres, such as 5mm, not {text}"
        ) from None
