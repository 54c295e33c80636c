"""The command line: each command parses its options, calls a function of a lower room and prints.

There is no logic here, and every error is one line.

A command has a file of its name, those of training share one. Options that belong together have
one of their subject, such as `alignment` or `trust`; those of several commands are in `options`.
What all commands do is in `defaults`, `sections`, `process`, `status` and `writing`.

To add a command, write it in a file of its own, import everything except click inside its functions
(`ddfm --help` must not wait for torch), and list it at the end of this file.
"""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

import click
from click.core import ParameterSource

from ddfm.cli.bench import bench
from ddfm.cli.cite import cite
from ddfm.cli.defaults import PREFIX, defaults_file, read_defaults
from ddfm.cli.export import export
from ddfm.cli.film import film
from ddfm.cli.fuse import fuse
from ddfm.cli.info import info
from ddfm.cli.merge import merge
from ddfm.cli.metrics import metrics
from ddfm.cli.priors import priors
from ddfm.cli.process import prepare
from ddfm.cli.serve import serve
from ddfm.cli.status import status_shown
from ddfm.cli.training import train_dmfuse, train_prior
from ddfm.cli.volume import volume
from ddfm.cli.web import web
from ddfm.cli.writing import say
from ddfm.errors import DdfmError, DdfmWarning, is_out_of_memory, quoted, unknown
from ddfm.version import __version__

__all__ = ["main"]

_AS_FOUND = (signal.SIG_DFL, signal.default_int_handler)
DONE, BAD_INPUT, INTERRUPTED, CLOSED_PIPE = 0, 2, 130, 141
DASHES = ("\u2013", "\u2014")  # what word processors and web pages make of - and --
OUT_OF_MEMORY = (
    "not enough memory; try smaller tiles (--tile 256), --dtype bfloat16, or another --device"
)


class Program(click.Group):
    """The group of all commands: each error is one line, and exit codes are as documented."""

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        kwargs.setdefault("prog_name", "ddfm")
        prepare()
        with _orderly_end(), warnings.catch_warnings(), status_shown():
            warnings.simplefilter("always", DdfmWarning)
            warnings.showwarning = _warn
            sys.exit(self._run(*args, **kwargs | {"standalone_mode": False}))

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        return super().make_context(*args, **{"default_map": read_defaults(self)} | kwargs)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuses options whose hyphens became dashes, as in text copied from a web page.

        Nor is any argument empty on purpose, which would be the current folder as a path.
        """
        if "" in args:
            raise click.UsageError("an argument is empty; is a variable of the shell not set?")
        for word in args:
            if word.startswith(DASHES) and not os.path.exists(word):
                option = ("-" if len(word) == 2 else "--") + word[1:]
                raise click.UsageError(
                    f"{word} begins with a dash instead of a hyphen; type {option}"
                )
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Suggests `ddfm fuse` if files are given without a command."""
        if args and args[0] not in self.commands and ("." in args[0] or os.path.exists(args[0])):
            sources = " ".join(map(quoted, args))
            hint = sources if "-o" in args else f"{sources} -o fused.png"
            raise click.UsageError(f"{args[0]} is not a command; to fuse, type: ddfm fuse {hint}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # click would exit with 1, which means something else here
            return _closed_pipe()

    def _run(self, *args: Any, **kwargs: Any) -> int:
        try:
            code = super().main(*args, **kwargs)
            sys.stdout.flush()  # a closed pipe may show only here
            return code if isinstance(code, int) else DONE
        except BrokenPipeError:
            return _closed_pipe()
        except (click.Abort, KeyboardInterrupt):
            return _fail("interrupted", INTERRUPTED)
        except click.ClickException as error:
            if type(error).__name__ == "NoArgsIsHelpError":
                error.show()
                return BAD_INPUT
            said = _origin(error) + error.format_message()
            return _fail(said + _as_file(error) + _help_for(error))
        except DdfmError as error:
            return _fail(str(error))
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            return _fail(f"{where}{error.strerror or error}")
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            return _fail(OUT_OF_MEMORY)


@contextmanager
def _orderly_end() -> Iterator[None]:
    """Removes half-written files and ends the process at once when a signal asks for it.

    It raises no exception: the code that is running, an import above all, could swallow it.
    """
    before: dict[int, Any] = {}

    def end(number: int, _: object) -> None:
        for other in before:
            signal.signal(other, signal.SIG_IGN)  # a second signal must not interrupt this one
        if number == signal.SIGINT:
            with suppress(OSError):
                os.write(2, f"{_new_line()}ddfm: error: interrupted\n".encode())
        # Import nothing here: the signal may have interrupted this very import.
        discard = getattr(sys.modules.get("ddfm.storage.atomic"), "discard_all", None)
        if discard is not None:
            discard()
        os._exit(128 + number)

    with suppress(ValueError):  # raised outside the main thread, which alone may handle signals
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)  # Windows has only two of them
            # Leave what `nohup` or a calling program has set.
            if number is not None and signal.getsignal(number) in _AS_FOUND:
                before[number] = signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _origin(error: click.ClickException) -> str:
    """Where a value that is wrong was set, if not on the command line."""
    if not isinstance(error, click.BadParameter) or error.ctx is None or error.param is None:
        return ""
    source = error.ctx.get_parameter_source(str(error.param.name))
    if source is ParameterSource.DEFAULT_MAP:
        return f"{defaults_file()} [{error.ctx.info_name}]: "
    if source is ParameterSource.ENVIRONMENT:
        return f"${error.ctx.auto_envvar_prefix}_{error.param.name}: ".upper()
    return ""


def _as_file(error: click.ClickException) -> str:
    """A hint for a file whose name, beginning with a hyphen, was taken for an option."""
    if not isinstance(error, click.NoSuchOption):
        return ""
    meant = [name for name in sorted(os.listdir()) if name.startswith(error.option_name)]
    return f" If you mean the file, type {quoted(f'./{meant[0]}')}." if meant else ""


def _new_line() -> str:
    """A line break to leave the line of a progress bar, which only a terminal shows."""
    return "\n" if sys.stderr.isatty() else ""


def _closed_pipe() -> int:
    """Returns the exit code after a reader such as `| head` has closed the pipe.

    Python flushes standard output once more when it exits, and needs somewhere to write.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return CLOSED_PIPE


def _warn(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
    """Prints a warning: those of ddfm as one line, all others as Python does."""
    if issubclass(category, DdfmWarning):
        say("ddfm: warning: " + " ".join(str(message).split()), err=True)
    else:
        click.echo(warnings.formatwarning(message, category, *place[:2]), err=True, nl=False)


def _fail(message: str, code: int = BAD_INPUT) -> int:
    say("ddfm: error: " + " ".join(message.split()), err=True)
    return code


def _help_for(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    return f" (see `{context.command_path} --help`)" if context else ""


@click.group(
    "ddfm",
    cls=Program,
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": PREFIX},
)
@click.version_option(__version__, "-V", "--version", message="%(prog)s %(version)s")
def main() -> None:
    """Fuse several images of one scene into one: infrared and visible, MRI and CT, exposures, ...

    The images must match pixel by pixel (be registered), or --align aligns them. Nothing is
    uploaded.

    \b
    Examples:
      ddfm fuse infrared.png visible.png -o fused.png
      ddfm film infrared.mp4 visible.mp4 -o fused.mp4
      ddfm volume mri.nii.gz ct.nii.gz -o fused.nii.gz
      ddfm priors list

    To change the default of an option, write it into a file ddfm.toml in the folder where you
    start ddfm ([fuse] task = "medical"), or set an environment variable (DDFM_FUSE_TASK=medical).

    \b
    Exit codes:
      0    success
      1    some of many results failed, all others are written (unpaired files are only reported)
      2    bad input or usage, no result; one line on standard error says what is wrong
      130  interrupted (Ctrl-C); 143 if ended by SIGTERM, 129 by SIGHUP
    """


@main.command("help", short_help="Show the help of a command.")
@click.argument("command", required=False)
@click.pass_context
def show_help(ctx: click.Context, command: str | None) -> None:
    """Show the help of ddfm or of one of its commands, like --help."""
    group = ctx.find_root()
    if command is None:
        click.echo(group.get_help())
        return
    if command not in main.commands:
        raise unknown("command", command, main.commands)
    found = main.commands[command]
    click.echo(found.get_help(click.Context(found, group, command)))


@main.command(short_help="Print a script for shell completion.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a script with which your shell completes the commands and options of ddfm.

    \b
    Examples:
      ddfm completion bash >> ~/.bashrc
      ddfm completion fish > ~/.config/fish/completions/ddfm.fish
    """
    from click.shell_completion import get_completion_class

    maker = get_completion_class(shell)
    assert maker is not None, "click supports these three shells"
    click.echo(maker(main, {}, "ddfm", "_DDFM_COMPLETE").source())


for command in (
    fuse,
    film,
    volume,
    info,
    merge,
    metrics,
    bench,
    priors,
    train_prior,
    train_dmfuse,
    export,
    serve,
    web,
    cite,
):
    main.add_command(command)
