"""Options about sources that do not lie on each other, and what is written about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from ddfm.cli.writing import OutputPath

__all__ = ["align_options", "alignment_settings", "check_alignment_outputs", "write_alignment"]

Command = TypeVar("Command", bound=Callable[..., Any])

_OPTIONS = (
    click.option(
        "--align",
        default="none",
        show_default=True,
        help="Lay the sources on one another: auto, shift, similarity, affine or homography; once: "
        "folders and films, by one transform for all.",
    ),
    click.option(
        "--align-to",
        metavar="a|b",
        help="The source that stays where it is.  [default: b, or whose size --resize asks for]",
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
        default="none",
        show_default=True,
        help="Keep the frame of the source that stays (none), or what all sources see (common).",
    ),
)


def align_options(command: Command) -> Command:
    """What is asked about alignment, as options."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def alignment_settings(
    align: str, align_to: str | None, transform_file: Path | None, crop: str
) -> dict[str, Any]:
    """The keywords of a `Fuser`."""
    from ddfm.registration.transform import Transform

    transform = None if transform_file is None else Transform.load(transform_file)
    if transform is not None and align != "none":
        raise click.UsageError("--align finds a transform, and --transform gives one; use either")
    return {"align": align, "align_to": align_to, "transform": transform, "crop": crop}


def check_alignment_outputs(
    align: dict[str, Any], save_transform: Path | None, sheet: Path | None = None
) -> None:
    """Raise before the work is done, where there would be nothing to write, or no place for it."""
    from ddfm.imaging.files import check_output
    from ddfm.storage.outputs import check_writable

    moves = align["align"] != "none" or align["transform"] is not None
    if save_transform is not None:
        if not moves:
            raise click.UsageError("--save-transform needs --align, which finds one")
        check_writable(save_transform)
    if sheet is not None:
        check_output(sheet)


def write_alignment(
    about: Sequence[dict[str, Any]],
    pictures: Sequence[Any],
    save_transform: Path | None,
    sheet: Path | None,
) -> None:
    """The transform of the first source that was moved, and a look at it."""
    from ddfm.registration.sheet import alignment_sheet
    from ddfm.registration.transform import Transform

    found = about[0]
    transform = Transform.from_dict(found["transform"])
    if save_transform is not None:
        transform.save(save_transform)
    if sheet is not None:
        k = found["source"]
        fixed = pictures[1 if k != 1 else 0]
        if not found["applied"]:
            transform = Transform.framed(transform.moving, transform.fixed)
        alignment_sheet(sheet, fixed, pictures[k], transform)
