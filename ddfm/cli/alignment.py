"""Options for sources that are not registered."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ddfm.cli.groups import is_given, refuse
from ddfm.cli.options import all_of, checked
from ddfm.cli.writing import OutputPath, say

if TYPE_CHECKING:
    from ddfm.imaging.picture import Picture
    from ddfm.result import Fusion

__all__ = ["align_options", "check_alignment", "say_alignment", "transform_of"]

align_options = all_of(
    click.option(
        "--align",
        default="none",
        show_default=True,
        metavar="HOW",
        help="How to align sources that are not registered. none: not at all; auto: by the "
        "simplest model that fits; shift, similarity, affine or homography: by this model; flow: "
        "like auto, and follow parallax (not for films); once: by one transform of each source, "
        "for all pairs of folders or all frames of a film.",
    ),
    click.option(
        "--align-to",
        metavar="a|b|NUMBER",
        help="The source that stays in place while the others are aligned to it: a, b, or its "
        "number, counted from 1.  [default: the source whose size --resize asks for, else the "
        "middle one; of two, b]",
    ),
    click.option(
        "--transform",
        "transform_file",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Align A to B, or each of three or more sources, with a file that --save-transform "
        "wrote, instead of --align.",
    ),
    click.option(
        "--save-transform",
        type=OutputPath(),
        metavar="FILE",
        help="Also write the transform that --align found, as JSON.",
    ),
    click.option(
        "--crop",
        metavar="none|common",
        default="none",
        show_default=True,
        help="none keeps the whole frame of the source that stays in place; common keeps only the "
        "area that all sources show.",
    ),
)


def transform_of(file: Path | None, align: str) -> Any:
    """The transforms in the file of --transform, if it is given; not together with --align."""
    from ddfm.registration.transform import load_transforms

    transform = None if file is None else load_transforms(file)
    if transform is not None and align != "none":
        raise click.UsageError(
            "--align finds a transform and --transform reads one; use only one of them"
        )
    return transform


def check_alignment(settings: dict[str, Any]) -> None:
    """Raise if options of the alignment are given although nothing is aligned."""
    if not checked(settings).moves:
        options = {"--align-to": "align_to", "--crop": "crop"}
        idle = (None, "none")
        names = [o for o, name in options.items() if is_given(name) and settings[name] not in idle]
        refuse(names, "sources that --align or --transform moves")


def say_alignment(fusion: Fusion, pictures: Sequence[Picture]) -> None:
    """Prints how --align moved each source; where it was not certain, a warning tells already."""
    from ddfm.registration.register import motion_of
    from ddfm.registration.transform import Transform

    if fusion.settings["align"] == "none":
        return
    for found in fusion.settings["alignment"]:
        if found["applied"]:
            moving, fixed = pictures[found["source"]], pictures[found["onto"]]
            motion = motion_of(Transform.from_dict(found["transform"]), fixed.reduced_by)
            say(f"{moving.name}: aligned to {fixed.name} ({motion})", err=True)
