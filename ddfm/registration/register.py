"""Aligns the sources of one fusion to one of them, or warns if they are misaligned.

Parts that a moved picture does not cover are gaps, like margins and frames. Gaps are bridged before
pictures are compared, and filled once all pictures are aligned.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ddfm.errors import InputError, warn
from ddfm.imaging.picture import Picture
from ddfm.imaging.sizes import cropped, hint_at_turn
from ddfm.numerics.device import undisturbed
from ddfm.registration.align import Alignment, align, check, tolerance, turn_that_fits
from ddfm.registration.gaps import bridged, with_gaps_filled
from ddfm.registration.transform import FLOW, Transform, common_transform
from ddfm.registration.warp import common_box, warped

__all__ = ["Registered", "common_of", "motion_of", "registered"]

# How a picture would have to be turned, by the number that EXIF has for it (see `orient`).
TURNS = {
    6: "turned clockwise by 90 degrees",
    8: "turned anticlockwise by 90 degrees",
    3: "turned by 180 degrees",
    2: "mirrored from left to right",
    4: "mirrored from top to bottom",
    5: "mirrored along its diagonal",
    7: "mirrored along its other diagonal",
}
SAMPLE = 20  # number of pairs or stacks from which the transforms of a rig are found
SMALLEST = 16  # least side in pixels of the part that all sources have in common


@dataclass(frozen=True, eq=False)
class Registered:
    """Pictures of one size, aligned or left as they were.

    Attributes:
        about: what was found and done for each source except the reference; ready for JSON.
        warnings: one line each.
        observed: what was detected in each source, and undone; ready for JSON.
    """

    pictures: tuple[Picture, ...]
    about: list[dict[str, Any]] = field(default_factory=list)
    warnings: tuple[str, ...] = ()
    observed: Sequence[dict[str, Any]] = ()


def registered(
    pictures: Sequence[Picture],
    how: str = "none",
    *,
    transform: Transform | Sequence[Transform | None] | None = None,
    reference: int = 1,
    crop: bool = False,
    look: bool = True,
) -> Registered:
    """Brings all pictures onto the grid of one of them.

    Args:
        how: "none" leaves them as they are, with a warning if one is certainly misaligned; "auto"
            or a model aligns them.
        transform: the transform to the reference, for a pair, if it is known; for more pictures,
            one for each, and None for the reference.
        reference: the index of the picture that stays.
        crop: whether to keep only the part that all pictures show.
        look: whether pictures that are not aligned are checked for misalignment.
    """
    fixed = pictures[reference]
    if isinstance(transform, Transform) and len(pictures) != 2:
        raise InputError(
            "the transform (--transform) is for two sources; three or more need one for each, as "
            "--save-transform writes them"
        )
    of_each = transform if isinstance(transform, Sequence) else [transform] * len(pictures)
    seen, done, about, warnings = bridged(fixed), [], [], []
    for k, (picture, given) in enumerate(zip(pictures, of_each, strict=True)):
        if k != reference and (given is not None or how != "none" or look):
            whole = bridged(picture)
            found = _found(seen, whole, how, given)
            applied = given is not None or (how != "none" and found.sure)
            warnings += _warnings(found, (picture, whole), (fixed, seen), how, given)
            if applied:
                picture = _moved(picture, whole, found.transform, fixed)
            elif picture.size != fixed.size:
                picture = _moved(picture, whole, Transform.framed(picture.size, fixed.size), fixed)
            about.append(_about(k, reference, found, applied))
        done.append(picture)
    if crop:
        done = _common_part(done)
    return Registered(with_gaps_filled(done, reference), about, tuple(warnings))


@undisturbed()
def common_of(
    groups: Iterable[Sequence[Picture]], model: str, reference: int
) -> list[Transform | None]:
    """The common transform of each source of one rig of cameras; None for the reference.

    Args:
        groups: images of some scenes, one of each source; what is uncertain in one does not count.
        model: the model of the transforms.
        reference: the index of the source that stays.
    """
    if model == FLOW:
        raise InputError(
            "align=flow (--align flow) follows the parallax of one pair, so it is not for films or "
            "for one transform of many pairs; use another model, or align=once (--align once)"
        )
    found: dict[int, list[Transform]] = {}
    for pictures in groups:
        for k, picture in enumerate(pictures):
            of_source = found.setdefault(k, [])
            if k != reference:
                result = align(pictures[reference], picture, model)
                of_source += [result.transform] if result.sure else []
    if not found:
        raise InputError("no images could be read from which to find a common transform")
    for k, of_source in found.items():
        if k != reference and not of_source:
            raise InputError(
                f"source {k + 1} could not be aligned to source {reference + 1} with certainty in "
                f"any of the {'pairs' if len(found) == 2 else 'stacks'} tried, so no common "
                "transform was found; give one (--transform), or leave the sources as they are "
                "(--align none)"
            )
    common = [None if k == reference else common_transform(found[k]) for k in sorted(found)]
    for k, one in enumerate(common):
        if one is not None:
            _warn_of_spread(k, one, found[k])
    return common


def _warn_of_spread(k: int, common: Transform, each: Sequence[Transform]) -> None:
    """Warns if a common transform does not suit the pairs that it was found from."""
    off = [common.distance(one.at(common.moving, common.fixed)) for one in each]
    if np.median(off) > tolerance(common):
        warn(
            f"one transform does not suit all: those of source {k + 1} in {len(each)} scenes "
            f"differ from the common one by {np.median(off):.0f} pixels (median), and by up to "
            f"{max(off):.0f}; it is right only for cameras that are fixed to each other "
            "(for folders, --align auto aligns each pair by itself)"
        )


def _common_part(pictures: Sequence[Picture]) -> list[Picture]:
    """The part that all pictures show."""
    box = common_box([picture.valid for picture in pictures])
    if min(box[1] - box[0], box[3] - box[2]) < SMALLEST:
        raise InputError("the part that all sources show is too small to be fused")
    return [cropped(picture, box) for picture in pictures]


def _found(fixed: Picture, moving: Picture, how: str, transform: Transform | None) -> Alignment:
    if transform is not None:
        return Alignment(transform.at(moving.size, fixed.size), True, 0.0, 0.0)
    if how != "none":
        return align(fixed, moving, how)
    return check(fixed, moving)


def _moved(picture: Picture, whole: Picture, transform: Transform, fixed: Picture) -> Picture:
    """The picture on the grid of the fixed one; `whole` is the picture with its gaps bridged."""
    moved, inside = warped(whole, transform)
    if moved is whole:
        return picture
    known = inside & moved.valid
    if not known.any():
        raise InputError(f"the transform moves {picture.name} outside of {fixed.name}")
    along = picture.metadata.laid_on(fixed.metadata, fixed.name)
    return replace(moved, metadata=along, mask=None if known.all() else known)


def _about(k: int, reference: int, found: Alignment, applied: bool) -> dict[str, Any]:
    x, y = found.transform.offset
    return {
        "source": k,
        "onto": reference,
        "offset": [round(x, 2), round(y, 2)],
        "off": round(found.transform.moves, 2),
        "sure": found.sure,
        "applied": applied,
        "transform": found.transform.to_dict(),
    }


def _warnings(
    found: Alignment,
    moving: tuple[Picture, Picture],
    fixed: tuple[Picture, Picture],
    how: str,
    transform: Transform | None,
) -> list[str]:
    """What to say about a pair; each picture is also given with its gaps bridged."""
    if transform is not None or (how != "none" and found.sure):
        return []
    a, b = moving[0], fixed[0]
    if how != "none":
        left = "stays as it is"
        if a.size != b.size:
            left = "is resized to its frame, which is right only if both have the same borders"
        start = f"{a.name} could not be aligned to {b.name} with certainty, and {left}"
        return [f"{start}{_remedy(moving[1], fixed[1], how)}"]
    warnings = []
    if (apart := _apart(a, b)) > tolerance(found.transform):
        how_far = f"place them {b.reduced_by * apart:.0f} px apart"
        if (systems := _systems(a, b)) is not None:
            how_far = f"are in different systems{systems}"
        warnings.append(
            f"the coordinates of {a.name} and {b.name} {how_far}; bring one onto the grid of the "
            "other first, as with gdalwarp"
        )
    if found.is_off:
        motion = motion_of(found.transform, b.reduced_by)
        warnings.append(
            f"{a.name} seems to be misaligned: it fits {b.name} if {motion}; "
            "align=auto (--align auto) corrects this where it is certain"
        )
    return warnings


def _remedy(moving: Picture, fixed: Picture, how: str) -> str:
    """What to do about a pair that could not be aligned."""
    turn = turn_that_fits(fixed, moving, TURNS)
    if turn is not None:
        return f"; it fits if {TURNS[turn]}, so turn the file first"
    # If two models disagree, one that the user knows to hold may be sure alone.
    model = "; a given model (--align affine) may be certain" if how == "auto" else ""
    return hint_at_turn(fixed.size, moving.size) + model


def _apart(moving: Picture, fixed: Picture) -> float:
    """How far apart the coordinates of two pictures of one size place them, in pixels."""
    places = moving.metadata.geo, fixed.metadata.geo
    if places[0] is None or places[1] is None or moving.size != fixed.size:
        return 0.0
    return places[0].apart(places[1], fixed.size)


def _systems(a: Picture, b: Picture) -> str | None:
    """The coordinate systems of two pictures, after a comma, if these differ; "" if nameless."""
    first, second = a.metadata.geo, b.metadata.geo
    if first is None or second is None or first.shares_system(second) is not False:
        return None
    return "" if first.called == second.called else f", {first.called} and {second.called}"


def motion_of(transform: Transform, reduced_by: float = 1.0) -> str:
    """What a transform does to a picture, in words, with pixels as they were before a preview."""
    x, y = (reduced_by * offset for offset in transform.offset)
    degrees, size = transform.turn_and_size
    ways = [
        f"{abs(x):.0f} px to the {'right' if x > 0 else 'left'}" if round(x) else "",
        f"{abs(y):.0f} px {'down' if y > 0 else 'up'}" if round(y) else "",
    ]
    words = ["moved " + " and ".join(filter(None, ways))] if any(ways) else []
    if abs(degrees) > 0.5:
        side = "clockwise" if degrees > 0 else "anticlockwise"
        words.append(f"turned {abs(degrees):.1f} degrees {side}")
    if abs(size - 1) > 0.01:
        words.append(f"made {100 * abs(size - 1):.0f} % {'larger' if size > 1 else 'smaller'}")
    if transform.field is not None:
        words.append("deformed smoothly")
    if not words and reduced_by * transform.moves < 0.5:
        return "left as it is" if transform.model == "none" else "moved by less than half a pixel"
    return ", ".join(words) or "slightly deformed"
