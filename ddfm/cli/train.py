"""ddfm train-prior."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ddfm.cli.options import device_option, quiet_option, reading_options
from ddfm.cli.writing import OutputPath, WritingCommand, say

__all__ = ["train_prior"]


@click.command(
    "train-prior", cls=WritingCommand, short_help="Train a prior on a folder of photographs."
)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--out",
    required=True,
    type=OutputPath(),
    metavar="DIR",
    help="The folder for weights, checkpoints, samples and the learning curve; a run that was "
    "interrupted there continues.",
)
@click.option(
    "--validation",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="A folder of other photographs, on which denoising is measured.",
)
@click.option(
    "--init",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Weights to start from, in place of random ones.",
)
@click.option(
    "--steps",
    type=click.IntRange(1),
    metavar="NUMBER",
    help="Number of training steps.  [default: 8000]",
)
@click.option(
    "--batch",
    type=click.IntRange(1),
    metavar="NUMBER",
    help="Crops of 64 x 64 pixels per step; of larger crops, fewer.  [default: 16]",
)
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
@click.option(
    "--seed",
    type=int,
    metavar="NUMBER",
    help="Seed of everything random in the training.  [default: 0]",
)
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

    given = Settings(**{key: value for key, value in settings.items() if value is not None})
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
