"""ddfm web."""

from __future__ import annotations

from pathlib import Path

import click

from ddfm.cli.options import port_option
from ddfm.cli.writing import OutputPath, WritingCommand, say

__all__ = ["web"]


@click.command(cls=WritingCommand, short_help="Serve a page that fuses in the browser.")
@click.argument("site", type=OutputPath())
@click.option(
    "--runtime",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Build SITE first; DIR is the folder dist of the npm package onnxruntime-web.",
)
@click.option(
    "--graphs",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The folder of graphs that `ddfm export` wrote, for --runtime.  [default: they are made, "
    "which takes minutes]",
)
@click.option("--build-only", is_flag=True, help="Build SITE with --runtime, but do not serve it.")
@port_option(8080)
def web(site: Path, runtime: Path | None, graphs: Path | None, build_only: bool, port: int) -> None:
    """Serve the web page in the folder SITE, on this machine only.

    The page fuses two images that are dropped on it in the browser. Nothing is uploaded, no other
    host is contacted, and once opened the page works without a network. Any static host can serve
    the folder.

    \b
    Examples:
      npm install onnxruntime-web
      ddfm web site/ --runtime node_modules/onnxruntime-web/dist
      ddfm web site/
    """
    from ddfm.web.server import site_server
    from ddfm.web.site import build_site, check_site

    if runtime is not None:
        build_site(site, runtime, graphs)
    elif graphs is not None or build_only:
        raise click.UsageError("--graphs and --build-only need --runtime, which builds the page")
    check_site(site)
    if build_only:
        say(site)
        return
    with site_server(site, port) as server:
        say(f"http://127.0.0.1:{server.server_port}/")
        server.serve_forever()
