"""ddfm export."""

from __future__ import annotations

from pathlib import Path

import click

from ddfm.cli.groups import refuse
from ddfm.cli.options import prior_option, quiet_option
from ddfm.cli.writing import OutputPath, WritingCommand, say

__all__ = ["export"]


@click.command(cls=WritingCommand, short_help="Write ONNX files, for programs without Python.")
@click.argument("graph", metavar="default|tone|dmfuse|prior|noise|color")
@click.option(
    "-o",
    "--output",
    type=OutputPath(),
    metavar="FILE",
    help="The ONNX file to write.  [default: GRAPH.onnx]",
)
@prior_option("The prior to export, for dmfuse and prior.")
@click.option(
    "--task",
    metavar="TASK",
    default="ir-visible",
    show_default=True,
    help="The task, for default and tone: ir-visible, medical, multi-exposure or multi-focus.",
)
@quiet_option
def export(graph: str, output: Path | None, prior: str, task: str, quiet: bool) -> None:
    """Write a part of ddfm as an ONNX file, for programs without Python.

    \b
    default  the default likelihood for two sources without noise
    tone     the step after `default`, which spreads the levels
    dmfuse   the second method: the features of the prior and the head, in one pass
    prior    the diffusion prior: takes x at timestep t, gives the expected clean image
    noise    measures the noise of an image, to decide whether `default` suits it
    color    makes R, G and B of the fused luminance and the colours of the sources

    All take images of any height and width; docs/export.md describes inputs and outputs. Converting
    `default` takes minutes of one processor.

    \b
    Examples:
      ddfm export dmfuse
      ddfm export prior -o prior.onnx
      ddfm export default --task medical -o medical.onnx
    """
    from ddfm.arguments import one_of
    from ddfm.export import GRAPHS
    from ddfm.priors.catalog import check_prior

    path = output or Path(f"{one_of('graph', graph, GRAPHS)}.onnx")
    if prior != "default" and graph not in ("dmfuse", "prior"):
        refuse(["--prior"], "dmfuse and prior")
    check_prior(prior)
    from ddfm.export.onnx import export_onnx  # imports torch

    export_onnx(graph, path, prior, task)
    if not quiet:
        say(path)
