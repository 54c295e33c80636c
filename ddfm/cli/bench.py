"""ddfm bench."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ddfm.cli.options import fuser_options, quiet_option, verify_option
from ddfm.cli.shards import shard_option
from ddfm.cli.writing import OutputPath, WritingCommand, say

if TYPE_CHECKING:
    from ddfm.storage.manifest import Shard

__all__ = ["bench", "folder_names"]


@click.command(cls=WritingCommand, short_help="Fuse sets of pairs, measure, and write a report.")
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", required=True, type=OutputPath(), metavar="DIR", help="Where to.")
@fuser_options
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE.toml",
    help="A table per configuration, with keywords of ddfm.Fuser; the options here hold for all.",
)
@click.option("--baselines", is_flag=True, help="Also average, maximum, Laplacian pyramid, ...")
@click.option(
    "--also",
    multiple=True,
    metavar="NAME=DIR",
    help="Also the results of another method, in DIR/SET/ or DIR, named as the pairs.",
)
@click.option("--noise", metavar="15,25", help="Also fuse with noise of so many grey levels.")
@click.option("--subfolders", metavar="A,B,...", help="Names of the subfolders, if not known.")
@click.option("--limit", type=click.IntRange(1), help="Pairs of each set, at most.")
@click.option(
    "--ssim-range",
    type=float,
    default=2.0,
    show_default=True,
    help="Data range of SSIM: 2 as published tables have it; 255 is right for 8 bits.",
)
@click.option(
    "--columns",
    metavar="EN,VIF,...",
    help="Metrics of tables.md and tables.tex.  [default: those that papers have, and the task's]",
)
@click.option(
    "--detect",
    "boxes",
    type=click.Path(path_type=Path),
    metavar="BOXES.csv",
    help="Also what a detector finds of these boxes, in all results and in each source alone.",
)
@click.option(
    "--detector",
    "detectors",
    multiple=True,
    metavar="FILE",
    help="FILE.onnx, with FILE.json beside it, or FILE.py:FUNCTION; may be given several times.",
)
@shard_option(
    "Only the I-th of N parts of the pairs, as for `ddfm fuse`; a run without writes the report."
)
@verify_option
@quiet_option
def bench(
    folders: tuple[Path, ...],
    out: Path,
    config: Path | None,
    baselines: bool,
    also: tuple[str, ...],
    noise: str | None,
    subfolders: str | None,
    limit: int | None,
    ssim_range: float,
    columns: str | None,
    boxes: Path | None,
    detectors: tuple[str, ...],
    shard: Shard | None,
    verify: bool,
    quiet: bool,
    **settings: Any,
) -> int | None:
    """Fuse the pairs of each FOLDER, measure, and write tables, plots and report.html.

    A FOLDER holds two subfolders of equally named files: ir and vi, CT and MRI, PET and MRI, SPECT
    and MRI, over and under, or others by --subfolders, two or more. An interrupted run goes on
    where it was.

    \b
    Examples:
      ddfm bench TNO/ RoadScene/ --out bench/ --baselines
      ddfm bench TNO/ --out bench/ --config variants.toml --noise 15,25
      ddfm bench focus/ --subfolders near,middle,far --task multi-focus --out bench/
      ddfm bench TNO/ --out bench/ --also U2Fusion=u2fusion/
      ddfm bench MSRS/ --out bench/ --baselines --detect boxes.csv --detector yolo.onnx
    """
    import ddfm.bench as room
    from ddfm.bench import detect

    if bool(detectors) != (boxes is not None):
        raise click.UsageError("--detect names the boxes, --detector who looks for them: give both")

    names = folder_names(subfolders)
    levels = _levels(noise)
    others = dict(_named(text) for text in also)
    own_name = "default" if settings["method"] == "ddfm" else settings["method"]
    given = {None: settings} if config is None else room.read_configs(config)
    methods = [
        room.configured(name or own_name, settings | own if name else own)
        for name, own in given.items()
    ]
    methods += [room.baseline(name) for name in room.BASELINES if baselines]
    methods += [room.from_folder(name, folder) for name, folder in others.items()]
    sets = [room.find_dataset(f, names, settings["task"], limit) for f in folders]
    annotated = None if boxes is None else detect.read_boxes(boxes)
    looking = dict(map(detect.load_detector, detectors))
    if annotated is not None:
        detect.check_boxes(annotated, sets)
    progress = False if quiet else None
    result = room.bench(
        sets,
        methods,
        out,
        ssim_range=ssim_range,
        noise=levels,
        columns=None if columns is None else [name.strip() for name in columns.split(",")],
        verify=verify,
        shard=shard,
        progress=progress,
        lines=True,
    )
    if annotated is not None and shard is None:
        detect.detect(result, annotated, looking, out)
    for method, dataset, pair, reason in result.failures:
        say(": ".join(filter(None, (method, dataset, pair, reason))), err=True)
    if not quiet and shard is None:
        say(out / "report.html")
    return None if result.ok else 1


def folder_names(text: str | None, only_two: bool = False) -> tuple[str, ...] | None:
    """The names of --subfolders: two, or more unless there may be two only."""
    if text is None:
        return None
    names = tuple(part.strip() for part in text.split(","))
    if len(names) < 2 or not all(names) or (only_two and len(names) > 2):
        number = "two names" if only_two else "two names or more"
        raise click.UsageError(f"--subfolders takes {number} with commas between, such as near,far")
    return names


def _levels(text: str | None) -> list[float]:
    try:
        levels = list(dict.fromkeys(map(float, text.split(",")))) if text else []
    except ValueError:
        levels = [-1.0]
    if not all(0 < level < 256 for level in levels):
        raise click.UsageError("--noise takes grey levels with commas between, such as 15,25")
    return levels


def _named(text: str) -> tuple[str, Path]:
    name, _, folder = text.partition("=")
    if not name or not folder:
        raise click.UsageError("--also takes NAME=DIR")
    return name, Path(folder)
