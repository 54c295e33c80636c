"""ddfm bench."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ddfm.cli.options import (
    checked,
    fuser_options,
    quiet_option,
    resize_option,
    shard_option,
    ssim_range_option,
    verify_option,
)
from ddfm.cli.sources import check_exist
from ddfm.cli.writing import OutputPath, WritingCommand, say

if TYPE_CHECKING:
    from ddfm.bench import Dataset, Method
    from ddfm.storage.manifest import Shard

__all__ = ["bench", "folder_names"]


@click.command(
    cls=WritingCommand, short_help="Compare methods on sets of pairs, and write a report."
)
@click.argument(
    "folders", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FOLDER..."
)
@click.option(
    "--out",
    required=True,
    type=OutputPath(),
    metavar="DIR",
    help="The folder for fused images, tables, plots and report.html.",
)
@fuser_options
@resize_option
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE.toml",
    help="A file with one table for each configuration to compare, of keywords of ddfm.Fuser; "
    "options of the command line apply to all that do not set them.",
)
@click.option(
    "--baselines",
    is_flag=True,
    help="Also compare with average, maximum, Laplacian pyramid and guided filter.",
)
@click.option(
    "--also",
    multiple=True,
    metavar="NAME=DIR",
    help="Also measure the results of another method: images in DIR/SET/ or DIR, named like the "
    "pairs. May be given several times.",
)
@click.option(
    "--degrade",
    multiple=True,
    metavar="KIND=AMOUNT",
    help="Also fuse degraded sources; KIND degrades all of them, KIND-a only A. noise=15, "
    "rician=10 and stripes=6: standard deviation in grey levels of 255; poisson=4: levels per "
    "photon; scale=4: times smaller; blur=1.5: sigma in pixels; jpeg=30: quality; frame=0.7: "
    "share of the area left; dead=0.001: share of the pixels; several separated by commas; or "
    "mixed. With --baselines, classical restoration is compared, too. May be given several times.",
)
@click.option(
    "--subfolders",
    metavar="A,B,...",
    help="Names of the subfolders of each FOLDER.  [default: one of the pairs of names above]",
)
@click.option("--limit", type=click.IntRange(1), help="Use at most this many pairs of each FOLDER.")
@click.option(
    "--only", metavar="NAME,...", help="Use only the pairs of these names, in whichever FOLDER."
)
@ssim_range_option
@click.option(
    "--columns",
    metavar="EN,VIF,...",
    help="Metrics shown in tables.md and tables.tex, separated by commas.  [default: those usual "
    "in papers, those of the task, and --also-metrics]",
)
@click.option(
    "--also-metrics",
    metavar="NAME,...",
    help="Also measure these metrics of installed packages, separated by commas.",
)
@click.option(
    "--detect",
    "boxes",
    type=click.Path(path_type=Path),
    metavar="BOXES.csv",
    help="Also score how well each --detector finds these boxes, in all results and in each "
    "source.",
)
@click.option(
    "--detector",
    "detectors",
    multiple=True,
    metavar="FILE",
    help="A detector for --detect: FILE.onnx with FILE.json next to it, or FILE.py:FUNCTION. May "
    "be given several times.",
)
@shard_option(
    "Fuse only the I-th of N parts of the pairs, such as 3/8 (see `ddfm fuse --help`); afterwards, "
    "the same command without --shard writes the report."
)
@verify_option
@quiet_option
def bench(
    folders: tuple[Path, ...],
    out: Path,
    config: Path | None,
    baselines: bool,
    also: tuple[str, ...],
    degrade: tuple[str, ...],
    subfolders: str | None,
    limit: int | None,
    only: str | None,
    ssim_range: float,
    columns: str | None,
    also_metrics: str | None,
    boxes: Path | None,
    detectors: tuple[str, ...],
    shard: Shard | None,
    verify: bool,
    quiet: bool,
    **settings: Any,
) -> int | None:
    """Fuse the pairs of each FOLDER, measure the results, and write tables, plots and report.html.

    A FOLDER holds two subfolders with files of the same names: ir and vi, CT and MRI, PET and MRI,
    SPECT and MRI, over and under; or those that --subfolders names, two or more. To continue an
    interrupted run, give the same command again.

    \b
    Examples:
      ddfm bench TNO/ RoadScene/ --out bench/ --baselines
      ddfm bench TNO/ --out bench/ --baselines --degrade noise=15 --degrade scale-a=4
      ddfm bench TNO/ --out bench/ --config variants.toml
      ddfm bench focus/ --subfolders near,middle,far --task multi-focus --out bench/
      ddfm bench TNO/ --out bench/ --also U2Fusion=u2fusion/
      ddfm bench MSRS/ --out bench/ --baselines --detect boxes.csv --detector yolo.onnx
    """
    check_exist(folders)
    if config is None:  # else its tables complete the settings
        checked(settings)
    import ddfm.bench as room
    from ddfm.bench import detect

    if bool(detectors) != (boxes is not None):
        raise click.UsageError(
            "--detect (the boxes) and --detector (what detects them) need each other; give both"
        )
    degradations = [room.find_degradation(text) for text in degrade]
    methods = _methods(settings, config, baselines, also)
    sets = _datasets(folders, subfolders, settings["task"], limit, only)
    annotated = None if boxes is None else detect.read_boxes(boxes)
    loaded = detect.load_detectors(detectors)
    if annotated is not None:
        detect.check_boxes(annotated, sets)
    result = room.bench(
        sets,
        methods,
        out,
        ssim_range=ssim_range,
        degrade=degradations,
        classical=baselines,
        columns=_names(columns),
        also_metrics=_names(also_metrics) or (),
        verify=verify,
        shard=shard,
        progress=False if quiet else None,
        lines=True,
    )
    if annotated is not None and shard is None:
        detect.detect(result, annotated, loaded, out)
    for method, dataset, pair, reason in result.failures:
        say(": ".join(filter(None, (method, dataset, pair, reason))), err=True)
    if not quiet and shard is None:
        say(out / "report.html")
    return None if result.ok else 1


def _methods(
    settings: dict[str, Any], config: Path | None, baselines: bool, also: tuple[str, ...]
) -> list[Method]:
    """The methods to compare: configurations of ddfm, baselines, and the results of others."""
    import ddfm.bench as room

    others = [_named(text) for text in also]
    name = "default" if settings["method"] == "ddfm" else settings["method"]
    given = {name: {}} if config is None else room.read_configs(config)
    methods = [room.configured(name, settings | own) for name, own in given.items()]
    methods += [room.baseline(name) for name in room.BASELINES if baselines]
    return methods + [room.from_folder(name, folder) for name, folder in others]


def _datasets(
    folders: tuple[Path, ...],
    subfolders: str | None,
    task: str,
    limit: int | None,
    only: str | None,
) -> list[Dataset]:
    """The pairs of each folder; every name in --only must be that of a pair."""
    import ddfm.bench as room

    names, chosen = folder_names(subfolders), _names(only)
    sets = [room.find_dataset(folder, names, task, limit, chosen) for folder in folders]
    found = {pair.name for dataset in sets for pair in dataset.pairs}
    if missing := [name for name in chosen or () if name not in found]:
        raise click.UsageError(f"--only {missing[0]}: no FOLDER has a pair of this name")
    return sets


def _names(text: str | None) -> list[str] | None:
    """Names separated by commas."""
    return None if text is None else [name.strip() for name in text.split(",")]


def folder_names(text: str | None, only_two: bool = False) -> tuple[str, ...] | None:
    """The names in --subfolders: two or more, or, with `only_two`, exactly two."""
    if text is None:
        return None
    names = tuple(part.strip() for part in text.split(","))
    if len(names) < 2 or not all(names) or (only_two and len(names) > 2):
        number = "two names" if only_two else "two names or more"
        raise click.UsageError(f"--subfolders takes {number} separated by commas, such as near,far")
    return names


def _named(text: str) -> tuple[str, Path]:
    name, _, folder = text.partition("=")
    if not name or not folder:
        raise click.UsageError("--also takes NAME=DIR")
    return name, Path(folder)
