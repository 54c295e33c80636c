"""Fusion metrics: numbers that rate a fused image F, alone or against its sources.

Each metric is a function `metric(fused, *sources)`; `evaluate` computes all of them, and what they
share only once. Images are files, PIL images, results of ddfm, or arrays from 0 to 255 (uint8 or
float, grey or colour; uint16 up to 65535). Colour is measured in grey, as usual in the field.
Metrics that are a sum or mean over the sources accept any number of them.

If the field's usual evaluator has a metric, the values agree with it, including its peculiarities;
the docstrings name these. docs/metrics.md explains what each metric rewards and how it can be
fooled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from ddfm.arguments import by_annotation, one_of
from ddfm.errors import InputError
from ddfm.metrics.contrast import (
    COUNTED_BY,
    COUNTS,
    lights,
    lights_kept,
    lights_lost,
    targets,
    targets_kept,
    targets_lost,
)
from ddfm.metrics.edges import nabf, qabf
from ddfm.metrics.exposure import mef_ssim
from ddfm.metrics.features import fmi
from ddfm.metrics.grey import Grey, ImageLike, as_grey, pair_up
from ddfm.metrics.information import en, mi, nmi
from ddfm.metrics.own import Own, own_metric
from ddfm.metrics.perception import qcb, qcv
from ddfm.metrics.pooling import pooled
from ddfm.metrics.statistics import ag, cc, mse, psnr, scd, sd, sf
from ddfm.metrics.structure import ms_ssim, ssim, vif
from ddfm.metrics.tables import LOWER_IS_BETTER

__all__ = [
    "COUNTED_BY",
    "COUNTS",
    "IN_PAPERS",
    "LOWER_IS_BETTER",
    "METRICS",
    "OF_TASK",
    "ag",
    "as_grey",
    "cc",
    "en",
    "evaluate",
    "fmi",
    "known_metrics",
    "lights",
    "lights_kept",
    "lights_lost",
    "mef_ssim",
    "mi",
    "ms_ssim",
    "mse",
    "nabf",
    "nmi",
    "pooled",
    "psnr",
    "qabf",
    "qcb",
    "qcv",
    "scd",
    "sd",
    "sf",
    "ssim",
    "targets",
    "targets_kept",
    "targets_lost",
    "vif",
]

METRICS: dict[str, Callable[..., float]] = {
    "EN": en,
    "SD": sd,
    "SF": sf,
    "AG": ag,
    "MI": mi,
    "NMI": nmi,
    "CC": cc,
    "PSNR": psnr,
    "MSE": mse,
    "SCD": scd,
    "VIF": vif,
    "Qabf": qabf,
    "Nabf": nabf,
    "SSIM": ssim,
    "SSIM_data_range_2": partial(ssim, data_range=2.0),
    "SSIM_data_range_255": partial(ssim, data_range=255.0),
    "MS-SSIM": ms_ssim,
    "FMI_pixel": partial(fmi, feature="pixel"),
    "FMI_gradient": partial(fmi, feature="gradient"),
    "QCB": qcb,
    "QCV": qcv,
    "MEF-SSIM": mef_ssim,
    "targets": targets,
    "targets_kept": targets_kept,
    "targets_lost": targets_lost,
    "lights": lights,
    "lights_kept": lights_kept,
    "lights_lost": lights_lost,
}
OF_FUSED_ALONE = frozenset({"EN", "SD", "SF", "AG"})
# Metrics that suit only one kind of sources: computed if they or their task are named.
OF_TASK: dict[str, tuple[str, ...]] = {
    "auto": (),
    "ir-visible": (
        "targets",
        "targets_kept",
        "targets_lost",
        "lights",
        "lights_kept",
        "lights_lost",
    ),
    "medical": (),
    "multi-exposure": ("MEF-SSIM",),
    "multi-focus": (),
}
OF_ONE_CAMERA = ("multi-exposure", "multi-focus")
IN_PAPERS = ("EN", "SD", "MI", "VIF", "Qabf", "SSIM")  # usual in the field's tables
OF_TWO_SOURCES = frozenset({"SCD", *OF_TASK["ir-visible"]})


@by_annotation
def evaluate(
    fused: ImageLike,
    *sources: ImageLike,
    ssim_range: float = 2.0,
    metrics: Iterable[str | Callable[..., Any]] | None = None,
    task: str | None = None,
) -> dict[str, float]:
    """The metrics of a fused image, by name, in the order of `METRICS`.

    Args:
        fused: the fused image.
        sources: at least two; for the task "ir-visible", the infrared image first.
        ssim_range: the data range of "SSIM"; 2 as in published tables. Both common ranges also
            have names of their own.
        metrics: the names of those to compute, in their order; None for all of ours that fit. A
            metric of your own is a function `(fused, *sources) -> float` of grey arrays (H, W),
            or the name of one that another package provides.
        task: as `Fuser` names it; adds the metrics of that task (`OF_TASK`), and has files of 16
            bits or of floating-point values read as for that task.

    Metrics defined for two sources, such as SCD, are left out if there are more.
    """
    found = found_metrics(metrics, task)
    names = list(found)
    if len(sources) < 2:
        raise InputError("a fused image has at least two sources; give them after the fused image")
    one_camera = None if task in (None, "auto") else task in OF_ONE_CAMERA
    f, greys = pair_up(fused, *sources, one_camera=one_camera)
    if len(greys) > 2:
        of_two = [name for name in names if name in OF_TWO_SOURCES]
        if of_two and metrics is not None:
            raise InputError(f"{of_two[0]} is defined for two sources; leave it out")
        names = [name for name in names if name not in of_two]
    return {name: _value(found[name] or name, f, greys, ssim_range) for name in names}


@by_annotation
def known_metrics(
    names: Iterable[str | Callable[..., Any]] | None = None, task: str | None = None
) -> list[str]:
    """The given names of metrics as spelt in `METRICS`, or those of all that fit the task.

    For a share of targets or lights, their number is included, too, and comes first. Functions of
    the caller's, and metrics of other packages, have their own names.
    """
    return list(found_metrics(names, task))


def found_metrics(
    metrics: Iterable[str | Callable[..., Any]] | None, task: str | None = None
) -> dict[str, Own | None]:
    """What computes each of the metrics that `known_metrics` lists; None for ours."""
    if task is not None:
        one_of("task", task, OF_TASK)
    if metrics is None:
        others = {name for t, some in OF_TASK.items() if t != task for name in some}
        return {name: None for name in METRICS if name not in others}
    found: dict[str, Own | None] = {}
    for metric in metrics:
        name = _known(metric)
        if name is not None:
            found |= dict.fromkeys((COUNTED_BY.get(name, name), name))
            continue
        own = own_metric(metric, METRICS)
        if found.setdefault(own.name, own) != own:
            raise InputError(f"two metrics have the name {own.name}; rename one")
    return found


def metrics_of_papers(task: str | None = None, number: int = 2) -> list[str]:
    """The metrics of a table for a paper: the usual ones and the task's, for `number` sources."""
    wanted = {*IN_PAPERS, *OF_TASK.get(task or "auto", ())}
    left_out = OF_TWO_SOURCES if number > 2 else frozenset()
    return [name for name in known_metrics(task=task) if name in wanted - left_out]


def _known(metric: object) -> str | None:
    """The name of a metric of ours, as spelt in `METRICS`; upper and lower case do not matter."""
    return next(
        (name for name in METRICS if isinstance(metric, str) and name.lower() == metric.lower()),
        None,
    )


def _value(name: str | Own, f: Grey, sources: list[Grey], ssim_range: float) -> float:
    if isinstance(name, Own):
        return name(f, *sources)
    if name in OF_FUSED_ALONE:
        return METRICS[name](f)
    if name == "SSIM":
        return ssim(f, *sources, data_range=ssim_range)
    return METRICS[name](f, *sources)
