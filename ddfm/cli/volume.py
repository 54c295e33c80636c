"""ddfm volume."""

from __future__ import annotations

import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ddfm.cli.metadata import as_recorded, record_options, warn_of_changes
from ddfm.cli.options import check_sources, checked, fuser_options, quiet_option, verify_option
from ddfm.cli.shards import shard_option
from ddfm.cli.trust import samples_for, trust_options
from ddfm.cli.writing import OutputPath, WritingCommand, say
from ddfm.errors import DdfmWarning
from ddfm.progress import stage

if TYPE_CHECKING:
    from ddfm.storage.manifest import Shard

__all__ = ["volume"]


@click.command(cls=WritingCommand, short_help="Fuse registered volumes.")
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.argument("more", nargs=-1, type=click.Path(path_type=Path), metavar="[C...]")
@click.option(
    "-o",
    "--output",
    required=True,
    type=OutputPath(),
    help="Where to: .nii.gz, .nii, .nrrd, or, without a suffix, a folder for a DICOM series.",
)
@click.option(
    "--axis",
    help="Slices to fuse: axial, coronal, sagittal, or an index, 0 to 2.  "
    "[default: those of the best resolution]",
)
@click.option("--window-a", metavar="WINDOW", help="Of A, as --window-b.")
@click.option(
    "--window-b",
    metavar="WINDOW",
    help="What is black and white in a CT: brain, subdural, bone, soft-tissue, mediastinum, lung, "
    "or LEVEL/WIDTH (40/80 or 40,80).  [default: soft-tissue for CT, percentiles for all others]",
)
@click.option(
    "--percentiles",
    nargs=2,
    type=float,
    default=(0.5, 99.5),
    show_default=True,
    metavar="LOW HIGH",
    help="What is black and white in all others, among the values above background.",
)
@click.option("--colormap-a", metavar="MAP", help="Of A, as --colormap-b.")
@click.option(
    "--colormap-b",
    metavar="MAP",
    help="Colours of an activity: hot, ember, ice, green or none.  "
    "[default: hot for DICOM of PET and SPECT, none for all others]",
)
@click.option(
    "--fwhm-b",
    metavar="WIDTH",
    help="Resolution of B, a PET or SPECT, such as 5mm, the full width at half maximum of what a "
    "point becomes: it is undone on the grid of A. 0 is that of its voxels alone.  "
    "[default: interpolate]",
)
@click.option(
    "--window-c", multiple=True, metavar="WINDOW", help="Of C; given again, of those after it."
)
@click.option(
    "--colormap-c", multiple=True, metavar="MAP", help="Of C; given again, of those after it."
)
@click.option("--series-a", type=int, metavar="NUMBER", help="Of A, as --series-b.")
@click.option(
    "--series-b", type=int, metavar="NUMBER", help="The series, where a DICOM folder has several."
)
@click.option(
    "--volume",
    "number",
    type=int,
    metavar="NUMBER",
    help="Which one, from 0, of files that hold several: a series in time, directions, echoes.",
)
@click.option(
    "--keep-identity",
    is_flag=True,
    help="DICOM: keep patient and study of A. Without this, nothing is that identifies anyone.",
)
@click.option(
    "--montage",
    type=OutputPath(),
    metavar="FILE",
    help="Also write an image of some slices: the sources above, the result below, "
    "with the numbers of the slices, the patient's sides, and what is black and white.",
)
@click.option(
    "--together",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Slices that go through the network at once; more make a GPU faster.",
)
@click.option(
    "--align",
    default="none",
    show_default=True,
    help="Lay B on A by mutual information: rigid, or affine.",
)
@click.option(
    "--transform",
    "transform_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Lay B on A by a transform of --save-transform, 3D Slicer or ANTs: .json, .tfm, .txt or "
    ".mat.",
)
@click.option(
    "--save-transform",
    type=OutputPath(),
    metavar="FILE",
    help="Write the transform that was found: .json, or .tfm for 3D Slicer and ANTs.",
)
@shard_option(
    "Fuse only the I-th of N parts of the slices (3/8, auto/8, auto; as for `ddfm fuse`), and keep "
    "them; the same command without this option then writes the volume."
)
@trust_options
@record_options
@verify_option
@fuser_options
@quiet_option
def volume(
    a: Path,
    b: Path,
    more: tuple[Path, ...],
    output: Path,
    axis: str | None,
    window_a: str | None,
    window_b: str | None,
    percentiles: tuple[float, float],
    colormap_a: str | None,
    colormap_b: str | None,
    fwhm_b: str | None,
    window_c: tuple[str, ...],
    colormap_c: tuple[str, ...],
    series_a: int | None,
    series_b: int | None,
    number: int | None,
    keep_identity: bool,
    montage: Path | None,
    together: int,
    align: str,
    transform_file: Path | None,
    save_transform: Path | None,
    uncertainty: Path | None,
    samples: int | None,
    shard: Shard | None,
    attribution: Path | None,
    like: Path | None,
    verify: bool,
    quiet: bool,
    **settings: Any,
) -> None:
    """Fuse registered volumes, slice by slice: A is the MRI, B a CT, PET or SPECT, C... more.

    Each is a file (NIfTI, NRRD) or a folder with a DICOM series. The result lies on the grid of A;
    the others are brought there by what all say of the patient's space. An interrupted run goes on
    where it was: until the volume is written, its slices are kept in a hidden folder beside it.

    \b
    Examples:
      ddfm volume mri.nii.gz ct.nii.gz -o fused.nii.gz --window-b bone
      ddfm volume mri/ pet/ -o fused/ --colormap-b hot --fwhm-b 5mm --montage look.png
      ddfm volume mri.nii.gz ct.nii.gz -o fused.nii.gz --align rigid --save-transform ct.tfm
      ddfm volume mri.nii.gz ct.nii.gz -o fused.nii.gz --transform 0GenericAffine.mat
      ddfm volume mri.nii.gz ct.nii.gz -o fused.nii.gz --uncertainty std.nii.gz
      ddfm volume mri.nii.gz pet.nii.gz ct.nii.gz -o fused.nii.gz --colormap-b hot
      ddfm volume mri.nii.gz ct.nii.gz -o fused.nii.gz --shard 3/8
      ddfm volume mri.nii.gz pet.nii.gz ct.nii.gz -o fused.nii.gz --colormap-b hot --window-c bone
      ddfm volume --like fused.nii.gz mri.nii.gz ct.nii.gz -o again.nii.gz
      ddfm volume exam/ exam/ -o fused.nii.gz --series-a 3 --series-b 7
    """
    for source in (a, b, *more):
        check_sources([source])
    width = None if fwhm_b is None else _millimetres(fwhm_b)
    how: dict[str, Any] = {
        "axis": axis,
        "window_a": window_a,
        "window_b": window_b,
        "percentiles": percentiles,
        "colormap_a": colormap_a,
        "colormap_b": colormap_b,
        "fwhm_b": width,
        "more_windows": window_c,
        "more_colormaps": colormap_c,
        "align": align,
        "transform": transform_file,
        "together": together,
    }
    settings, how, record = as_recorded(like, settings, how, "volume")
    checked(settings)
    stage("loading")
    import numpy as np

    from ddfm.imaging.writing import check_output
    from ddfm.pipeline.volumes import fuse_volumes, kept_slices
    from ddfm.registration.space_files import (
        check_space_output,
        checked_motion,
        read_space_transform,
        write_space_transform,
    )
    from ddfm.storage.ours import protecting
    from ddfm.volumes import read_volume
    from ddfm.volumes.files import (
        check_map_output,
        check_planes_output,
        check_volume_output,
        volume_count,
        volume_files,
        write_map,
    )

    # Some volumes lie in several files, of which only one is named.
    kept = protecting(*(file for volume in (a, b, *more) for file in volume_files(volume)))
    click.get_current_context().with_resource(kept)
    if quiet:
        warnings.simplefilter("ignore", DdfmWarning)
    if save_transform is not None:
        if how["align"] == "none" and how["transform"] is None:
            raise click.UsageError("--save-transform needs --align, which finds one")
        if more:
            raise click.UsageError("--save-transform is for two volumes")
        check_space_output(save_transform)
    if transform_file is not None:
        how["transform"] = read_space_transform(transform_file)
    elif how["transform"] is not None:  # of a record, which may hold anything
        how["transform"] = checked_motion(how["transform"], "the transform of the record")
    check_volume_output(output)
    count = samples_for(uncertainty, samples)
    if uncertainty is not None:
        check_map_output(uncertainty)
    if attribution is not None:
        check_planes_output(attribution)
    if montage is not None:
        check_output(montage)
    began = time.monotonic()
    several = [volume_count(path) > 1 for path in (a, b, *more)]
    if number is not None and not any(several):
        raise click.UsageError("--volume is for files that hold several volumes, and none does")
    which = [number if many else None for many in several]
    first = read_volume(a, series=series_a, volume=which[0])
    second = read_volume(b, series=series_b, volume=which[1])
    others = [read_volume(v, volume=k) for v, k in zip(more, which[2:], strict=True)]
    check_volume_output(output, grid=first)
    if uncertainty is not None:
        check_map_output(uncertainty, grid=first)

    from ddfm.fuser import Fuser  # and with it torch: only when all else is found to be right

    with kept_slices(output, shard) as folder:
        fusion = fuse_volumes(
            first,
            second,
            Fuser(**settings),
            more=others,
            **how,
            keep=folder,
            verify=verify,
            samples=count,
            shard=shard,
            attribution=attribution is not None,
            progress=False if quiet else None,
        )
        if shard is not None:  # the other slices are not in it
            return
        fusion.save(output, keep_identity=keep_identity)
        if uncertainty is not None and fusion.uncertainty is not None:
            what = "standard deviation of levels from 0 to 1"
            write_map(uncertainty, fusion.uncertainty, what, keep_identity=keep_identity)
        if attribution is not None and fusion.attribution is not None:
            fusion.attribution.save(attribution)
        if montage is not None:
            fusion.montage(montage, axis=axis)
    warn_of_changes(record, fusion.record, like)
    if not quiet:
        about = fusion.settings
        columns = about["order"], about["sources"], about["black_and_white"], about["scaled_by"]
        for _, name, (low, high), way in sorted(zip(*columns, strict=True)):
            say(f"{name}: black is {low:g}, white {high:g} ({way})", err=True)
    if fusion.volume.burned_in and not quiet:
        say(
            f"{output}: a source says that text is burned into its pixels, which may be the name "
            "of the patient; so it may be in the result",
            err=True,
        )
    if save_transform is not None:
        matrix = fusion.settings["alignment"][0]["fixed_to_moving"]
        write_space_transform(save_transform, np.array(matrix))
    if not quiet and sys.stderr.isatty():
        sides = " x ".join(map(str, fusion.volume.shape))
        say(f"{output}: {sides} voxels, {time.monotonic() - began:.1f} s", err=True)


def _millimetres(said: str) -> float:
    try:
        return float(said.removesuffix("mm"))
    except ValueError:
        raise click.UsageError(f"--fwhm-b is millimetres, such as 5mm, not {said}") from None
