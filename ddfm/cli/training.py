"""ddfm train-prior and ddfm train-dmfuse."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ddfm.cli.options import (
    Command,
    all_of,
    device_option,
    prior_option,
    quiet_option,
    reading_options,
)
from ddfm.cli.writing import OutputPath, WritingCommand, say

__all__ = ["train_dmfuse", "train_prior"]


def _folder_and_out(samples: str) -> Callable[[Command], Command]:
    """The argument FOLDER and the option --out; `samples` is what is written of the results."""
    return all_of(
        click.argument("folder", type=click.Path(path_type=Path)),
        click.option(
            "--out",
            required=True,
            type=OutputPath(),
            metavar="DIR",
            help=f"The folder for weights, checkpoints, {samples} and the learning curve; a run "
            "that was interrupted there continues.",
        ),
    )


def _init(what: str) -> Callable[[Command], Command]:
    return click.option("--init", type=click.Path(path_type=Path), metavar="FILE", help=what)


def _number(name: str, what: str, default: int, least: int = 1) -> Callable[[Command], Command]:
    """An option for a whole number; it is None unless given, and the training has the default."""
    help_text = f"{what}  [default: {default}]"
    return click.option(name, type=click.IntRange(least), metavar="NUMBER", help=help_text)


_seed = click.option(
    "--seed",
    type=int,
    metavar="NUMBER",
    help="Seed of everything random in the training.  [default: 0]",
)


def _given(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings that were given; those left out have the defaults of the training."""
    return {key: value for key, value in settings.items() if value is not None}


@click.command(
    "train-prior", cls=WritingCommand, short_help="Train a prior on a folder of photographs."
)
@_folder_and_out("samples")
@click.option(
    "--validation",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="A folder of other photographs, on which denoising is measured.",
)
@_init("Weights to start from, in place of random ones.")
@_number("--steps", "Number of training steps.", 8000)
@_number("--batch", "Crops of 64 x 64 pixels per step; of larger crops, fewer.", 16)
@click.option(
    "--kind", metavar="NAME", help="What the network predicts: v, eps or x0.  [default: v]"
)
@click.option("--optimizer", metavar="NAME", help="The optimizer: muon or adamw.  [default: muon]")
@click.option("--lr", type=float, metavar="NUMBER", help="Learning rate of Muon.  [default: 0.015]")
@click.option(
    "--adam-lr", type=float, metavar="NUMBER", help="Learning rate of AdamW.  [default: 0.001]"
)
@click.option(
    "--balance",
    type=click.FloatRange(0, 1),
    metavar="SHARE",
    help="The share of the steps after which all noise levels count equally; use 0 to train "
    "further from --init.  [default: 0.5]",
)
@_seed
@click.option("--bf16", is_flag=True, default=None, help="Compute in bfloat16 where that is safe.")
@device_option
@reading_options
@quiet_option
def train_prior(
    folder: Path,
    out: Path,
    validation: Path | None,
    init: Path | None,
    device: str,
    quiet: bool,
    **settings: Any,
) -> None:
    """Train an unconditional prior on a FOLDER of photographs, or continue a killed run.

    The defaults are those of the prior that comes with ddfm, which is for luminance. Under
    torchrun, several GPUs work together. The last line printed is the path of the weights.

    \b
    Examples:
      ddfm train-prior photographs/ --out run/ --validation aside/
      ddfm fuse ir.png vis.png -o fused.png --prior run/prior.safetensors
      torchrun --nproc-per-node 4 -m ddfm train-prior photographs/ --out run/ --device cuda
    """
    from ddfm.numerics.device import find_device
    from ddfm.training.train_prior import Settings
    from ddfm.training.train_prior import train_prior as train

    given = Settings(**_given(settings))
    weights = train(
        folder,
        out,
        given,
        validation=validation,
        init=init,
        device=str(find_device(device)),
        progress=False if quiet else None,
    )
    say(weights)


@click.command(
    "train-dmfuse",
    cls=WritingCommand,
    short_help="Train the head of DMFuse on a folder of pairs.",
)
@_folder_and_out("sample sheets")
@prior_option("The prior whose features the head reads (see `ddfm priors list`).")
@_init("Weights of a head of the same design, to start from.")
@click.option(
    "--loss",
    metavar="NAME",
    help="What the head learns: distilled (the results of the default likelihood) or published "
    "(the loss of the paper).  [default: distilled]",
)
@click.option(
    "--t",
    metavar="5,50,100",
    help="Timesteps whose features are used, separated by commas.  [default: 5]",
)
@click.option(
    "--noise",
    metavar="NAME",
    help="The noise that is added before the features are computed: fixed (the same for all "
    "images) or random (as published).  [default: fixed]",
)
@click.option("--no-attention", is_flag=True, help="Leave out the criss-cross attention.")
@click.option(
    "--plain", is_flag=True, help="Use learned convolutions in place of the features of the prior."
)
@click.option(
    "--output",
    metavar="NAME",
    help="How the head makes the image: blend (of the sources, with a correction) or tanh (as "
    "published).  [default: blend]",
)
@_number("--steps", "Number of training steps.", 3600)
@_number("--batch", "Crops per step.", 3)
@_number("--crops", "Number of crops to train on, whose features are computed once.", 640)
@_number("--size", "Side of a crop in pixels, at least 32.", 160, least=32)
@click.option("--lr", type=float, metavar="NUMBER", help="Learning rate.  [default: 0.001]")
@_seed
@click.option(
    "--cache",
    type=OutputPath(),
    metavar="DIR",
    help="The folder where the features are kept, which several runs can share.  [default: "
    "features in the folder of --out]",
)
@click.option(
    "--subfolders",
    metavar="A,B",
    help="Names of the two subfolders.  [default: ir,vi or another known pair]",
)
@device_option
@reading_options
@quiet_option
def train_dmfuse(
    folder: Path,
    out: Path,
    prior: str,
    t: str | None,
    no_attention: bool,
    init: Path | None,
    cache: Path | None,
    subfolders: str | None,
    device: str,
    quiet: bool,
    **settings: Any,
) -> None:
    """Train the head of DMFuse on the registered pairs of a FOLDER, or continue a killed run.

    FOLDER holds two subfolders with files of the same names: ir and vi, or those that --subfolders
    names. The prior is not changed. First, the features of the prior and the results of the default
    likelihood, which the head learns to reproduce, are computed for all crops and kept. The
    defaults are those of the head that comes with ddfm. The last line printed is the path of the
    weights.

    \b
    Examples:
      ddfm train-dmfuse pairs/ --out run/
      ddfm train-dmfuse pairs/ --out published/ --loss published --t 5,50,100 --noise random
      ddfm fuse ir.png vis.png -o fused.png --method dmfuse --head run/dmfuse.safetensors
    """
    from ddfm.bench.datasets import find_dataset
    from ddfm.cli.bench import folder_names
    from ddfm.numerics.device import find_device
    from ddfm.priors import load_prior
    from ddfm.training.dmfuse import Settings
    from ddfm.training.dmfuse import train_dmfuse as train

    given = _given(settings | {"t": None if t is None else _timesteps(t)})
    pairs = find_dataset(folder, folder_names(subfolders, only_two=True)).pairs
    weights = train(
        pairs,
        out,
        load_prior(prior),
        Settings(**given, attention=not no_attention),
        init=init,
        cache=cache,
        device=find_device(device),
        progress=False if quiet else None,
    )
    say(weights)


def _timesteps(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise click.UsageError(
            "--t takes timesteps separated by commas, such as 5,50,100"
        ) from None
