"""ddfm merge."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ddfm.cli.options import quiet_option, verify_option
from ddfm.cli.writing import say

if TYPE_CHECKING:
    from ddfm.pipeline.film_parts import Joined
    from ddfm.pipeline.shards import Merged

__all__ = ["merge"]

UNSEEN = (
    "results that never began are not counted; the command without --shard makes them, and tries "
    "failed ones again"
)


@click.command(short_help="Join the results of runs with --shard.")
@click.argument("out", type=click.Path(path_type=Path))
@verify_option
@quiet_option
def merge(out: Path, verify: bool, quiet: bool) -> int | None:
    """Join the results of runs with --shard, and report which are missing or failed.

    A result is missing if it was made and is gone. Results that were never begun are not known
    here. The exit code is 1 if any is missing or failed.

    OUT is a folder that `ddfm fuse --shard` or `ddfm film --shard` wrote, whose manifests and
    lists of failures become one; or the video whose parts `ddfm film --shard` wrote, which are
    joined without encoding them again. Folders, volumes and benchmarks do not need this: the same
    command without --shard finds what is done and fuses what is missing.

    \b
    Examples:
      ddfm merge fused/
      ddfm merge fused.mp4
    """
    from ddfm.pipeline.film_parts import is_film, merge_film
    from ddfm.pipeline.shards import merge_shards

    merged: Joined | Merged
    if is_film(out) and not out.is_dir():
        merged, film = merge_film(out), True
    else:
        merged = merge_shards(out, verify=verify)
        film = merged.film
    if not quiet or not merged.ok:
        say(merged, err=True)
        if not film:  # its parts are known, and a run without --shard would fuse it anew
            say(UNSEEN, err=True)
    return None if merged.ok else 1
