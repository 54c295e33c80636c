"""Prepares the sources: reads, restores, resizes and aligns them as necessary."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ddfm.config import FusionConfig, ResolvedConfig
from ddfm.errors import InputError, percent
from ddfm.fusing.run import Model
from ddfm.imaging.picture import Picture
from ddfm.imaging.sizes import common_size, stretched
from ddfm.imaging.sources import equally_bright, read_sources
from ddfm.imaging.thermal.renderings import is_grey_with_marks
from ddfm.progress import stage
from ddfm.registration.register import Registered, registered
from ddfm.restoration.moving import moved_between, taken_from_one
from ddfm.restoration.restore import restored
from ddfm.storage.budget import ask_enlarged

__all__ = ["made_ready", "task_of"]

# Words in the names of medical images. PET is always fused with one of these; a pet may be a cat.
MEDICAL = {"mri", "ct", "spect"}

Pictures = tuple[Picture, ...]  # of one scene, two or more


def task_of(pictures: Pictures, config: FusionConfig) -> str:
    """The task that was set, or the one that these pictures suggest."""
    if config.task != "auto":
        return config.task
    if not all(p.is_color for p in pictures):
        return "ir-visible"
    return "multi-focus" if equally_bright(pictures) else "multi-exposure"


def made_ready(
    sources: Sequence[Any],
    config: FusionConfig,
    resolved: Callable[[str], ResolvedConfig],
    model: Model,
) -> Registered:
    """The sources, ready to be fused.

    Args:
        resolved: returns the configuration for a task, which may depend on the sources.
    """
    stage("reading the sources")
    if config.finds_common:
        raise InputError("align=once (--align once) is for folders and films, not for one pair")
    moves = config.moves
    came = read_sources(sources, config.resize, alike=False, one_camera=config.one_camera)
    reference = config.reference(len(came))
    if moves:
        sizes = [_as_fine(p, came[reference]) for p in came]
    else:
        sizes = [common_size(came, config.resize)] * len(came)
    task = task_of(came, config)
    if config.task == "auto":
        stage(f"taking the task to be {task}")
    of_task = resolved(task)
    pictures, observed = _restored(came, sizes, of_task, model, guided=not moves)
    if moves or config.look:
        stage("aligning" if moves else "checking whether the sources are aligned")
    aligned = registered(
        pictures,
        config.align,
        transform=config.found_transform(),
        reference=reference,
        crop=config.crop == "common",
        look=config.look,
    )
    warnings = (*_in_doubt(came, config), *(() if moves else stretched(came, sizes[0])))
    for number, one in enumerate(zip(came, observed, strict=True)):
        warnings += tuple(_warnings_of(*one, number))
    done = replace(aligned, observed=observed, warnings=warnings + aligned.warnings)
    moving = task == "multi-exposure" and config.moving == "once"
    return _shown_once(done) if moving else done


def _shown_once(group: Registered) -> Registered:
    """Exposures that show once what moved between them, with a warning if anything did."""
    stage("looking for what moved between the exposures", detail=True)
    moved = moved_between(group.pictures)
    if moved is None:
        return group
    names = [picture.name for picture in group.pictures]
    if moved.foreign is not None:
        first, second = (names[k] for k in moved.foreign)
        words = (
            f"{first} and {second} differ in a large part of the picture by more than exposure; if "
            "one of them shows another scene, leave it out"
        )
        return replace(group, warnings=(*group.warnings, words))
    words = (
        f"in {percent(moved.share)} of the picture something moved between the exposures; there it "
        f"is as in {names[moved.kept]}, so that nothing is seen double (moving=keep, --moving keep "
        "mixes all)"
    )
    about = [
        one | ({} if place is None else {"moved": round(float(place.mean()), 4)})
        for one, place in zip(group.observed, moved.places, strict=True)
    ]
    pictures = taken_from_one(group.pictures, moved)
    return replace(group, pictures=pictures, observed=about, warnings=(*group.warnings, words))


def _in_doubt(pictures: Pictures, config: FusionConfig) -> Iterator[str]:
    """A warning if no task is set, and the order or a name suggests that it is another one."""
    if config.task != "auto":
        return
    medical = next((p.name for p in pictures if _names_medical(p.name)), None)
    greys = [p.name for p in pictures if not p.is_color]
    if [p.is_color for p in pictures] == [True, False] and not is_grey_with_marks(pictures[0]):
        color, grey = pictures
        other = (
            "for PET or SPECT with MRI set task=medical (--task medical), for exposures or a focus "
            "stack task=multi-exposure or task=multi-focus; "
        )
        yield (
            f"{color.name} is in colour and {grey.name} is grey, but infrared comes first, so "
            f"give {grey.name} first; {'' if grey.unit else other}to keep this order, set "
            "task=ir-visible (--task ir-visible)"
        )
    elif len(thermal := {p.sha256: p.name for p in pictures if p.unit}) > 1:
        first, second, *_ = thermal.values()
        yield (
            f"{first} and {second} are both thermal images; if their files hold photographs, give "
            "each file alone, or a folder of such files, which is fused file by file; to fuse them "
            "with one another, set task=ir-visible (--task ir-visible)"
        )
    elif medical is not None:
        yield (
            f"{medical} seems to be a medical image by its name, but without a task it is fused as "
            f"{(task := task_of(pictures, config))}; set task=medical (--task medical), or "
            f"task={task} if it is none"
        )
    elif _mixes_photographs(pictures):
        yield (
            f"{greys[0]} is grey and others are in colour, so all are fused as infrared and "
            "visible; for exposures or a focus stack set task=multi-exposure or task=multi-focus "
            "(--task), or the right task if they are none"
        )
    elif _are_a_grey_stack(pictures):
        yield (
            f"{pictures[0].name} and the others are equally bright, like a focus stack, but grey "
            "images are fused as infrared and visible; set task=multi-focus (--task multi-focus), "
            "or the right task if they are none"
        )


def _mixes_photographs(pictures: Pictures) -> bool:
    """Whether grey pictures among those in colour may be photographs, such as a black exposure.

    Infrared images come first, and there is rarely more than one photograph with them.
    """
    colors = [p.is_color for p in pictures]
    return len(colors) > 2 and not all(colors) and (sum(colors) > 1 or colors != sorted(colors))


def _are_a_grey_stack(pictures: Pictures) -> bool:
    """Whether grey pictures seem to be a focus stack: three or more that are equally bright.

    A pair may be anything; two pictures of noise are equally bright, too.
    """
    grey = not any(p.is_color or p.unit for p in pictures)
    return grey and len(pictures) > 2 and equally_bright(pictures)


def _names_medical(name: str) -> bool:
    """Whether the name of a file or of its folder has a word for a medical image."""
    words = re.findall("[a-z]+", " ".join(Path(name).parts[-2:]).lower())
    return not MEDICAL.isdisjoint(words)


def _warnings_of(picture: Picture, found: dict[str, Any], number: int) -> Iterator[str]:
    """Warnings about a source that was restored."""
    if "noise_there" in found:
        yield (
            f"{picture.name}: the specified noise is {found['noise']:g} levels, but only "
            f"{found['noise_there']:g} was found; the rest removes fine texture"
        )
    if "enlarged" in found:
        option = ("--scale-a 1", "--scale-b 1", "--as-is")[min(number, 2)]
        yield (
            f"{picture.name} was enlarged by a factor of {found['enlarged']:g} before, and is "
            f"reduced to its original pixels; a scale of 1 ({option}) leaves it as it is"
        )


@torch.no_grad()
def _restored(
    came: Pictures,
    sizes: Sequence[tuple[int, int]],
    config: ResolvedConfig,
    model: Model,
    *,
    guided: bool,
) -> tuple[Pictures, list[dict[str, Any]]]:
    """The restored sources, and what was found in each."""

    def clean(x: Tensor, level: float) -> Tensor:
        return model.tiled(config.tile, (x.shape[-2], x.shape[-1])).without_noise(x, level)

    return restored(
        came,
        config.observations,
        sizes,
        clean,
        clean=config.clean,
        guided=guided,
        frames=config.task != "medical",
        blurs=config.task == "ir-visible",
    )


def _as_fine(picture: Picture, reference: Picture) -> tuple[int, int]:
    """The size that brings a picture to the resolution of a finer reference; else its own."""
    scale = max(1.0, max(reference.size) / max(picture.size))
    h, w = (round(scale * n) for n in picture.size)
    if (h, w) != picture.size:  # a long strip beside a square could ask for any size
        ask_enlarged(w, h, picture.name, reference.name)
    return h, w
