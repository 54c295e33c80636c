"""Options about sources that are not registered."""

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
        help="Align the sources: auto finds the simplest model that fits; shift, similarity, "
        "affine or homography use that model; flow follows parallax, too (pairs and folders of "
        "pairs); once finds one transform for all (folders and films).",
    ),
    click.option(
        "--align-to",
        metavar="a|b|NUMBER",
        help="The source that stays where it is; the first is 1.  [default: the one whose size "
        "--resize asks for, or the middle one; of two, b]",
    ),
    click.option(
        "--transform",
        "transform_file",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Align A to B, or each of more sources, as a file that --save-transform wrote says.",
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
    from ddfm.registration.transform import load_transforms

    transform = None if transform_file is None else load_transforms(transform_file)
    if transform is not None and align != "none":
        raise click.UsageError("--align finds a transform, and --transform gives one; use either")
    return {"align": align, "align_to": align_to, "transform": transform, "crop": crop}


def check_alignment(settings: dict[str, Any]) -> None:
    """Raise if options of the alignment are given, and nothing is aligned."""
    if not checked(settings).moves:
        said = {"--align-to": "align_to", "--crop": "crop"}
        idle = (None, "none")
        names = [o for o, name in said.items() if is_said(name) and settings[name] not in idle]
        refuse(names, "sources that --align or --transform moves")


def check_transform_output(config: FusionConfig, save_transform: Path | None) -> None:
    """Raise before the work is done if there would be no transform, or no place to write it."""
    from ddfm.storage.outputs import check_writable

    if save_transform is not None:
        if not config.moves:
            raise click.UsageError("--save-transform needs --align, which finds one")
        check_writable(save_transform)
