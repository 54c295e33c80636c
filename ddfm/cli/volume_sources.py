"""Options for volumes: which ones are read, their black and white, and their slices."""

from __future__ import annotations

from typing import Any

import click

from ddfm.cli.metadata import parameter_of
from ddfm.cli.options import all_of

__all__ = ["how_and_which", "volume_options"]


def _millimetres(context: click.Context, option: click.Parameter, text: str | None) -> float | None:
    try:
        return None if text is None else float(text.removesuffix("mm"))
    except ValueError:
        raise click.UsageError(
            f"--fwhm-b must be a width in millimetres, such as 5mm, not {text}"
        ) from None


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
        callback=_millimetres,
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
_HOW = (
    "axis", "window_a", "window_b", "percentiles", "colormap_a", "colormap_b", "fwhm_b",
    "more_windows", "more_colormaps", "together",
)  # fmt: skip
_WHICH = ("series_a", "series_b", "numbers")


def how_and_which(options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Remove these options from all options; return keywords of `fuse_volumes`, and what to read.

    What to read has the names used in a record.
    """
    how = {name: options.pop(parameter_of(name)) for name in _HOW}
    return how, {name: options.pop(parameter_of(name)) for name in _WHICH}
