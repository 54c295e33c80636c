"""XMP: reads packets of any origin, keeps what a result takes over, and adds ddfm's record.

A packet is XML (ISO 16684-1). One with a document type or entities is refused before anything is
expanded, and so is a very large or deeply nested one. Properties are copied unchanged, with their
own prefixes, which some programs look for. Those about the file rather than the scene are dropped:
previews, editing history, sizes and positions in pixels.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any
from xml.parsers.expat import ExpatError, ParserCreate
from xml.sax.saxutils import escape, quoteattr

from ddfm.errors import InputError
from ddfm.imaging.metadata.iptc import Property, properties_of
from ddfm.storage.ours import MARK

__all__ = ["OURS", "kept", "packet", "personal", "record_in"]

MOST = 1 << 22  # most bytes of a packet that is read
DEEPEST = 40  # most nested elements
LARGEST = 40_000  # most bytes that are kept: a JPEG has room for 65,502, including the record

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
OURS = "urn:ddfm:1:"  # a name, not an address
_XMP = "http://ns.adobe.com/xap/1.0/"
_TIFF, _EXIF = "http://ns.adobe.com/tiff/1.0/", "http://ns.adobe.com/exif/1.0/"
_IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_XMLNS = "http://www.w3.org/XML/1998/namespace"

# Namespaces of properties about the file: raw development, versions, embedded pictures, and faces
# by their positions in pixels.
_OF_THE_FILE = (
    OURS,
    "http://ns.adobe.com/camera-raw-settings/",
    "http://ns.adobe.com/camera-raw-saved-settings/",
    "http://ns.adobe.com/xap/1.0/mm/",
    "http://ns.adobe.com/xap/1.0/g/img/",
    "http://ns.adobe.com/xmp/note/",
    "http://ns.google.com/photos/",
    "http://www.metadataworkinggroup.com/schemas/regions/",
    "http://ns.microsoft.com/photo/1.2/",
)
_UNTRUE = {  # other properties that would not be true of the result
    (_XMP, "Thumbnails"),
    (_XMP, "CreatorTool"),
    (_IPTC, "DigitalSourceType"),
    ("http://purl.org/dc/elements/1.1/", "format"),
    *((_TIFF, name) for name in ("Orientation", "ImageWidth", "ImageLength", "BitsPerSample")),
    *((_TIFF, name) for name in ("Compression", "PhotometricInterpretation", "SamplesPerPixel")),
    *((_TIFF, name) for name in ("PlanarConfiguration", "NativeDigest")),
    *((_EXIF, name) for name in ("PixelXDimension", "PixelYDimension", "NativeDigest")),
    *((_EXIF, name) for name in ("SubjectArea", "SubjectLocation", "MakerNote")),
}
_WHERE = re.compile("gps|latitude|longitude", re.IGNORECASE)
_WHO = re.compile(
    "creator$|^rights|owner|artist|author|copyright|credit$|person|serialnumber|contact|byline",
    re.IGNORECASE,
)

Name = tuple[str, str]  # namespace and local name


@dataclass
class _Element:
    name: Name
    attributes: dict[Name, str] = field(default_factory=dict)
    inside: list[_Element | str] = field(default_factory=list)

    @property
    def elements(self) -> list[_Element]:
        return [each for each in self.inside if isinstance(each, _Element)]


@dataclass(frozen=True)
class _Tree:
    """The properties of a packet: the elements and attributes that describe the picture.

    Attributes:
        properties: each as an element.
        prefixes: the prefix of each namespace.
    """

    properties: list[_Element]
    prefixes: dict[str, str]


def kept(data: bytes | None, iptc: bytes | None = None) -> bytes | None:
    """A packet with the properties that are taken over; None if there are none.

    Args:
        data: a packet of any origin.
        iptc: a block of IPTC's older records; its properties are added unless the packet has them.
    """
    tree = _tree(data) if data else _Tree([], {})
    true = [
        each
        for each in tree.properties
        if each.name not in _UNTRUE and not each.name[0].startswith(_OF_THE_FILE)
    ]
    prefixes, there = dict(tree.prefixes), {each.name for each in true}
    for old in properties_of(iptc) if iptc else ():
        if (old.space, old.name) not in there:
            true.append(_element(old))
            if old.prefix not in prefixes.values():
                prefixes.setdefault(old.space, old.prefix)
    written = _written(true, prefixes) if true else None
    if written is not None and len(written) > LARGEST:
        raise InputError("its XMP is too large")
    return written


# The press's term for composites that a trained model contributed to.
_TRAINED = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"


def packet(source: bytes | None, record: str | None, trained: bool = False) -> bytes:
    """A packet with the properties that are taken over, and the record of how the picture was made.

    Args:
        source: what `kept` returned.
        record: the text of a record; see `ddfm.imaging.metadata.record`.
        trained: whether a trained model contributed to the picture.
    """
    tree = _tree(source) if source else _Tree([], {})
    properties, prefixes = list(tree.properties), dict(tree.prefixes)
    if record is not None:
        ours = {(_XMP, "CreatorTool", "xmp"): MARK, (OURS, "Record", "ddfm"): record}
        if trained:
            ours[_IPTC, "DigitalSourceType", "Iptc4xmpExt"] = _TRAINED
        for (space, name, prefix), text in ours.items():
            properties.append(_Element((space, name), inside=[text]))
            if prefix not in prefixes.values():
                prefixes.setdefault(space, prefix)
    return _written(properties, prefixes)


def _element(old: Property) -> _Element:
    name = (old.space, old.name)
    if not old.kind:
        return _Element(name, inside=[old.texts[0]])
    language = {(_XMLNS, "lang"): "x-default"} if old.kind == "Alt" else {}
    items = [_Element((RDF, "li"), language, [text]) for text in old.texts]
    some: list[_Element | str] = [*items[:1]] if old.kind == "Alt" else [*items]
    return _Element(name, inside=[_Element((RDF, old.kind), inside=some)])


def record_in(data: bytes) -> str | None:
    """The text of ddfm's record in a packet, if there is one."""
    for each in _tree(data).properties:
        if each.name == (OURS, "Record"):
            return "".join(part for part in each.inside if isinstance(part, str))
    return None


def personal(data: bytes) -> list[str]:
    """Names of the properties of a packet that may identify a person or a place."""
    found: dict[str, None] = {}
    for each in _tree(data).properties:
        name = each.name[1]
        if _WHERE.search(name):
            found["GPS position"] = None
        elif _WHO.search(name):
            found[name] = None
    return list(found)


def _tree(data: bytes) -> _Tree:
    """The properties of a packet; those written as attributes become elements."""
    root, prefixes = _parsed(data)
    found: list[_Element] = []
    for rdf in _all(root, (RDF, "RDF")):
        for description in rdf.elements:
            for name, text in description.attributes.items():
                if name[0] not in ("", RDF, _XMLNS):
                    found.append(_Element(name, inside=[text]))
            found += description.elements
    return _Tree(found, prefixes)


def _all(element: _Element, name: Name) -> list[_Element]:
    if element.name == name:
        return [element]
    return [found for each in element.elements for found in _all(each, name)]


def _parsed(data: bytes) -> tuple[_Element, dict[str, str]]:
    """The root of a packet's elements, and the prefixes of its namespaces."""
    if len(data) > MOST:
        raise InputError("its XMP is too large")
    top = _Element(("", ""))
    open_elements: list[_Element] = [top]
    prefixes: dict[str, str] = {}
    parser: Any = ParserCreate("UTF-8", "\n")  # the separator: no name can contain a line break
    parser.buffer_text = True

    def start(name: str, attributes: dict[str, str]) -> None:
        if len(open_elements) > DEEPEST:
            raise InputError("its XMP is nested too deeply")
        named = {_name(key): value for key, value in attributes.items()}
        element = _Element(_name(name), named)
        open_elements[-1].inside.append(element)
        open_elements.append(element)

    def refuse(*_: object) -> None:
        raise InputError("its XMP declares a document type, which XMP must not")

    def note(prefix: str | None, space: str) -> None:
        if prefix and prefix not in prefixes.values():
            prefixes.setdefault(space, prefix)

    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.StartNamespaceDeclHandler = note
    parser.StartElementHandler = start
    parser.EndElementHandler = lambda _: open_elements.pop()
    parser.CharacterDataHandler = lambda text: open_elements[-1].inside.append(text)
    try:
        parser.Parse(data.strip(b"\0 \r\n\t"), True)
    except (ExpatError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError("its XMP is damaged") from None
    return top, prefixes


def _name(text: str) -> Name:
    space, _, name = text.rpartition("\n")
    return space, name


def _written(properties: list[_Element], prefixes: dict[str, str]) -> bytes:
    """A packet with these properties, and nothing that depends on the time of writing."""
    spaces = {RDF: "rdf"} | {s: p for s, p in prefixes.items() if s != RDF and p != "rdf"}
    for each in properties:
        _add_spaces(each, spaces)
    lines = "\n".join(f"  {_text_of(each, spaces)}" for each in properties)
    used = {name for each in properties for name in _spaces_in(each)} | {RDF}
    declared = "".join(
        f"\n  xmlns:{prefix}={quoteattr(space)}"
        for space, prefix in spaces.items()
        if space in used
    )
    text = (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">\n'
        f"<rdf:RDF{declared}>\n"
        f' <rdf:Description rdf:about="">\n{lines}\n </rdf:Description>\n'
        '</rdf:RDF>\n</x:xmpmeta>\n<?xpacket end="w"?>'
    )
    return text.encode("utf-8", "replace")


def _spaces_in(element: _Element) -> set[str]:
    names = {element.name[0], *(name[0] for name in element.attributes)}
    return names.union(*(_spaces_in(each) for each in element.elements)) - {"", _XMLNS}


def _add_spaces(element: _Element, spaces: dict[str, str]) -> None:
    """Add a prefix for each namespace without one: the default one, or one declared again."""
    for space in sorted(_spaces_in(element)):
        if space not in spaces:
            number = 1
            while f"ns{number}" in spaces.values():
                number += 1
            spaces[space] = f"ns{number}"


def _called(name: Name, spaces: dict[str, str]) -> str:
    if name[0] == _XMLNS:
        return f"xml:{name[1]}"
    return f"{spaces[name[0]]}:{name[1]}" if name[0] else name[1]


def _text_of(element: _Element, spaces: dict[str, str]) -> str:
    name = _called(element.name, spaces)
    given = "".join(f" {_called(k, spaces)}={quoteattr(v)}" for k, v in element.attributes.items())
    inside = "".join(
        escape(each) if isinstance(each, str) else _text_of(each, spaces) for each in element.inside
    )
    return f"<{name}{given}>{inside}</{name}>" if inside else f"<{name}{given}/>"
