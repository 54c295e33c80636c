"""ddfm metrics."""

from __future__ import annotations

import json as to_json
import math
from pathlib import Path

import click

__all__ = ["metrics"]


@click.command(short_help="Measure a fused image against its sources.")
@click.argument("fused", type=click.Path(path_type=Path))
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option("--json", is_flag=True, help="As JSON, with all digits.")
@click.option(
    "--ssim-range",
    type=float,
    default=2.0,
    show_default=True,
    help="Data range of SSIM: 2 as published tables have it; 255 is right for 8 bits.",
)
def metrics(fused: Path, a: Path, b: Path, json: bool, ssim_range: float) -> int | None:
    """All metrics of a FUSED image, or the means over a folder of them, and its sources A and B.

    Of three folders, files belong together by their names. docs/metrics.md says what each metric
    rewards, and how it is fooled.

    \b
    Examples:
      ddfm metrics fused.png ir.png vis.png
      ddfm metrics fused/ ir/ vis/ --json
    """
    from ddfm.errors import DdfmError
    from ddfm.metrics import evaluate

    if not fused.is_dir():
        values = evaluate(fused, a, b, ssim_range=ssim_range)
        click.echo(to_json.dumps(_plain(values), indent=1) if json else _table(values))
        return None
    from ddfm.pairing import find_pairs, image_files

    results = {path.stem: path for path in image_files(fused)}
    pairing = find_pairs(a, b)
    problems = pairing.leftovers()
    pairs = {}
    for pair in pairing.pairs:
        try:
            if pair.name not in results:
                raise DdfmError(f"{fused} holds no result called {pair.name}")
            pairs[pair.name] = evaluate(results[pair.name], pair.a, pair.b, ssim_range=ssim_range)
        except DdfmError as error:
            problems.append(f"{pair.name}: {error}")
    if not pairs:
        raise DdfmError(problems[0] if problems else f"no pairs in {a} and {b}")
    names = next(iter(pairs.values()))
    mean = {name: sum(values[name] for values in pairs.values()) / len(pairs) for name in names}
    if json:
        each = {name: _plain(values) for name, values in pairs.items()}
        click.echo(to_json.dumps({"mean": _plain(mean), "pairs": each}, indent=1))
    else:
        click.echo(f"mean of {len(pairs)} pairs\n{_table(mean)}")
    for line in problems:
        click.echo(line, err=True)
    return 1 if problems else None


def _table(values: dict[str, float]) -> str:
    return "\n".join(f"{name:20}{value:.6g}" for name, value in values.items())


def _plain(values: dict[str, float]) -> dict[str, float | None]:
    """JSON has no number for an infinite PSNR."""
    return {name: value if math.isfinite(value) else None for name, value in values.items()}
