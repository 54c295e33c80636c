"""ddfm volume."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ddfm.cli.groups import is_given, take
from ddfm.cli.metadata import as_recorded, record_options, warn_of_changes
from ddfm.cli.options import (
    checked,
    fuser_options,
    quiet_option,
    shard_option,
    verify_option,
)
from ddfm.cli.restoration import observations, say_corrections, slice_observation_options
from ddfm.cli.sources import check_exist
from ddfm.cli.trust import samples_for, trust_options
from ddfm.cli.volume_sources import how_and_which, volume_options
from ddfm.cli.writing import OutputPath, WritingCommand, say, say_done
from ddfm.progress import stage

if TYPE_CHECKING:
    from ddfm.pipeline.volumes import VolumeFusion
    from ddfm.storage.manifest import Shard
    from ddfm.volumes.volume import Volume

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
    help="The volume to write: .nii.gz, .nii, .nrrd, or, without a suffix, a folder for a DICOM "
    "series.",
)
@volume_options
@click.option(
    "--keep-identity",
    is_flag=True,
    help="DICOM: keep the patient and the study of A; by default, nothing that identifies anyone "
    "is kept.",
)
@click.option(
    "--montage",
    type=OutputPath(),
    metavar="FILE",
    help="Also write an image of some slices, the sources above and the result below, with slice "
    "numbers, the patient's sides, and the values that are black and white.",
)
@click.option(
    "--align",
    metavar="HOW",
    default="none",
    show_default=True,
    help="Align B to A by mutual information: rigid or affine; none trusts the positions in the "
    "files.",
)
@click.option(
    "--transform",
    "transform_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Align B to A with a transform from --save-transform, 3D Slicer or ANTs (.json, .tfm, "
    ".txt or .mat), instead of --align.",
)
@click.option(
    "--save-transform",
    type=OutputPath(),
    metavar="FILE",
    help="Also write the transform that --align found: .json, or .tfm for 3D Slicer and ANTs.",
)
@shard_option(
    "Fuse only the I-th of N parts of the slices (3/8, auto/8 or auto; see `ddfm fuse --help`), "
    "and keep them; afterwards, the same command without --shard writes the volume."
)
@trust_options
@record_options
@verify_option
@slice_observation_options
@fuser_options
@quiet_option
def volume(
    a: Path,
    b: Path,
    more: tuple[Path, ...],
    align: str,
    transform_file: Path | None,
    samples: int | None,
    shard: Shard | None,
    like: Path | None,
    verify: bool,
    quiet: bool,
    **settings: Any,
) -> None:
    """Fuse registered volumes, slice by slice: A is the MRI, B a CT, PET or SPECT, C... more.

    Each volume is a file (NIfTI, NRRD and others) or a folder with a DICOM series. The result lies
    on the grid of A; the others are resampled to it by their positions in the patient's space. The
    same command continues an interrupted run: until the volume is written, its slices are kept in a
    hidden folder next to it.

    \b
    Examples:
      ddfm volume mri.nii.gz ct.nii.gz -o fused.nii.gz --window-b bone
      ddfm volume mri/ pet/ -o fused/ --colormap-b ember --fwhm-b 5mm --montage look.png
      ddfm volume mri.nii.gz ct.nii.gz -o fused.nii.gz --align rigid --save-transform ct.tfm
      ddfm volume mri.nii.gz ct.nii.gz -o fused.nii.gz --transform 0GenericAffine.mat
      ddfm volume mri.nii.gz ct.nii.gz -o fused.nii.gz --uncertainty std.nii.gz
      ddfm volume mri.nii.gz pet.nii.gz ct.nii.gz -o fused.nii.gz --colormap-b ember
      ddfm volume mri.nii.gz ct.nii.gz -o fused.nii.gz --shard 3/8
      ddfm volume mri.nii.gz pet.nii.gz ct.nii.gz -o fused.nii.gz --colormap-b ember --window-c bone
      ddfm volume --like fused.nii.gz mri.nii.gz ct.nii.gz -o again.nii.gz
      ddfm volume exam/ exam/ -o fused.nii.gz --series-a 3 --series-b 7
    """
    sources = (a, b, *more)
    check_exist(sources)
    outputs = take(_Outputs, settings)
    how, which = how_and_which(settings)
    settings |= observations(settings, len(sources))
    how |= {"align": align, "transform": transform_file}
    settings, both, record = as_recorded(like, settings, how | which, "volume")
    how = {name: both[name] for name in how}
    checked(settings)
    stage("loading")
    from ddfm.pipeline.slices import kept_slices
    from ddfm.pipeline.volumes import fuse_volumes

    _protect(sources)
    how["transform"] = _motion(how["transform"])
    outputs.check(how, sources)
    how |= {"verify": verify, "shard": shard, "progress": False if quiet else None}
    how |= {"samples": samples_for(outputs.uncertainty, samples)}
    how |= {"attribution": outputs.attribution is not None}
    began = time.monotonic()
    first, second, *others = _read(sources, (both["series_a"], both["series_b"]), both["numbers"])
    outputs.check_grid(first)

    from ddfm.fuser import Fuser  # imports torch, so only after all checks

    with kept_slices(outputs.output, shard) as folder:
        fusion = fuse_volumes(first, second, Fuser(**settings), more=others, keep=folder, **how)
        if shard is not None:  # the volume lacks the slices of other shards
            return
        outputs.write(fusion, how["axis"])
    warn_of_changes(record, fusion.record, like)
    if not quiet:
        _say_how(fusion, outputs.output, time.monotonic() - began)


def _protect(sources: Sequence[Path]) -> None:
    """Also protects the further files of volumes that have several, of which one was named."""
    from ddfm.storage.ours import protecting
    from ddfm.volumes.files import volume_files

    files = (file for volume in sources for file in volume_files(volume))
    click.get_current_context().with_resource(protecting(*files))


def _motion(given: Any) -> Any:
    """The transform from a file, or from a record, whose content is checked."""
    from ddfm.registration.space_files import checked_motion, read_space_transform

    if given is None:
        return None
    if isinstance(given, Path):
        return read_space_transform(given)
    return checked_motion(given, "the transform of the record")


@dataclass(frozen=True)
class _Outputs:
    """The values of the options for outputs."""

    output: Path
    keep_identity: bool
    montage: Path | None
    save_transform: Path | None
    uncertainty: Path | None
    attribution: Path | None

    def check(self, how: dict[str, Any], sources: Sequence[Path]) -> None:
        """Raise, before any volume is read, if an output could not be written."""
        from ddfm.imaging.writing import check_output
        from ddfm.registration.space_files import check_space_output
        from ddfm.storage.outputs import check_apart
        from ddfm.volumes.files import check_map_output, check_planes_output, check_volume_output

        if self.save_transform is not None:
            if how["align"] == "none" and how["transform"] is None:
                raise click.UsageError("--save-transform needs --align, which finds the transform")
            if len(sources) > 2:
                raise click.UsageError("--save-transform is only for two volumes")
            check_space_output(self.save_transform)
        check_volume_output(self.output)
        if self.uncertainty is not None:
            check_map_output(self.uncertainty)
        if self.keep_identity and all(
            path is None or path.suffix.lower() not in ("", ".dcm")
            for path in (self.output, self.uncertainty)
        ):
            raise click.UsageError(
                f"--keep-identity is for DICOM, which {self.output} is not; leave it out, or name "
                "a folder"
            )
        if self.attribution is not None:
            check_planes_output(self.attribution)
        if self.montage is not None:
            check_output(self.montage)
        folders = [source for source in sources if source.is_dir()]
        for output in self._given():  # the next run would protect it, as all in these folders
            check_apart(output, *folders, deep=True)

    def _given(self) -> list[Path]:
        others = self.montage, self.save_transform, self.uncertainty, self.attribution
        return [self.output, *(path for path in others if path is not None)]

    def check_grid(self, first: Volume) -> None:
        """Raise if the format of an output cannot store the grid of the first volume."""
        from ddfm.volumes.files import check_map_output, check_volume_output

        check_volume_output(self.output, grid=first)
        if self.uncertainty is not None:
            check_map_output(self.uncertainty, grid=first)

    def write(self, fusion: VolumeFusion, axis: int | str | None) -> None:
        """Writes the volume and the other outputs that were asked for."""
        from ddfm.registration.space_files import write_space_transform
        from ddfm.volumes.files import write_map

        fusion.save(self.output, keep_identity=self.keep_identity)
        if self.uncertainty is not None and fusion.uncertainty is not None:
            what, keep = "standard deviation of levels from 0 to 1", self.keep_identity
            write_map(self.uncertainty, fusion.uncertainty, what, keep_identity=keep)
        if self.attribution is not None and fusion.attribution is not None:
            fusion.attribution.save(self.attribution)
        if self.montage is not None:
            fusion.montage(self.montage, axis=axis)
        if self.save_transform is not None:
            import numpy as np

            found = fusion.settings["alignment"][0]
            applied = np.array(found["fixed_to_moving"]) if found["applied"] else np.eye(4)
            write_space_transform(self.save_transform, applied)


def _read(sources: Sequence[Path], series: Sequence[int | None], numbers: Any) -> list[Volume]:
    """Reads all volumes.

    Args:
        series: the numbers of the DICOM series of the first volumes; None where there is only one.
        numbers: which volume to read of files that hold several: one number for all files, or a
            tuple with one of each, from a record.
    """
    from ddfm.volumes.files import is_dicom, read_volume, volume_count

    for letter, path in zip("ab", sources, strict=False):
        if is_given(f"series_{letter}") and not is_dicom(path):
            raise click.UsageError(f"--series-{letter} is for DICOM, which {path} is not")
    several = [volume_count(path) > 1 for path in sources]
    if isinstance(numbers, int) and not any(several):
        raise click.UsageError(
            "--volume is for files that hold several volumes; each of these holds one"
        )
    each = numbers if isinstance(numbers, tuple) else [numbers] * len(sources)
    rows = zip_longest(sources, several, series, each[: len(sources)])
    return [
        read_volume(path, series=one, volume=number if many else None)
        for path, many, one, number in rows
    ]


def _say_how(fusion: VolumeFusion, output: Path, seconds: float) -> None:
    """Reports levels, alignment, corrections, burned-in text and, on a terminal, the time taken."""
    about = fusion.settings
    columns = about["order"], about["sources"], about["black_and_white"], about["scaled_by"]
    for _, name, (low, high), way in sorted(zip(*columns, strict=True)):
        say(f"{name}: black is {low:g}, white {high:g} ({way})", err=True)
    names = [name for _, name in sorted(zip(about["order"], about["sources"], strict=True))]
    for name, found in zip(names[1:], about["alignment"], strict=True):
        if about["align"] != "none" and found["applied"]:
            say(f"{name}: aligned to {names[0]}; it was off by {found['off']:.1f} mm", err=True)
    if fusion.record is not None:
        made_with = fusion.record.settings
        say_corrections(names, fusion.record.observed, made_with.get("observations"))
    if fusion.volume.burned_in:
        say(
            f"{output}: the header of a source states that text is burned into its pixels; the "
            "result may show it, too, and it may be the name of the patient",
            err=True,
        )
    say_done(output, f"{' x '.join(map(str, fusion.volume.shape))} voxels", seconds)
