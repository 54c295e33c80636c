"""Makes results from a run, with the colour, depth and metadata of their sources."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ddfm.config import MIXED
from ddfm.diffusion.observed import Observed
from ddfm.diffusion.watch import Watch
from ddfm.errors import percent
from ddfm.fusing.run import Run
from ddfm.imaging.inherited import in_color, of_profiles, with_metadata
from ddfm.imaging.picture import Picture
from ddfm.numerics.planes import levels_of, within
from ddfm.registration.register import Registered
from ddfm.restoration.colors import with_luminance, with_quiet_colors
from ddfm.result import Fusion

__all__ = ["results"]


def results(run: Run, watch: Watch, settings: Mapping[str, Any]) -> list[Fusion]:
    """The results of a run, one for each group.

    Args:
        settings: those that all of them were made with.
    """
    config, size = run.config, run.size
    planes = run.fused[:, 0].float().cpu().numpy()
    done = []
    for k, group in enumerate(run.groups):
        pictures = _quiet(group.pictures, run, k)
        picture, warnings = with_metadata(
            in_color(planes[k], pictures, config.color, _shares(run, k)),
            pictures,
            config.color,
            config.metadata_from,
            config.strip,
        )
        warnings += (*of_profiles(pictures, config.color), *_of_gaps(picture))
        about = dict(settings) | _about(group, run.observed[k])
        snapshots = watch.snapshots(k, size)
        latents = _latents(pictures, run.observed[k])
        done.append(
            Fusion(picture, about, snapshots, run.chosen[k], group.warnings + warnings, latents)
        )
    return done


def _shares(run: Run, k: int) -> Callable[[slice], Tensor | None] | None:
    """A function for the shares of the sources in the levels, if colours are mixed by them.

    It takes a slice of rows.
    """
    likelihood = run.likelihood
    if likelihood is None or run.config.task not in MIXED:
        return None

    def shares(rows: slice) -> Tensor | None:
        found = likelihood.shares(rows)
        return None if found is None else within(found[k], run.size).float().cpu()

    return shares


@torch.no_grad()
def _quiet(pictures: Sequence[Picture], run: Run, k: int) -> tuple[Picture, ...]:
    """The pictures; those in colour that had noise are without the noise in their chroma."""
    return tuple(
        with_quiet_colors(p, run.model.without_noise)
        if source.mean is not None and p.is_color
        else p
        for p, source in zip(pictures, run.observed[k], strict=True)
    )


def _latents(pictures: Sequence[Picture], sources: Sequence[Observed]) -> tuple[Picture, ...]:
    """The sources as they were fused, without the noise that was removed."""
    done = []
    for picture, source in zip(pictures, sources, strict=True):
        if source.mean is not None:
            levels = levels_of(within(source.likely, picture.size)[0, 0])
            picture = with_luminance(picture, levels.float().cpu().numpy())
        done.append(picture)
    return tuple(done)


def _of_gaps(picture: Picture) -> Iterator[str]:
    """A warning if the result has pixels without data, which few files can mark."""
    if picture.mask is None:
        return
    gaps = ~picture.mask if picture.alpha is None else ~picture.mask & (picture.alpha > 0)
    if gaps.any():
        geo, has = picture.metadata.geo, "made-up, smooth values"
        if geo is not None and geo.nodata_for(picture.dtype) is not None:
            has = f"the no-data value in a TIFF, and {has} in other files"
        elif picture.dtype.kind == "f":
            has = f"NaN in a TIFF, and {has} in other files"
        what = "have no data in any source, or belong to its frame"
        yield f"{percent(gaps.mean())} of the pixels {what}; there, the result has {has}"


def _about(group: Registered, sources: Sequence[Observed]) -> dict[str, Any]:
    names = [picture.name for picture in group.pictures]
    noise = [round(source.level, 5) for source in sources]
    digests = [picture.sha256 for picture in group.pictures]
    about = {"sources": names, "sha256": digests, "source_noise": noise, "alignment": group.about}
    observed = [
        ({"noise": round(255 * source.level / 2, 2)} if source.mean is not None else {}) | found
        for source, found in zip(sources, group.observed or [{}] * len(sources), strict=True)
    ]
    about |= {"observed": observed} if any(observed) else {}
    levels = [list(p.range) if p.range and p.dtype.kind == "u" else None for p in group.pictures]
    return about | ({"levels": levels} if any(levels) else {})
