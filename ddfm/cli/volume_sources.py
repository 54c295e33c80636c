"""Options about volumes: which ones are read, what is black and white in them, and their slices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import click

from ddfm.cli.options import all_of

__all__ = ["OfVolumes", "volume_options"]

volume_options = all_of(
    click.option(
        "--axis",
        help="Slices to fuse: axial, coronal, sagittal, or an index, 0 to 2.  "
        "[default: those of the best resolution]",
    ),
    click.option("--window-a", metavar="WINDOW", help="Of A, as --window-b."),
    click.option(
        "--window-b",
        metavar="WINDOW",
        help="What is black and white in a CT: brain, subdural, bone, soft-tissue, mediastinum, "
        "lung, or LEVEL/WIDTH (40/80 or 40,80).  [default: soft-tissue for CT, percentiles for all "
        "others]",
    ),
    click.option(
        "--percentiles",
        nargs=2,
        type=float,
        default=(0.5, 99.5),
        show_default=True,
        metavar="LOW HIGH",
        help="What is black and white in all others, as percentiles of values above background.",
    ),
    click.option("--colormap-a", metavar="MAP", help="Of A, as --colormap-b."),
    click.option(
        "--colormap-b",
        metavar="MAP",
        help="Colours of an activity: hot, ember, ice, green or none.  "
        "[default: hot for DICOM of PET and SPECT, none for all others]",
    ),
    click.option(
        "--fwhm-b",
        metavar="WIDTH",
        help="Resolution of B, a PET or SPECT, as the full width at half maximum of a point, such "
        "as 5mm: it is undone on the grid of A. 0 is that of its voxels alone.  "
        "[default: B is interpolated]",
    ),
    click.option(
        "--window-c", multiple=True, metavar="WINDOW", help="Of C; given again, of those after it."
    ),
    click.option(
        "--colormap-c", multiple=True, metavar="MAP", help="Of C; given again, of those after it."
    ),
    click.option("--series-a", type=int, metavar="NUMBER", help="Of A, as --series-b."),
    click.option(
        "--series-b",
        type=int,
        metavar="NUMBER",
        help="The series, where a DICOM folder has several.",
    ),
    click.option(
        "--volume",
        "number",
        type=int,
        metavar="NUMBER",
        help="Which volume, counted from 0, of files that hold several: times, directions, echoes.",
    ),
    click.option(
        "--together",
        type=click.IntRange(1),
        default=1,
        show_default=True,
        help="Slices that go through the network at once; more make a GPU faster.",
    ),
)


@dataclass(frozen=True)
class OfVolumes:
    """The options about volumes."""

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
        """Keywords of `fuse_volumes`."""
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
        """Which volumes are read, by the names that a record has."""
        return {"series_a": self.series_a, "series_b": self.series_b, "numbers": self.number}


def _millimetres(said: str) -> float:
    try:
        return float(said.removesuffix("mm"))
    except ValueError:
        raise click.UsageError(f"--fwhm-b is millimetres, such as 5mm, not {said}") from None
