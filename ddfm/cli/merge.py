"""ddfm merge."""

from __future__ import annotations

from pathlib import Path

import click

from ddfm.cli.options import quiet_option, verify_option

__all__ = ["merge"]


@click.command(short_help="Join what shards have made.")
@click.argument("out", type=click.Path(path_type=Path))
@verify_option
@quiet_option
def merge(out: Path, verify: bool, quiet: bool) -> int | None:
    """Join the manifests of `ddfm fuse --shard` in the folder OUT, and report what is missing.

    Not needed for the results themselves: a run without --shard knows them, too, and fuses what is
    missing.
    """
    from ddfm.pipeline.shards import merge_shards

    merged = merge_shards(out, verify=verify)
    if not quiet or not merged.ok:
        click.echo(merged, err=True)
    return None if merged.ok else 1
