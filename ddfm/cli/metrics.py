"""ddfm metrics."""

from __future__ import annotations

import json as to_json
import math
from pathlib import Path

import click

from ddfm.cli.options import reading_options

__all__ = ["metrics"]


@click.command(short_help="Measure a fused image against its sources.")
@click.argument("fused", type=click.Path(path_type=Path))
@click.argument(
    "sources", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="A B..."
)
@click.option("--json", is_flag=True, help="As JSON, with all digits.")
@click.option(
    "--metrics",
    "chosen",
    metavar="Qabf,VIF",
    help="These only, with commas between.  [default: all]",
)
@click.option(
    "--pattern",
    metavar="A:B[:...]",
    help="Folders: the names of a pair of sources, as `ddfm fuse` has it.",
)
@click.option(
    "--ssim-range",
    type=float,
    default=2.0,
    show_default=True,
    help="Data range of SSIM: 2 as published tables have it; 255 is right for 8 bits.",
)
@reading_options
def metrics(
    fused: Path,
    sources: tuple[Path, ...],
    json: bool,
    chosen: str | None,
    pattern: str | None,
    ssim_range: float,
) -> int | None:
    """All metrics of a FUSED image, or the means over a folder of them, and its sources A and B.

    There may be more than two sources. Of folders, files belong together by their names.
    docs/metrics.md says what each metric rewards, and how it is fooled.

    \b
    Examples:
      ddfm metrics fused.png ir.png vis.png
      ddfm metrics fused.png near.png middle.png far.png --metrics Qabf,VIF,SSIM
      ddfm metrics fused/ ir/ vis/ --json
      ddfm metrics fused/ photos/ photos/ --pattern '{}_ir.png:{}_rgb.jpg'
    """
    from ddfm.metrics import evaluate
    from ddfm.metrics.folders import evaluate_folders

    names = None if chosen is None else [name.strip() for name in chosen.split(",")]
    if not fused.is_dir():
        if pattern is not None:
            raise click.UsageError("--pattern is for folders")
        values = evaluate(fused, *sources, ssim_range=ssim_range, metrics=names)
        click.echo(_json(_plain(values)) if json else _table(values))
        return None
    measured = evaluate_folders(
        fused, *sources, pattern=pattern, ssim_range=ssim_range, metrics=names
    )
    if json:
        each = {name: _plain(values) for name, values in measured.pairs.items()}
        click.echo(_json({"mean": _plain(measured.mean), "pairs": each}))
    else:
        click.echo(f"mean of {len(measured.pairs)} pairs\n{_table(measured.mean)}")
    for line in measured.problems + measured.leftovers:
        click.echo(line, err=True)
    return 1 if measured.problems else None


def _table(values: dict[str, float]) -> str:
    return "\n".join(f"{name:20}{value:.6g}" for name, value in values.items())


def _json(values: object) -> str:
    return to_json.dumps(values, indent=1)


def _plain(values: dict[str, float]) -> dict[str, float | None]:
    """JSON has no number for an infinite PSNR."""
    return {name: value if math.isfinite(value) else None for name, value in values.items()}
