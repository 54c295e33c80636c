"""Options about sources that do not lie on each other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ddfm.cli.groups import is_said, refuse
from ddfm.cli.options import all_of, checked
from ddfm.cli.writing import OutputPath

if TYPE_CHECKING:
    from ddfm.config import FusionConfig

__all__ = ["align_options", "alignment_settings", "check_alignment", "check_transform_output"]

align_options = all_of(
    click.option(
        "--align",
        default="none",
        show_default=True,
        metavar="HOW",
        help="Lay the sources on one another: auto finds how; shift, similarity, affine or "
        "homography are no more than that; flow follows parallax, too (pairs and folders of "
        "pairs); once is one transform for all (folders and films).",
    ),
    click.option(
        "--align-to",
        metavar="a|b|NUMBER",
        help="The source that stays where it is; the first is 1.  [default: whose size --resize "
        "asks for, or the middle one; of two, b]",
    ),
    click.option(
        "--transform",
        "transform_file",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Lay A on B by a transform that --save-transform wrote.",
    ),
    click.option(
        "--save-transform",
        type=OutputPath(),
        metavar="FILE",
        help="Write the transform that was found, as JSON.",
    ),
    click.option(
        "--crop",
        metavar="none|common",
        default="none",
        show_default=True,
        help="Keep the frame of the source that stays (none), or what all sources see (common).",
    ),
)


def alignment_settings(
    align: str, align_to: str | None, transform_file: Path | None, crop: str
) -> dict[str, Any]:
    """The keywords of a `Fuser`."""
    from ddfm.registration.transform import Transform

    transform = None if transform_file is None else Transform.load(transform_file)
    if transform is not None and align != "none":
        raise click.UsageError("--align finds a transform, and --transform gives one; use either")
    return {"align": align, "align_to": align_to, "transform": transform, "crop": crop}


def check_alignment(settings: dict[str, Any]) -> None:
    """Raise where it is said how sources are laid on one another, and none of them is moved."""
    if not checked(settings).moves:
        said = {"--align-to": "align_to", "--crop": "crop"}
        idle = (None, "none")
        names = [o for o, name in said.items() if is_said(name) and settings[name] not in idle]
        refuse(names, "sources that --align or --transform moves")


def check_transform_output(config: FusionConfig, save_transform: Path | None) -> None:
    """Raise before the work is done, where there would be nothing to write, or no place for it."""
    from ddfm.storage.outputs import check_writable

    if save_transform is not None:
        if not config.moves:
            raise click.UsageError("--save-transform needs --align, which finds one")
        check_writable(save_transform)
