"""Compares designs of the prior, each trained on the same number of crops with the same seed.

    python benchmarks/prior_design.py PHOTOS/train PHOTOS/val --out RUNS [--steps N] [--only NAME]

Prints a row for each design: denoising PSNR on the photographs of PHOTOS/val, the number of
parameters, and the time of a 256 x 256 forward pass relative to the shipped design in the same run.
A killed comparison resumes. Short trainings show which design learns quickly, not how good each
would become.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import torch
from torch import nn

from ddfm.priors.unet import UNetConfig
from ddfm.training.train_prior import SHIPPED, Settings, network_of, train_prior
from ddfm.training.yardstick import SIGMAS

UNET = UNetConfig(
    *(1, 1, 32, (1, 2, 3, 4, 4), 1),
    attention=(),
    resblock_updown=False,
    norm_groups=16,
    mid_attention=False,
)
NETWORKS = {
    "as shipped": SHIPPED,
    "8 channels at full size": replace(SHIPPED, stem=8),
    "32 channels at full size": replace(SHIPPED, stem=32),
    "a third fewer channels": replace(SHIPPED, widths=(32, 64, 96, 96)),
    "a third more channels": replace(SHIPPED, widths=(64, 128, 160, 160)),
    "a level fewer": replace(SHIPPED, widths=(48, 96, 128), depths=(2, 2, 2)),
    "one block on each level": replace(SHIPPED, depths=(1, 1, 1, 1)),
    "guided-diffusion at full size, 32 channels": UNET,
    "guided-diffusion at half size, 48 channels": replace(
        UNET, patch=2, num_res_blocks=2, model_channels=48, channel_mult=(1, 2, 3, 2)
    ),
}
TRAININGS = {
    "eps-prediction": {"kind": "eps"},
    "x0-prediction": {"kind": "x0"},
    "timesteps drawn uniformly": {"low_noise": 0.0},
    "unweighted errors": {"balance": 1.0},
    "AdamW": {"optimizer": "adamw"},
}


def designs(steps: int) -> dict[str, Settings]:
    base = Settings(
        steps=steps,
        balance=0.0,
        report_every=steps,
        sample_every=steps,
        warmup=min(100, steps // 4),
    )
    nets = {name: replace(base, network=network) for name, network in NETWORKS.items()}
    return nets | {name: replace(base, **o) for name, o in TRAININGS.items()}


@torch.no_grad()
def forward_times(nets: list[nn.Module], repeats: int = 7) -> list[float]:
    """Median seconds of each; they take turns, so that other work affects all alike."""
    x, t = torch.zeros(1, 1, 256, 256), torch.tensor([50])
    seconds = []
    for _ in range(repeats):
        row = []
        for net in nets:
            began = time.perf_counter()
            net(x, t)
            row.append(time.perf_counter() - began)
        seconds.append(row)
    return np.median(seconds, axis=0).tolist()


@click.command()
@click.argument("photographs", type=click.Path(exists=True, path_type=Path))
@click.argument("validation", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="A folder for the runs."
)
@click.option("--steps", default=240, show_default=True, help="Batches for each design.")
@click.option("--only", multiple=True, help="Names of designs.  [default: all]")
def main(photographs: Path, validation: Path, out: Path, steps: int, only: tuple[str, ...]) -> None:
    """Train the designs that are not yet trained, and print the table."""
    chosen = {name: s for name, s in designs(steps).items() if not only or name in only}
    if not chosen:
        raise click.UsageError(f"the designs are: {', '.join(designs(steps))}")
    nets = [network_of(s.network) for s in (Settings(), *chosen.values())]
    times = forward_times(nets)
    crops = steps * next(iter(chosen.values())).batch
    click.echo(
        f"| {crops} crops | {' | '.join(f'sigma {s}' for s in SIGMAS)} | M parameters | time |"
    )
    click.echo("| --- | --- | --- | --- | --- | --- |")
    rows = zip(chosen.items(), nets[1:], times[1:], strict=True)
    for (name, settings), net, seconds in rows:
        run = out / f"{name.replace(' ', '-')}-{steps}"
        train_prior(photographs, run, settings, validation=validation)
        last = json.loads((run / "history.json").read_text())["history"][-1]
        figures = " | ".join(f"{last[f'psnr_{sigma}']:.2f}" for sigma in SIGMAS)
        size = sum(p.numel() for p in net.parameters()) / 1e6
        click.echo(f"| {name} | {figures} | {size:.1f} | {seconds / times[0]:.1f} |")


if __name__ == "__main__":
    main()
