"""The sections of a long help text, from what everybody uses to details of the method."""

from __future__ import annotations

import click

__all__ = ["write_options"]

USUAL = "Options"
FEW = 21  # most options of a command whose help has no sections
_SECTIONS = {
    "Views, and how certain the result is": "show overlay preview save_steps uncertainty samples "
    "attribution montage",
    "Defects of the sources": "scale_a scale_b blur_a blur_b noise_a noise_b "
    "stripes_a stripes_b mask_a mask_b jpeg_a jpeg_b as_is save_sources",
    "Metadata and the record": "metadata_from strip like keep_identity",
    "Reading and aligning the sources": "task resize range_a range_b page celsius percentiles "
    "grid axis window_a window_b window_c colormap_a colormap_b colormap_c fwhm_b series_a "
    "series_b number align align_to transform_file save_transform crop moving check",
    "Folders, and finished work": "pattern format dry_run shard engine scheduler verify",
    "Method and computation": "method likelihood prior head sampler steps start seed device dtype "
    "tile together max_megapixels",
    "Messages": "as_json quiet verbose help",
}


def write_options(
    command: click.Command, context: click.Context, formatter: click.HelpFormatter
) -> None:
    """Writes the options of a command into its help."""
    options = [p for p in command.get_params(context) if isinstance(p, click.Option)]
    titles = _SECTIONS if len(options) > FEW else {}
    section_of = {name: title for title, names in titles.items() for name in names.split()}
    rows: dict[str, list[tuple[str, str]]] = {title: [] for title in (USUAL, *titles)}
    for parameter in options:
        row = parameter.get_help_record(context)
        if row is not None:
            rows[section_of.get(parameter.name or "", USUAL)].append(row)
    for title, found in rows.items():
        if found:
            with formatter.section(title):
                formatter.write_dl(found)
