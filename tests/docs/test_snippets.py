"""Code in README and docs: Python runs, and every `ddfm` line can be parsed.

A block of Python runs in the clone, after those before it on its page and with their names; what it
writes is written elsewhere. A block that needs what is missing here (a camera's file, a film) has
the line `<!-- not run: why -->` before it.
"""

from __future__ import annotations

import logging
import re
import shlex
from importlib.util import find_spec
from pathlib import Path

import click
import pytest
from PIL import Image

from ddfm.cli import main
from places import EXAMPLES, ROOT

DOCS = sorted((ROOT / "docs").rglob("*.md"))
CARDS = sorted((ROOT / "pretrained").glob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS, *CARDS]
BLOCK = re.compile(r"(<!-- not run: .+ -->\n)?```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`(ddfm [^`]+)`")
PROGRAM = re.compile(r"\bpython3? (?:-m ([a-z][\w.]*\w)|([\w/]+\.py)\b)")


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def python_of(page: Path) -> str:
    """The blocks that run, at their own lines, so that an error says where it is."""
    text = page.read_text(encoding="utf-8")
    lines = [""] * (text.count("\n") + 1)
    for not_run, language, block in BLOCK.findall(text):
        if language == "python" and not not_run:
            first = text[: text.index(block)].count("\n")
            lines[first : first + block.count("\n")] = block.splitlines()
    return "\n".join(lines)


def commands_of(page: Path) -> tuple[list[str], list[str]]:
    """Lines of blocks that begin with ddfm, and commands or parts of them in the text."""
    text = page.read_text(encoding="utf-8")
    lines = [
        line.strip()
        for _, language, block in BLOCK.findall(text)
        if language in ("", "sh", "console")
        for line in block.replace("\\\n", " ").splitlines()
    ]
    prose = BLOCK.sub("", text)
    whole = [line for line in lines if line.startswith("ddfm ")]
    return whole, [found for found in INLINE.findall(prose) if " -" in found]


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A folder with the examples' data as in a clone, and the files that snippets name."""
    data = tmp_path / "examples" / "data"
    data.mkdir(parents=True)
    for path in EXAMPLES.glob("*.png"):  # the middle of each, to be quick
        with Image.open(path) as image:
            left, top = (side // 2 - 48 for side in image.size)
            image.crop((left, top, left + 96, top + 96)).save(data / path.name)
    names = {"infrared": "olinda_infrared", "visible": "olinda_visible"}
    names |= {"pet_1": "brain_t1", "mri_1": "brain_pd", "pet_2": "brain_pd", "mri_2": "brain_t1"}
    for name, of_example in names.items():
        (tmp_path / f"{name}.png").symlink_to(data / f"{of_example}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", [p for p in PAGES if python_of(p).strip()], ids=name_of)
def test_python_snippets_run(page, clone, caplog):
    caplog.set_level(logging.WARNING, "ddfm")  # a page changes it; pytest restores it
    exec(compile(python_of(page), str(page), "exec"), {"__name__": "snippet"})


@pytest.mark.parametrize("page", [p for p in PAGES if any(commands_of(p))], ids=name_of)
def test_commands_can_be_parsed(page, monkeypatch):
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")  # what --shard auto asks for
    monkeypatch.setenv("SLURM_ARRAY_TASK_COUNT", "8")
    lines, parts = commands_of(page)
    for line in lines:
        parse(line)
    for part in parts:
        parse(part, whole=False)


def test_every_page_is_in_the_menu_of_the_site():
    menu = re.findall(r": ([\w/]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert {p.relative_to(ROOT / "docs").as_posix() for p in DOCS} <= set(menu)


def test_every_named_module_and_script_exists():
    """Modules and scripts: of pages, and of docstrings, whose own folder counts."""
    code = [
        path
        for room in ("ddfm", "pretrained", "benchmarks", "examples", "docs", "tests")
        for path in (ROOT / room).rglob("*.py")
    ]
    named = 0
    for page in [*PAGES, *code]:
        for module, path in PROGRAM.findall(page.read_text(encoding="utf-8")):
            named += 1
            where = (ROOT / path, page.parent / path) if path else places_of(module)
            is_there = any(place.is_file() for place in where)
            assert is_there or (module and is_installed(module)), f"{name_of(page)}: {module}{path}"
    assert named > 50


def places_of(module: str) -> tuple[Path, Path]:
    """Where Python looks for a module in a clone: a file, or a folder that can be run."""
    path = ROOT / module.replace(".", "/").replace("ddfm/pretrained", "pretrained")
    return path.with_suffix(".py"), path / "__main__.py"


def is_installed(module: str) -> bool:
    return module.split(".")[0] not in ("ddfm", "benchmarks") and find_spec(module) is not None


@pytest.mark.parametrize("line", ["ddfm fuse a b --speed 3", "ddfm fly a b", "ddfm fuse a b"])
def test_commands_that_cannot_be_parsed_are_noticed(line):
    """An unknown option, an unknown command, and an option that must be there."""
    with pytest.raises(click.UsageError):
        parse(line)


def test_every_command_of_a_help_text_can_be_parsed():
    for command in commands(main):
        for line in re.findall(r"^\s*(ddfm .*)$", command.help or "", re.MULTILINE):
            parse(line)


def parse(line: str, whole: bool = True) -> None:
    """As the program would; files need not exist, and nothing is done."""
    words = shlex.split(line, comments=True)[1:]
    words = words[: next((k for k, word in enumerate(words) if word in (">", ">>", "|")), None)]
    command, context = main, click.Context(main, info_name="ddfm")
    while isinstance(command, click.Group):
        if words[0].startswith("-"):
            assert any(words[0] in parameter.opts for parameter in command.get_params(context)), (
                line
            )
            return
        name, inner, words = command.resolve_command(context, words)
        command, context = inner, click.Context(inner, info_name=name, parent=context)
    words = getattr(command, "joined", list)(words)
    values, rest, order = command.make_parser(context).parse_args(args=words)
    assert not rest, line
    for parameter in order:
        if not parameter.is_eager and not isinstance(parameter.type, click.Path):
            parameter.handle_parse_result(context, values, [])
    missing = [p.name for p in command.get_params(context) if p.required and not values.get(p.name)]
    if missing and whole:
        raise click.UsageError(f"{line}: {missing} must be given", context)


def commands(command: click.Command) -> list[click.Command]:
    inner = command.commands.values() if isinstance(command, click.Group) else ()
    return [command, *(below for sub in inner for below in commands(sub))]
