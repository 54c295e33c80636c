"""The disk space of an installation: the core, and what each extra adds.

    python benchmarks/install_sizes.py

Adds up the files of all packages that ddfm requires in this environment, and of the packages that
these require. Packages that are not installed are named, and count as nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, distribution, metadata

import click
from packaging.requirements import Requirement

NOT_FOR_USE = ("dev", "docs", "test")


def needed(name: str, extras: Iterable[str] = ()) -> set[str]:
    """A package and all that it requires, directly or indirectly, by their normalised names."""
    found: set[str] = set()
    waiting = [(plain(name), frozenset(extras))]
    while waiting:
        package, wanted = waiting.pop()
        if package in found and not wanted:
            continue
        found.add(package)
        try:
            requires = distribution(package).requires or []
        except PackageNotFoundError:
            continue
        for requirement in map(Requirement, requires):
            asked = requirement.marker is None or any(
                requirement.marker.evaluate({"extra": extra}) for extra in ("", *wanted)
            )
            if asked and (plain(requirement.name) not in found or requirement.extras):
                waiting.append((plain(requirement.name), frozenset(requirement.extras) - wanted))
    return found


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def megabytes(package: str) -> float | None:
    """The size of its files; None if it is not installed."""
    try:
        files = distribution(package).files or []
    except PackageNotFoundError:
        return None
    return sum(file.locate().stat().st_size for file in files if file.locate().is_file()) / 1e6


@click.command()
def main() -> None:
    """Print the table of docs/embedding.md."""
    core = needed("ddfm")
    sizes = {package: megabytes(package) for package in core}
    total = sum(size or 0 for size in sizes.values())
    click.echo("| what | MB | of that |\n| --- | ---: | --- |")
    click.echo(f"| core | {total:.0f} | {largest(sizes)} |")
    for extra in metadata("ddfm").get_all("Provides-Extra") or ():
        if extra in NOT_FOR_USE:
            continue
        added = {package: megabytes(package) for package in needed("ddfm", [extra]) - core}
        missing = sorted(package for package, size in added.items() if size is None)
        without = f"; not installed: {', '.join(missing)}" if missing else ""
        more = sum(size or 0 for size in added.values())
        click.echo(f"| `[{extra}]` adds | {more:.0f} | {largest(added)}{without} |")


def largest(sizes: dict[str, float | None]) -> str:
    known = sorted(((size or 0, package) for package, size in sizes.items()), reverse=True)
    return ", ".join(f"{package} {size:.0f}" for size, package in known[:3] if size >= 1)


if __name__ == "__main__":
    main()
