"""Options that several commands share."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ddfm.cli.status import be_quiet, verbose_option
from ddfm.errors import DdfmWarning

if TYPE_CHECKING:
    from ddfm.config import FusionConfig
    from ddfm.storage.manifest import Shard

__all__ = [
    "Command",
    "all_of",
    "checked",
    "device_option",
    "echo_json",
    "fuser_options",
    "json_option",
    "limit_of_pixels",
    "port_option",
    "prior_option",
    "quiet_option",
    "reading_options",
    "resize_option",
    "shard_option",
    "ssim_range_option",
    "verify_option",
]

Command = TypeVar("Command", bound=Callable[..., Any])


def all_of(*options: Callable[[Any], Any]) -> Callable[[Command], Command]:
    """A decorator that adds these options to a command; its help lists them in this order."""

    def with_all(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return with_all


def _silence(_: click.Context, __: click.Parameter, quiet: bool) -> bool:
    if quiet:
        be_quiet()
        warnings.simplefilter("ignore", DdfmWarning)  # until the command ends
    return quiet


device_option = click.option(
    "--device",
    metavar="NAME",
    default="auto",
    show_default=True,
    help="cpu, cuda, mps, ..., or auto: a GPU if there is one.",
)

quiet_option = click.option(
    "-q",
    "--quiet",
    is_flag=True,
    callback=_silence,
    help="Print errors only: no progress bar, and no summary unless something failed.",
)

verify_option = click.option(
    "--verify",
    is_flag=True,
    help="Compare the contents of files, not their sizes and times, to recognise finished work.",
)

ssim_range_option = click.option(
    "--ssim-range",
    type=float,
    default=2.0,
    show_default=True,
    help="Data range of SSIM: 2, as in published tables, or 255, which is right for 8-bit images.",
)


def limit_of_pixels(usual: int | None = None) -> Callable[[Command], Command]:
    """The option --max-megapixels.

    Args:
        usual: its default, unless the environment has another; None is that of all readers.
    """

    def limit(context: click.Context, _: click.Parameter, megapixels: float | None) -> None:
        from ddfm.storage.budget import limited

        context.with_resource(limited(megapixels, usual))

    return click.option(
        "--max-megapixels",
        type=float,
        metavar="NUMBER",
        expose_value=False,
        callback=limit,
        help="Refuse images, frames and slices of more pixels than this, in millions; the "
        f"environment variable DDFM_MAX_BYTES limits memory.  [default: {usual or 180}]",
    )


reading_options = limit_of_pixels()

json_option = click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print what was done, and how, as JSON on standard output.",
)


def shard_option(what: str) -> Callable[[Command], Command]:
    """The option --shard, whose value is a `Shard` or None; `what` is its help text."""
    return click.option("--shard", metavar="I/N", callback=_shard, help=what)


def _shard(_: click.Context, __: click.Parameter, text: str | None) -> Shard | None:
    from ddfm.pipeline.shards import find_shard

    return None if text is None else find_shard(text)


def port_option(default: int) -> Callable[[Command], Command]:
    """The option --port, on which a command listens."""
    return click.option(
        "--port",
        default=default,
        show_default=True,
        type=click.IntRange(0, 65535),
        help="The port to listen on; 0 picks a free one.",
    )


def prior_option(what: str) -> Callable[[Command], Command]:
    """The option --prior; `what` is its help text."""
    return click.option(
        "--prior", metavar="NAME|PATH", default="default", show_default=True, help=what
    )


resize_option = click.option(
    "--resize",
    metavar="auto|a|b|error",
    default="auto",
    show_default=True,
    help="If the sources differ in size: resize all to the size of A (a), of B (b), or of the "
    "finest source, provided that all have the same aspect ratio (auto); or refuse them (error).",
)

# The arguments of `ddfm.Fuser`, by the same names, and the options of all readers.
fuser_options = all_of(
    prior_option(
        "The diffusion model that knows what images look like: a name (see `ddfm priors list`), a "
        "checkpoint file, the folder of a diffusers model, or hf://OWNER/NAME."
    ),
    click.option(
        "--method",
        metavar="ddfm|dmfuse",
        default="ddfm",
        show_default=True,
        help="ddfm, or dmfuse: one pass of a small network trained for infrared and visible.",
    ),
    click.option(
        "--head",
        metavar="FILE",
        help="dmfuse: weights of this network, from `ddfm train-dmfuse`.  [default: those that "
        "come with ddfm]",
    ),
    click.option(
        "--task",
        metavar="TASK",
        default="auto",
        show_default=True,
        help="What the sources are: ir-visible, medical, multi-exposure, multi-focus, or auto: if "
        "all are in colour, exposures, or a focus stack if all are equally bright; otherwise "
        "infrared and visible.",
    ),
    click.option(
        "--likelihood",
        metavar="NAME",
        default="default",
        show_default=True,
        help="How the sources determine the result: default (that of ddfm), paper (DDFM as "
        "published) or reference (as in the program of its authors).",
    ),
    click.option(
        "--quality",
        metavar="default|fast",
        default="default",
        show_default=True,
        help="fast makes a single pass and uses the prior only to remove noise; for the default "
        "likelihood.",
    ),
    click.option(
        "--sampler",
        metavar="NAME",
        help="The sampler, which goes from noise to the image: ddim, ddpm or dpm-solver.  "
        "[default: ddim]",
    ),
    click.option(
        "--steps",
        metavar="NUMBER",
        help="How often the prior is called: a number, or a respacing of the timesteps up to "
        "--start, such as ddim13 or 4,2.  [default: 3; with --quality fast 1; for likelihoods "
        "paper and reference 100]",
    ),
    click.option(
        "--start",
        type=int,
        help="The timestep to start at, from a first guess with the noise of that step; higher is "
        "noisier.  [default: 120; for likelihoods paper and reference the last, pure noise]",
    ),
    click.option(
        "--balance",
        type=float,
        default=0.0,
        show_default=True,
        help="From -1, more of A (more thermal), to 1, more of B (more visible); for the default "
        "likelihood and two sources.",
    ),
    click.option(
        "--seed",
        type=int,
        default=3407,
        show_default=True,
        help="Seed of the random noise; the same seed gives the same pixels.",
    ),
    device_option,
    click.option(
        "--dtype",
        metavar="NAME",
        default="auto",
        show_default=True,
        help="Number format of the network: float32, bfloat16, float16, or auto: bfloat16 where "
        "the processor has instructions for it and the difference is invisible.",
    ),
    click.option(
        "--tone",
        metavar="auto|none",
        default="auto",
        show_default=True,
        help="auto spreads the levels of fused infrared and visible images, for more contrast; "
        "none leaves them as they are.",
    ),
    click.option(
        "--color",
        metavar="auto|a|b|grey",
        default="auto",
        show_default=True,
        help="Whose colours are kept: those of A (a), of B (b), of every source in colour (auto), "
        "or none (grey).",
    ),
    click.option(
        "--tile",
        type=int,
        help="Side, in pixels, of the tiles in which large images go through the network: at "
        "least 128, or 0 for no tiles.  [default: by the size of the image and the network]",
    ),
    verbose_option,
    reading_options,
)


def checked(settings: dict[str, Any]) -> FusionConfig:
    """The configuration in these options, or an error; loads neither weights nor torch."""
    from ddfm.config import FusionConfig
    from ddfm.fusing.checks import check_head
    from ddfm.numerics.device import check_device, check_dtype
    from ddfm.priors.catalog import check_prior

    check_device(settings["device"])
    check_dtype(settings["dtype"])
    check_prior(settings["prior"])
    config = FusionConfig.among(settings)
    check_head(config, settings["head"])
    return config


def echo_json(value: object) -> None:
    """Prints a value for programs, as one JSON text on standard output."""
    import json

    click.echo(json.dumps(value, indent=1, default=str))
