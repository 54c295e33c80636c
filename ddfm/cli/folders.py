"""Options for folders of images, and what `ddfm fuse` does with folders."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ddfm.cli.groups import refuse
from ddfm.cli.options import all_of, echo_json, shard_option, verify_option
from ddfm.cli.writing import say

if TYPE_CHECKING:
    from ddfm.imaging.opening import Opening
    from ddfm.pipeline.beside import Beside
    from ddfm.pipeline.runner import Engine
    from ddfm.storage.manifest import Shard

__all__ = ["FolderOptions", "folder_options", "fuse_files_of_folders"]

folder_options = all_of(
    click.option(
        "--pattern",
        metavar="A:B...",
        help="Folders: how the files of a pair are named, with {} for what their names share and "
        "* for anything, such as '{}_thermal.png:{}_rgb.jpg'.  [default: names that are equal "
        "apart from words such as ir and vis]",
    ),
    click.option(
        "--format",
        metavar="SUFFIX",
        help="Folders and standard output: the format of the results, such as tif.  [default: "
        "png; in folders, tif for pairs of TIFF files]",
    ),
    click.option("--dry-run", is_flag=True, help="Folders: print the pairs and do nothing."),
    shard_option(
        "Folders: fuse only the I-th of N parts, such as 3/8, so that N processes share the work; "
        "auto/8 or auto in a job array of Slurm, auto/8 in an Indexed Job of Kubernetes. Then see "
        "`ddfm merge`."
    ),
    click.option(
        "--engine",
        metavar="threads|dask",
        help="Folders: threads fuses in this process, while other threads read and write; dask "
        "uses one worker per processor, or the workers of --scheduler.  [default: threads]",
    ),
    click.option(
        "--scheduler",
        metavar="ADDRESS",
        help="Folders: the address of a Dask cluster, such as tcp://node1:8786.",
    ),
    verify_option,
)


@dataclass(frozen=True)
class FolderOptions:
    """The values of these options."""

    pattern: str | None
    format: str | None
    dry_run: bool
    shard: Shard | None
    engine: str | None
    scheduler: str | None
    verify: bool


def fuse_files_of_folders(
    sources: tuple[Path, ...],
    output: Path,
    settings: dict[str, Any],
    of_folders: FolderOptions,
    opening: Opening,
    *,
    save_transform: Path | None,
    beside: Beside,
    progress: bool | None,
    as_json: bool,
) -> int | None:
    """Fuses the pairs of folders, reports the outcome, and returns the exit code."""
    _check(sources, settings, of_folders, save_transform)
    from ddfm.pipeline.folders import fuse_folders
    from ddfm.pipeline.unloaded import Unloaded

    first, *others = sources
    summary = fuse_folders(
        first,
        others[0] if others else None,
        output,
        Unloaded(settings),  # --dry-run and finished folders need no prior
        more=others[1:],
        opening=opening,
        pattern=of_folders.pattern,
        suffix=of_folders.format,
        dry_run=of_folders.dry_run,
        verify=of_folders.verify,
        shard=of_folders.shard,
        save_transform=save_transform,
        uncertainty=beside.uncertainty,
        attribution=beside.attribution,
        samples=beside.samples,
        sheets=beside.sheet,
        progress=progress,
        engine=_engine(of_folders),
    )
    if as_json:
        echo_json(summary.plain())
    elif of_folders.dry_run:
        say(summary.pairing)
    elif progress is None or not summary.ok:
        say(summary, err=True)
    return None if summary.ok else 1


def _check(
    sources: tuple[Path, ...],
    settings: dict[str, Any],
    of_folders: FolderOptions,
    save_transform: Path | None,
) -> None:
    """Refuses options that do not suit these folders, and unknown formats."""
    if save_transform is not None and settings["align"] != "once":
        raise click.UsageError(
            "--save-transform is for one pair; for folders, use it with --align once"
        )
    if len(sources) == 1 and of_folders.pattern is not None:
        refuse(["--pattern"], "two folders or more")
    if of_folders.format is not None:
        from ddfm.imaging.writing import output_suffix

        output_suffix(of_folders.format)


def _engine(of_folders: FolderOptions) -> Engine | None:
    from ddfm.arguments import one_of

    usual = "threads" if of_folders.scheduler is None else "dask"
    if one_of("engine", of_folders.engine or usual, ("threads", "dask")) == "threads":
        if of_folders.scheduler is not None:
            refuse(["--scheduler"], "--engine dask")
        return None
    from ddfm.pipeline.dask_engine import OnDask

    return OnDask(of_folders.scheduler)
