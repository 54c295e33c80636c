"""The generated parts of the site (`make docs`): gallery, commands, formulas, outside pages.

- The gallery runs the scripts of examples/ and shows what they print and draw.
- The page of commands is their own help.
- Formulas are converted to MathML here, so a page needs no script to typeset them.
- Files outside docs/ (the changes, the model cards) get pages, too, and links lead to them.
- A page that would load anything from another server fails the build.
"""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import click
from latex2mathml.converter import convert
from markdown import Extension, Markdown
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from ddfm.cli import main

ROOT = Path(__file__).parents[1]
# Files outside docs/, and their pages.
OUTSIDE = {
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changes.md",
    "pretrained/default.md": "reference/prior.md",
    "pretrained/dmfuse.md": "reference/head.md",
    "pretrained/descriptor.md": "reference/descriptor.md",
}
GALLERY = """# Gallery

The scripts in `examples/`, with the pictures and the output that each produced when this page was
built. Run any of them from a clone, unchanged: `python examples/fuse_pair.py`. (`without_torch.py`
is shown without results, because it needs the files that `ddfm export` writes.)
"""
# Arguments of a script; None: it is shown without results.
ASKED: dict[str, list[str] | None] = {"metrics_fooled": ["."], "without_torch": None}
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)\s#:]+)(#[^)\s]*)?\)")
PICTURE = re.compile(r"!\[([^\]]*)\]\(([^)\s:]+)\)")
FORMULA = re.compile(r'<(span|div) class="arithmatex">(.*?)</\1>', re.DOTALL)
# A row for several arguments at once, which the reference would mark as required.
SEVERAL = re.compile(r"(<code>\w+, [^<]*</code>(?:(?!</tr>).)*?)<em>required</em>", re.DOTALL)
FETCHED = re.compile(
    r'<(?:script|img|iframe|source|video|audio)\b[^>]*\bsrc="?https?:'
    r'|<link\b(?=[^>]*\brel="?(?:stylesheet|preconnect|preload|icon))[^>]*\bhref="?https?:'
    r'|@import\s+(?:url\()?["\']?https?:|url\(["\']?https?:'
)


class AsElsewhere(Extension):
    """Lists as in CommonMark: the content of an item is indented to the beginning of its text."""

    def extendMarkdown(self, md: Markdown) -> None:
        md.tab_length = 2
        md.build_parser()  # again: its parts read the length when they were created


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Inserts the extension before those of mkdocs.yml, which depend on what it sets."""
    config.markdown_extensions.insert(0, AsElsewhere())
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the generated pages, and the pictures of the gallery."""
    made: dict[str, str | bytes] = {"reference/commands.md": _commands(), **_gallery()}
    for source, page in OUTSIDE.items():
        made[page] = (ROOT / source).read_text(encoding="utf-8")
        for _, picture in PICTURE.findall(made[page]):
            lies = (ROOT / source).parent / picture
            if not lies.resolve().is_relative_to(ROOT / "docs"):
                made[f"{Path(page).parent}/{picture}"] = lies.read_bytes()
    for path, content in made.items():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Converts links between files of the repository to links between pages."""
    path = page.file.src_uri
    origins = {page: source for source, page in OUTSIDE.items()}
    origin = ROOT / origins.get(path, f"docs/{path}")

    def link(match: re.Match[str]) -> str:
        text, target, anchor = match.groups()
        leads = (origin.parent / target).resolve()
        to = _page_of(leads)
        if to is None:  # a file without a page: its text alone; a broken link fails the build
            return text if leads.exists() else match[0]
        return f"[{text}]({os.path.relpath(to, Path(path).parent)}{anchor or ''})"

    def picture(match: re.Match[str]) -> str:
        lies = (origin.parent / match[2]).resolve()
        if path not in origins or not lies.is_relative_to(ROOT / "docs"):
            return match[0]
        shown = os.path.relpath(lies.relative_to(ROOT / "docs"), Path(path).parent)
        return f"![{match[1]}]({shown})"

    pieces = re.split(r"(^```.*?^```)", markdown, flags=re.MULTILINE | re.DOTALL)
    return "".join(
        piece if piece.startswith("```") else PICTURE.sub(picture, LINK.sub(link, piece))
        for piece in pieces
    )


def on_page_content(content: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    r"""Converts formulas, which arithmatex encloses in \( \) or \[ \], to MathML; tidies tables."""

    def formula(match: re.Match[str]) -> str:
        source = html.unescape(match[2]).strip()
        display = "block" if source.startswith(r"\[") else "inline"
        return convert(source[2:-2].strip(), display=display)

    return SEVERAL.sub(r"\1", FORMULA.sub(formula, content))


def on_post_build(config: MkDocsConfig) -> None:
    """Raises an error if a page or a style sheet would load anything from another server."""
    for path in sorted(Path(config.site_dir).rglob("*")):
        if path.suffix in (".html", ".css"):
            found = FETCHED.search(path.read_text(encoding="utf-8"))
            if found:
                raise PluginError(f"{path} would load from another server: {found[0]}")


def _page_of(path: Path) -> str | None:
    """The page of the site that shows a file of the repository, if there is one."""
    if not path.is_relative_to(ROOT):
        return None
    name = path.relative_to(ROOT).as_posix()
    if name in OUTSIDE:
        return OUTSIDE[name]
    if name == "README.md":
        return "index.md"
    examples = ROOT / "examples"
    if path == examples or (path.parent == examples and path.suffix == ".py"):
        return "gallery.md"
    return name.removeprefix("docs/") if name.startswith("docs/") and path.is_file() else None


def _commands() -> str:
    """A section for each command: its help, as in the terminal."""
    lines = ["# Command line", ""]
    for name, command in _all_commands("ddfm", main):
        context = click.Context(command, info_name=name, terminal_width=90, max_content_width=90)
        lines += [f"## {name}", "", "```text", command.get_help(context), "```", ""]
    return "\n".join(lines)


def _all_commands(name: str, command: click.Command) -> list[tuple[str, click.Command]]:
    inner = command.commands if isinstance(command, click.Group) else {}
    return [
        (name, command),
        *(pair for sub in sorted(inner) for pair in _all_commands(f"{name} {sub}", inner[sub])),
    ]


@cache
def _gallery() -> dict[str, str | bytes]:
    """The page of the gallery, and its pictures."""
    page = [GALLERY]
    made: dict[str, str | bytes] = {}
    for script in sorted((ROOT / "examples").glob("*.py")):
        asked = ASKED.get(script.stem, [])
        printed, pictures = ("", {}) if asked is None else _run(script, asked)
        source = script.read_text(encoding="utf-8")
        page += [f"## {script.stem.replace('_', ' ').capitalize()}\n"]
        for name, data in pictures.items():
            made[f"gallery/{script.stem}/{name}"] = data
            page += [f"![{name}](gallery/{script.stem}/{name})\n"]
        page += [f"```python\n{source}```\n"]
        page += [f"Output:\n\n```text\n{printed}```\n"] if printed else []
    return made | {"gallery.md": "\n".join(page)}


def _run(script: Path, asked: list[str]) -> tuple[str, dict[str, bytes]]:
    """The output of a script, and the pictures that it writes into an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        done = subprocess.run(
            [sys.executable, script, *asked],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": paths},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise PluginError(f"{script} fails:\n{done.stderr}")
        pictures = {path.name: path.read_bytes() for path in sorted(Path(folder).glob("*.png"))}
    return done.stdout.replace(folder, "."), pictures
