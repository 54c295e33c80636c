"""ddfm merge."""

from __future__ import annotations

from pathlib import Path

import click

from ddfm.cli.options import quiet_option, verify_option

__all__ = ["merge"]

UNSEEN = "what failed, or never began, is not counted: the same command without --shard makes it"


@click.command(short_help="Join what runs with --shard have made.")
@click.argument("out", type=click.Path(path_type=Path))
@verify_option
@quiet_option
def merge(out: Path, verify: bool, quiet: bool) -> int | None:
    """Join what shards have made, and report what is missing.

    Missing is what was made and is gone. What failed, or was never begun, is not known here.

    OUT is a folder of `ddfm fuse --shard` or `ddfm film --shard`, whose manifests become one; or
    the video whose parts `ddfm film --shard` has made, which are joined without encoding them
    again. Folders, volumes and benchmarks do not need this: a run without --shard finds what is
    there, and fuses what is missing.

    \b
    Examples:
      ddfm merge fused/
      ddfm merge fused.mp4
    """
    from ddfm.pipeline.film_parts import is_film, merge_film
    from ddfm.pipeline.shards import merge_shards

    video = is_film(out) and not out.is_dir()
    merged = merge_film(out) if video else merge_shards(out, verify=verify)
    if not quiet or not merged.ok:
        click.echo(merged, err=True)
        if not video:
            click.echo(UNSEEN, err=True)
    return None if merged.ok else 1
