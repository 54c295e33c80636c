"""ddfm priors list | show | get | check."""

from __future__ import annotations

from pathlib import Path

import click

from ddfm.cli.options import device_option, echo_json, quiet_option
from ddfm.cli.writing import WritingCommand, say

__all__ = ["priors"]


@click.group(short_help="List, describe, download and check priors.")
def priors() -> None:
    """List, describe, download and check priors, the diffusion models that ddfm knows by name.

    \b
    Examples:
      ddfm priors list
      ddfm priors show openai-256
      ddfm priors get openai-256
      ddfm priors check default --photographs my/photographs/
    """


@priors.command("list", short_help="List all priors.")
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
def list_priors(as_json: bool) -> None:
    """List all priors by name, with their size, and whether they are on this machine."""
    from ddfm.priors import catalog

    if as_json:
        echo_json(catalog.table())
    else:
        say(catalog.listing())


@priors.command(short_help="Describe a prior.")
@click.argument("name")
def show(name: str) -> None:
    """Describe a prior: its licence, source, size, checksum and settings."""
    from ddfm.priors import catalog

    say(catalog.describe(name))


@priors.command(cls=WritingCommand, short_help="Download a prior and verify it.")
@click.argument("name")
@click.option(
    "--url",
    metavar="URL",
    help="Download from a mirror: the address of the file, or of the folder if there are several.",
)
@click.option(
    "--sha256",
    metavar="DIGEST",
    help="The expected SHA-256 of the weights, if their maker publishes none.",
)
@click.option("--trust", is_flag=True, help="Accept weights for which no checksum is published.")
def get(name: str, url: str | None, sha256: str | None, trust: bool) -> None:
    """Download a prior and verify it; an interrupted download is completed.

    It is kept in $DDFM_CACHE, by default the folder ddfm in $XDG_CACHE_HOME or ~/.cache.
    """
    from ddfm.priors import catalog

    say(catalog.get(name, url, sha256=sha256, trust=trust))


@priors.command(short_help="Verify a prior and measure how well it denoises.")
@click.argument("name", metavar="NAME|FILE")
@click.option(
    "--photographs",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Also measure how well it denoises the photographs in this folder, next to a classical "
    "method.",
)
@device_option
@quiet_option
def check(name: str, photographs: Path | None, device: str, quiet: bool) -> None:
    """Verify a prior, by NAME or from a FILE of your own, and measure how well it denoises.

    With --photographs, print the mean PSNR in dB over the middle 256 x 256 pixels of each
    photograph, for Gaussian noise of 15, 25 and 50 grey levels. For comparison, the same noisy
    images are denoised by BM3D if the package bm3d is installed, else by the non-local means of
    scikit-image.
    """
    from ddfm.priors import catalog
    from ddfm.priors.entries import ENTRIES

    own = name not in ENTRIES and Path(name).exists()
    if not own:
        say(catalog.check(name))
        if photographs is None:
            return
    from ddfm.numerics.device import find_device
    from ddfm.priors import load_prior

    where = find_device(device)
    prior = load_prior(name, device=where)
    if own:
        say(f"{name}: loads without errors, channels: {prior.channels}")
    if photographs is None:
        return
    from ddfm.training.yardstick import SIGMAS, compare

    scores = compare(prior, photographs, device=where, progress=False if quiet else None)
    say(" " * 18 + "".join(f"sigma {sigma:<5}" for sigma in SIGMAS))
    for method, values in scores.items():
        say(f"{method:18}" + "".join(f"{value:<11.2f}" for value in values))
