"""Lines about a file without a record: what it is, and what a fusion would make of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ddfm.errors import percent, quoted

__all__ = ["lines_about"]

Looked = Mapping[str, Any]  # what `describe` returns

_SIDES = dict(zip("RLAPSI", ("right", "left", "front", "back", "head", "feet"), strict=True))


def lines_about(looked: Looked, *, ours: bool) -> Iterator[str]:
    """The lines; `ours` tells whether ddfm made the file."""
    if "picture" in looked:
        yield from _of_picture(looked, ours=ours)
    elif "volume" in looked:
        yield from _of_volume(looked)
    elif "video" in looked:
        yield from _of_video(looked)
    else:
        yield from _of_folder(looked)


def _of_picture(looked: Looked, *, ours: bool) -> Iterator[str]:
    alpha = ", with transparency" if looked["alpha"] else ""
    first = f", the first of {looked['pages']}" if looked["pages"] > 1 else ""
    size = f"{looked['width']} x {looked['height']} pixels"
    yield f"  picture   {size}, {_color(looked)}, {_depth(looked['dtype'])}{alpha}{first}"
    yield from _values(looked)
    if looked["coordinates"] is not None:
        yield f"  place     coordinates in {looked['coordinates']}"
    yield from _no_data(looked)
    yield from _thermal(looked, ours=ours)
    yield _corrects(looked)
    if looked["unit"]:
        other = "" if looked["photograph"] else " PHOTOGRAPH"
        yield f"  fuse      ddfm fuse {quoted(looked['picture'])}{other} -o OUT"


def _values(looked: Looked) -> Iterator[str]:
    low, high = looked["values"]
    black = ", which become black and white" if looked["unit"] else ""
    if looked["unit"]:
        low, high = round(low, 2), round(high, 2)
    yield f"  values    {low:g} to {high:g} {looked['unit']}".rstrip() + black
    if looked["spread"] is not None:
        low, high = looked["spread"]
        full = "--range-a full keeps all 16 bits"
        yield f"            {low:g} to {high:g} become black and white; {full}"
    if looked["crowded"] is not None:
        low, high = (f"{limit:.9g}" for limit in looked["crowded"])
        yield f"            nearly all are {low} to {high}; --range-a {low} {high} spreads them"


def _no_data(looked: Looked) -> Iterator[str]:
    value = looked["no_data_value"]
    mark = "" if value is None else f"; a value of {value} marks them"
    if looked["no_data"]:
        yield f"  no data   {percent(looked['no_data'])} of the pixels, which are ignored{mark}"
    elif mark:
        yield f"  no data   marked by a value of {value}, which no pixel has"


def _thermal(looked: Looked, *, ours: bool) -> Iterator[str]:
    if looked["thermal"] == "false colours":
        if not ours:  # the scale of an uncertainty looks the same
            yield "  thermal   seems to be temperatures in false colours, without their values"
    elif looked["thermal"]:
        photograph = "with a photograph" if looked["photograph"] else "without a photograph"
        yield f"  thermal   radiometric file of {looked['thermal']}, {photograph}"


def _of_volume(looked: Looked) -> Iterator[str]:
    several = looked["volumes"]
    first = f", the first of {several} (--volume chooses another)" if several > 1 else ""
    kind = " ".join(part for part in (looked["format"], looked["modality"]) if part)
    depth = f", {_depth(looked['dtype'])}" if looked["dtype"] else ""
    yield f"  volume    {kind}, {_color(looked)}{depth}{first}"
    sides = list(zip(looked["shape"], looked["spacing"], strict=True))
    spacing, size = _by([one for _, one in sides]), _by([n * one for n, one in sides])
    yield f"  grid      {_by(looked['shape'])} voxels of {spacing} mm, together {size} mm"
    axes = ", ".join(_SIDES[letter] for letter in looked["axes"])
    yield f"  axes      to the patient's {axes} ({looked['axes']})"
    slices = f"{looked['number_of_slices']} {looked['slices']} slices"
    yield f"  slices    {slices} are fused; --axis chooses others"
    low, high = looked["values"]
    yield f"  values    {low:g} to {high:g} {looked['unit']}".rstrip()
    if not looked["color"]:
        low, high = looked["black_and_white"]
        how = looked["scaled_by"]
        yield f"            {low:g} to {high:g} become black and white ({how}; --window-a)"
    if looked["window"] is not None:
        window = "{:g}/{:g}".format(*looked["window"])
        yield f"  window    {window} in the file; --window-a {window} applies it"
    if looked["burned_in"]:
        yield "  text      the header states that text is burned into the pixels"
    yield _corrects(looked)


def _of_video(looked: Looked) -> Iterator[str]:
    size = f"{looked['width']} x {looked['height']} pixels"
    yield f"  video     {size}, {_color(looked)}, {looked['bits']} bits"
    yield f"  format    {looked['codec']} in {looked['format']}"
    if looked["frames"]:
        count = f"{'' if looked['exact'] else 'about '}{looked['frames']} frames, "
    else:
        count = ""
    length = "" if looked["seconds"] is None else f", {looked['seconds']:g} s"
    yield f"  frames    {count}{looked['rate']:g} per second{length}"
    sound = looked["sound"]
    if sound is None:
        yield "  sound     none"
    else:
        channels = {1: "mono", 2: "stereo"}.get(sound["channels"], f"{sound['channels']} channels")
        rate = "" if sound["rate"] is None else f", {sound['rate']} Hz, {channels}"
        yield f"  sound     {sound['codec']}{rate}"


def _of_folder(looked: Looked) -> Iterator[str]:
    from ddfm.imaging.pairing import counted

    folder = quoted(looked["folder"])
    if "series" in looked:
        for number, modality, count in looked["series"]:
            which = "without a number" if number is None else number
            yield f"  series    {which}: {modality}, {counted(count, 'file')}"
        yield f"  fuse      {_fuses_series(folder, looked['series'])}"
        return
    parts = [
        f"{counted(sum(files.values()), kind)} ({', '.join(suffix for suffix in files)})"
        for kind, files in looked["files"].items()
        if files
    ]
    parts += [counted(looked["others"], "other file")] if looked["others"] else []
    yield f"  holds     {', '.join(parts) or 'no files'}"
    if looked["results"]:
        yield "  results   made by ddfm; ddfm info FILE shows how each was made"
    elif looked["first"] is not None:
        yield f"  first     {looked['first']}; ddfm info FILE describes a picture"
        alone = f"{folder} -o OUT fuses the thermal image and the photograph in each"
        other = f"{folder} OTHER -o OUT fuses its pictures with those of OTHER"
        yield f"  fuse      ddfm fuse {alone if looked['photograph'] else other}"


def _fuses_series(folder: str, series: Sequence[Sequence[Any]]) -> str:
    """How to fuse series of a folder, each a number, a modality and a number of files."""
    numbers = [number for number, *_ in series]
    own = [one for one in series if one[0] is not None and numbers.count(one[0]) == 1]
    if not own:
        return "the files of each series first need a folder of their own"
    a = max(own, key=lambda one: (one[1] == "MR", one[2]))
    others = [one for one in own if one is not a]
    if not others:
        return f"ddfm volume {folder} OTHER -o OUT --series-a {a[0]}"
    b = max(others, key=lambda one: (one[1] != a[1], one[2]))
    return f"ddfm volume {folder} {folder} -o OUT --series-a {a[0]} --series-b {b[0]}"


def _corrects(looked: Looked) -> str:
    from ddfm.restoration.corrections import corrections

    found = corrections([""], [looked["observed"]]) or [": nothing"]
    return f"  corrects  {found[0].removeprefix(': ')}"


def _by(numbers: list[float]) -> str:
    return " x ".join(f"{number:g}" for number in numbers)


def _color(looked: Looked) -> str:
    return "colour" if looked["color"] else "grey"


def _depth(dtype: str) -> str:
    """A type such as "int16" in words."""
    for kind, words in (("uint", "{} bits"), ("int", "{} bits with a sign")):
        if dtype.startswith(kind):
            return words.format(dtype.removeprefix(kind))
    return "floating point"
