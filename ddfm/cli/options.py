"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ddfm.cli.status import be_quiet, verbose_option

if TYPE_CHECKING:
    from ddfm.config import FusionConfig
    from ddfm.storage.manifest import Shard

__all__ = [
    "all_of",
    "checked",
    "echo_json",
    "fuser_options",
    "json_option",
    "port_option",
    "quiet_option",
    "reading_options",
    "resize_option",
    "shard_option",
    "ssim_range_option",
    "verify_option",
]

Command = TypeVar("Command", bound=Callable[..., Any])


def all_of(*options: Callable[[Any], Any]) -> Callable[[Command], Command]:
    """A decorator that adds these options to a command, in this order in its help."""

    def with_all(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return with_all


def _silence(_: click.Context, __: click.Parameter, quiet: bool) -> bool:
    if quiet:
        be_quiet()
    return quiet


quiet_option = click.option(
    "-q",
    "--quiet",
    is_flag=True,
    callback=_silence,
    help="No progress bar, no summary; errors only.",
)

verify_option = click.option(
    "--verify",
    is_flag=True,
    help="Recognise finished work by the contents of files, not by their sizes and times.",
)

ssim_range_option = click.option(
    "--ssim-range",
    type=float,
    default=2.0,
    show_default=True,
    help="Data range of SSIM: 2, as in published tables; 255 is right for 8 bits.",
)


def _limit_pixels(context: click.Context, _: click.Parameter, megapixels: float | None) -> None:
    from ddfm.storage.budget import limited

    context.with_resource(limited(megapixels))


reading_options = click.option(
    "--max-megapixels",
    type=float,
    metavar="NUMBER",
    expose_value=False,
    callback=_limit_pixels,
    help="Refuse pictures, frames and slices of more pixels than this, in millions; memory is "
    "limited by DDFM_MAX_BYTES.  [default: 180]",
)

json_option = click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="On standard output, as JSON: what was done, and how.",
)


def shard_option(what: str) -> Callable[[Command], Command]:
    """Which part of the work is done, a `Shard` or None; `what` is its help text."""
    return click.option("--shard", metavar="I/N", callback=_shard, help=what)


def _shard(_: click.Context, __: click.Parameter, text: str | None) -> Shard | None:
    from ddfm.pipeline.shards import find_shard

    return None if text is None else find_shard(text)


def port_option(default: int) -> Callable[[Command], Command]:
    """The port that a command listens on."""
    return click.option(
        "--port",
        default=default,
        show_default=True,
        type=click.IntRange(0, 65535),
        help="The port to listen on; 0 takes any that is free.",
    )


resize_option = click.option(
    "--resize",
    metavar="HOW",
    default="auto",
    show_default=True,
    help="If sizes differ: bring all sources to the size of A (a), of B (b), or of the finest, if "
    "they have one shape (auto); or refuse them (error).",
)

# The arguments of `ddfm.Fuser`, by the same names, and those of all readers.
fuser_options = all_of(
    click.option(
        "--prior",
        metavar="NAME|PATH",
        default="default",
        show_default=True,
        help="The network that knows what images look like: a name (see `ddfm priors list`), a "
        "checkpoint, a folder of a diffusers model, or hf://OWNER/NAME.",
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
        help="dmfuse: weights from `ddfm train-dmfuse`.  [default: the shipped ones]",
    ),
    click.option(
        "--task",
        metavar="TASK",
        default="auto",
        show_default=True,
        help="ir-visible, medical, multi-exposure, multi-focus, or auto: colour images are "
        "exposures, or a focus stack if all are equally bright; all others infrared and visible.",
    ),
    click.option(
        "--likelihood",
        metavar="NAME",
        default="default",
        show_default=True,
        help="How the sources pull on the result: default (ours), paper (DDFM as published) or "
        "reference (as in its authors' program).",
    ),
    click.option(
        "--quality",
        metavar="default|fast",
        default="default",
        show_default=True,
        help="fast makes a single pass, and uses the network only to remove noise.",
    ),
    click.option(
        "--sampler",
        metavar="NAME",
        help="The loop from noise to image: ddim, ddpm or dpm-solver.  [default: by likelihood]",
    ),
    click.option(
        "--steps",
        metavar="NUMBER",
        help="Calls of the network: a count, or a respacing of the timesteps up to --start, "
        "such as ddim13 or 4,2.  [default: by likelihood]",
    ),
    click.option(
        "--start",
        type=int,
        help="Timestep to begin at, from a first guess with the noise of that step, instead of "
        "from pure noise.  [default: by likelihood]",
    ),
    click.option(
        "--balance",
        type=float,
        default=0.0,
        show_default=True,
        help="From -1, more of A (more thermal), to 1, more of B (more visible).",
    ),
    click.option(
        "--seed",
        type=int,
        default=3407,
        show_default=True,
        help="Seed of the random noise; the same seed gives the same pixels.",
    ),
    click.option(
        "--device",
        metavar="NAME",
        default="auto",
        show_default=True,
        help="cpu, cuda, mps, ..., or auto: a GPU if there is one.",
    ),
    click.option(
        "--dtype",
        metavar="NAME",
        default="auto",
        show_default=True,
        help="Number format of the network: float32, bfloat16, float16, or auto: bfloat16 where "
        "the processor has instructions for it and it makes no visible difference.",
    ),
    click.option(
        "--tone",
        metavar="auto|none",
        default="auto",
        show_default=True,
        help="auto spreads the levels of infrared and visible after the fusion, for more contrast; "
        "none leaves them as they were fused.",
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
        help="Side in pixels of the tiles in which large images go through the network; 0 is no "
        "tiles.  [default: by size]",
    ),
    verbose_option,
    reading_options,
)


def checked(settings: dict[str, Any]) -> FusionConfig:
    """The configuration that the options say, or an error; loads neither weights nor torch."""
    from ddfm.config import FusionConfig
    from ddfm.numerics.device import check_dtype
    from ddfm.priors.catalog import check_prior

    check_dtype(settings["dtype"])
    check_prior(settings["prior"])
    return FusionConfig.among(settings)


def echo_json(value: object) -> None:
    """For programs: one JSON text on standard output."""
    import json

    click.echo(json.dumps(value, indent=1, default=str))
