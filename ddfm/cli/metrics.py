"""ddfm metrics."""

from __future__ import annotations

import json as to_json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ddfm.cli.groups import is_given
from ddfm.cli.options import reading_options, ssim_range_option
from ddfm.cli.sources import check_exist
from ddfm.cli.writing import say

if TYPE_CHECKING:
    from ddfm.metrics.folders import FolderMetrics

__all__ = ["metrics"]


@click.command(short_help="Measure a fused image against its sources.")
@click.argument("fused", type=click.Path(path_type=Path))
@click.argument(
    "sources", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="A B..."
)
@click.option("--json", is_flag=True, help="Print the metrics as JSON, with all digits.")
@click.option("--csv", is_flag=True, help="Print them as CSV, with all digits, one line per image.")
@click.option("--markdown", is_flag=True, help="Print them as a Markdown table.")
@click.option("--latex", is_flag=True, help="Print them as a LaTeX table.")
@click.option(
    "--metrics",
    "chosen",
    metavar="Qabf,VIF",
    help="The metrics to compute, separated by commas; also those of installed packages.  "
    "[default: all of ours that suit the sources; in Markdown and LaTeX, those usual in papers, "
    "and those of the task]",
)
@click.option(
    "--task",
    metavar="TASK",
    help="Add the metrics of a task: ir-visible adds targets and lights (A is infrared), "
    "multi-exposure adds MEF-SSIM.",
)
@click.option(
    "--pattern",
    metavar="A:B[:...]",
    help="Folders: how the sources of a pair are named, as for `ddfm fuse`.",
)
@ssim_range_option
@reading_options
def metrics(
    fused: Path,
    sources: tuple[Path, ...],
    chosen: str | None,
    task: str | None,
    pattern: str | None,
    ssim_range: float,
    **forms: bool,
) -> int | None:
    """Measure a FUSED image, or each in a folder and their mean, against the sources A and B.

    There may be more than two sources. In folders, files are matched by their names.
    docs/metrics.md explains what each metric rewards, and what misleads it.

    \b
    Examples:
      ddfm metrics fused.png ir.png vis.png
      ddfm metrics fused.png near.png middle.png far.png --metrics Qabf,VIF,SSIM
      ddfm metrics fused/ ir/ vis/ --csv > metrics.csv
      ddfm metrics fused/ ir/ vis/ --task ir-visible
      ddfm metrics fused/ photos/ photos/ --pattern '{}_ir.png:{}_rgb.jpg'
    """
    check_exist([fused, *sources])
    from ddfm.metrics import evaluate, found_metrics, metrics_of_papers
    from ddfm.metrics.folders import FolderMetrics, evaluate_folders

    form, names = _form(forms), None
    if form in ("markdown", "latex"):
        names = metrics_of_papers(task, len(sources))
    if chosen is not None:
        names = [name.strip() for name in chosen.split(",")]
    several = fused.is_dir()
    if several:
        measured = evaluate_folders(
            fused, *sources, pattern=pattern, ssim_range=ssim_range, metrics=names, task=task
        )
    elif pattern is not None:
        raise click.UsageError("--pattern is for folders")
    else:
        values = evaluate(fused, *sources, ssim_range=ssim_range, metrics=names, task=task)
        measured = FolderMetrics({fused.stem: values}, own=found_metrics(names))
    say(_printed(measured, several, form).rstrip("\n"))
    for line in measured.problems + measured.leftovers:
        say(line, err=True)
    return 1 if measured.problems else None


def _form(forms: dict[str, bool]) -> str | None:
    """The form that was asked for; the command line overrides a default of `ddfm.toml`."""
    asked = [form for form, wanted in forms.items() if wanted]
    asked = [form for form in asked if is_given(form)] or asked
    if len(asked) > 1:
        raise click.UsageError(
            f"--{asked[0]} and --{asked[1]} are two output formats; use only one of them"
        )
    return asked[0] if asked else None


def _printed(measured: FolderMetrics, several: bool, form: str | None) -> str:
    """The metrics as text: of one image, or of each in a folder and their mean."""
    from ddfm.metrics.pooling import for_json
    from ddfm.metrics.tables import as_csv, as_latex, as_markdown

    if form == "csv":
        # Lines of CSV end with a carriage return, too, which `say` would make visible.
        return as_csv(*measured.lines()).replace("\r\n", "\n")
    if form in ("markdown", "latex"):
        table = measured.table(with_mean=several)
        return as_markdown(table) if form == "markdown" else as_latex(table)
    mean = measured.mean
    if form == "json":
        each = {name: for_json(values) for name, values in measured.pairs.items()}
        values = {"mean": for_json(mean), "pairs": each} if several else for_json(mean)
        return to_json.dumps(values, indent=1)
    lines = [f"{name:20}{value:.6g}" for name, value in mean.items()]
    return "\n".join([f"mean of {len(measured.pairs)} pairs", *lines] if several else lines)
