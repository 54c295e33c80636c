"""ddfm export."""

from __future__ import annotations

from pathlib import Path

import click

from ddfm.cli.groups import refuse
from ddfm.cli.options import quiet_option
from ddfm.cli.writing import OutputPath, WritingCommand, say

__all__ = ["export"]


@click.command(cls=WritingCommand, short_help="Write ONNX files, for programs without Python.")
@click.argument("graph", metavar="default|tone|dmfuse|prior|noise|color")
@click.option(
    "-o", "--output", type=OutputPath(), metavar="FILE", help="Where to.  [default: GRAPH.onnx]"
)
@click.option("--prior", default="default", show_default=True, help="Of dmfuse and prior.")
@click.option(
    "--task",
    default="ir-visible",
    show_default=True,
    help="Of default and tone: ir-visible, medical, multi-exposure or multi-focus.",
)
@quiet_option
def export(graph: str, output: Path | None, prior: str, task: str, quiet: bool) -> None:
    """Write a part of ddfm as an ONNX file, for programs without Python.

    \b
    default  the default likelihood for two sources without noise
    tone     the step after it: levels are spread
    dmfuse   the second method: the prior's features and the head, in one pass
    prior    the diffusion prior: x at timestep t becomes the clean image expected
    noise    how much noise is in a picture, which says whether `default` is for it
    color    fused luminance and the colours of the sources become R, G and B

    All take images of any height and width; docs/export.md says what goes in and comes out. The
    default takes minutes to convert, and a processor for itself.

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
    from ddfm.export.onnx import export_onnx  # and with it torch

    export_onnx(graph, path, prior, task)
    if not quiet:
        say(path)
