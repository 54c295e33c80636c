"""Checks arguments and converts them to plain Python objects, ready for JSON, or raises InputError.

Notebooks pass NumPy's numbers, and forms pass text.
"""

from __future__ import annotations

import functools
import inspect
import math
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import numpy as np

from ddfm.errors import InputError, short, unknown

__all__ = [
    "a_number",
    "a_path",
    "a_seed",
    "by_annotation",
    "check_known",
    "check_percentiles",
    "count",
    "flag",
    "number",
    "one_of",
    "plain_options",
    "positive",
    "says_no",
    "text",
    "two_numbers",
    "whole_number",
]

LARGEST = 1e6  # far beyond any use, and its square within float32
WORDS = ("saliency",)  # options that are words
# Options that are several numbers: the greatest count, and how an error message calls them.
SEVERAL = {"gains": (2, "two numbers"), "curve": (math.inf, "two or more numbers")}


Function = TypeVar("Function", bound=Callable[..., Any])


def by_annotation(function: Function) -> Function:
    """A decorator that checks the arguments of a function by their annotations.

    It checks bool, int, float, str, paths, two numbers, functions and collections, and each of
    these or None. NumPy's numbers become Python's. Other annotations are left to the function.
    """
    signature = inspect.signature(function)
    checks = {name: _check_of(p) for name, p in signature.parameters.items()}

    @functools.wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{function.__name__}() {error}") from None
        for name, value in bound.arguments.items():
            if (check := checks[name]) is not None:
                bound.arguments[name] = check(name, value)
        return function(*bound.args, **bound.kwargs)

    return checked  # type: ignore[return-value]


def _check_of(parameter: inspect.Parameter) -> Callable[[str, Any], Any] | None:
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        return None
    annotation = str(parameter.annotation)
    kind = annotation.removesuffix(" | None")
    check = _CHECKS.get(kind) or _CHECKS.get(kind.partition("[")[0])
    if check is None or kind == annotation:
        return check
    return lambda name, value: None if value is None else check(name, value)


def text(name: str, value: Any) -> str:
    """A word, such as the name of a task."""
    if not isinstance(value, str):
        raise InputError(f"{name} must be a word, not {short(value)}")
    return value


def one_of(name: str, value: Any, known: Collection[str], kind: str | None = None) -> str:
    """A word that must be known; `kind` is what error messages call it, if not `name`."""
    if text(name, value) not in known:
        raise unknown(kind or name, value, known)
    return str(value)


def check_known(kind: str, names: Iterable[Any], known: Collection[str]) -> None:
    """Refuses names that are not known; `kind` is what error messages call one."""
    for name in names:
        one_of(kind, name, known)


def whole_number(
    name: str, value: Any, bounds: str = "", low: float = -math.inf, high: float = math.inf
) -> int:
    """An int from any whole number, also as text, from `low` to `high`; `bounds` tells of these."""
    with suppress(TypeError, ValueError, OverflowError):
        number = int(value)
        if (isinstance(value, str) or number == value) and low <= number <= high:
            return number
    raise InputError(f"{name} must be a whole number{bounds}, not {short(value)}")


def count(name: str, value: Any) -> int:
    """A whole number of at least 1."""
    return whole_number(name, value, " of at least 1", 1)


def flag(name: str, value: Any) -> bool:
    """A bool from a bool of Python or NumPy, or from 0 or 1."""
    if isinstance(value, bool | np.bool_) or (isinstance(value, int) and value in (0, 1)):
        return bool(value)
    raise InputError(f"{name} must be True or False, not {short(value)}")


def says_no(answer: object) -> bool:
    """Whether a callback returned False, of Python or NumPy; None, as of most callbacks, is not."""
    return isinstance(answer, bool | np.bool_) and not answer


def a_path(name: str, value: Any) -> str | os.PathLike[str]:
    """A path, as given, if it is one."""
    path = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if isinstance(path, str) and "\0" not in path:
        return value
    raise InputError(f"{name} must be a path, not {short(value)}")


def a_number(name: str, value: Any) -> float:
    """A float from any number, which may be infinite."""
    with suppress(TypeError, ValueError, OverflowError, RuntimeError):
        number = float(value)
        if not isinstance(value, str):
            return number
    raise InputError(f"{name} must be a number, not {short(value)}")


def a_seed(value: Any) -> int:
    """An int that all random number generators accept."""
    return whole_number("the seed", value, " from 0 to 2^63 - 1", 0, 2**63 - 1)


def number(name: str, value: Any, low: float, high: float) -> float:
    """A number from `low` to `high`, both included."""
    found = a_number(name, value)
    if low <= found <= high:
        return found
    raise InputError(f"{name} must be a number from {low:g} to {high:g}, not {short(value)}")


def two_numbers(name: str, value: Any) -> tuple[float, float]:
    """Two numbers, such as a range, from any sequence of two."""
    several = isinstance(value, list | tuple) or np.ndim(value) == 1
    if several and not isinstance(value, str | bytes) and len(value) == 2:
        return a_number(name, value[0]), a_number(name, value[1])
    raise InputError(f"{name} must be two numbers, not {short(value)}")


def check_percentiles(value: Any) -> None:
    """Raise unless these are two percentages, the lower first."""
    low, high = two_numbers("percentiles", value)
    if not 0 <= low < high <= 100:
        raise InputError(
            "percentiles (--percentiles) must be two numbers from 0 to 100, LOW < HIGH, not "
            f"{low:g}, {high:g}"
        )


def _function(name: str, value: Any) -> Any:
    if callable(value):
        return value
    raise InputError(f"{name} must be a function, not {short(value)}")


def _several(name: str, value: Any) -> Any:
    if not isinstance(value, str | bytes):
        with suppress(TypeError):
            iter(value)
            return value
    raise InputError(f"{name} must be a collection, such as a list, not {short(value)}")


def _array(name: str, value: Any) -> np.ndarray:
    if not isinstance(value, str | bytes) and not isinstance(value, np.ma.MaskedArray):
        with suppress(TypeError, ValueError, RuntimeError):
            array = np.asarray(value)
            if array.dtype.kind in "buif" and array.size:
                return array
    raise InputError(f"{name} must be an array of real numbers, not {short(value)}")


def _one_of_ours(kind: str, *others: str) -> Callable[[str, Any], Any]:
    """A check for an object of one of our classes, without importing the class."""

    def check(name: str, value: Any) -> Any:
        acts_alike = kind == "Fuser" and callable(value) and hasattr(value, "check_number")
        if acts_alike or {kind, *others} & {base.__name__ for base in type(value).__mro__}:
            return value
        raise InputError(f"{name} must be a {kind}, not {short(value)}")

    return check


def _engine(name: str, value: Any) -> Any:
    """An object with a method `run`."""
    if isinstance(value, type) or not callable(getattr(value, "run", None)):
        raise InputError(f"{name} must be an engine, with a method run, not {short(value)}")
    return value


_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "bool": flag,
    "int": whole_number,
    "float": a_number,
    "str": text,
    "str | os.PathLike[str]": a_path,
    "tuple[float, float]": two_numbers,
    "Callable": _function,
    "Callback": _function,
    "Iterable": _several,
    "Sequence": _several,
    "Sequence[str | os.PathLike[str]]": lambda name, value: [
        a_path(name, each) for each in _several(name, value)
    ],
    "Iterable[str]": lambda name, value: [text(name, each) for each in _several(name, value)],
    "int | str": lambda name, value: value if isinstance(value, str) else whole_number(name, value),
    "np.ndarray": _array,
    "Fuser": _one_of_ours("Fuser"),
    "Fuser | Unloaded": _one_of_ours("Fuser", "Unloaded"),
    "Picture": _one_of_ours("Picture"),
    "Record": _one_of_ours("Record"),
    "Shard": _one_of_ours("Shard"),
    "Opening": _one_of_ours("Opening"),
    "Engine": _engine,
}


def positive(name: str, value: Any, most: float = math.inf) -> float:
    """A finite number above 0 and up to `most`; NaN is refused."""
    with suppress(TypeError, ValueError, OverflowError):
        number = float(value)
        if 0 < number <= most and number < math.inf and not isinstance(value, str):
            return number
    bounds = "" if most == math.inf else f" and up to {most:g}"
    raise InputError(f"{name} must be a finite number above 0{bounds}, not {short(value)}")


def plain_options(options: Any) -> dict[str, Any]:
    """Options by name: numbers, or several numbers or a word for those that need them, or None."""
    if options is None:
        return {}
    if not isinstance(options, Mapping):
        raise InputError(f"options must be a dictionary of names and numbers, not {short(options)}")
    return {text("the name of an option", k): _option(k, v) for k, v in options.items()}


def _option(name: str, value: Any) -> float | str | tuple[float, ...] | None:
    if value is None:
        return None
    if name in WORDS:
        return text(f"the option {name}", value)
    if name not in SEVERAL:
        return _number(name, value)
    most, words = SEVERAL[name]
    numbers = value.tolist() if isinstance(value, np.ndarray) else value
    if isinstance(numbers, Sequence) and 2 <= len(numbers) <= most:
        return tuple(_number(name, part) for part in numbers)
    raise InputError(f"the option {name} must be {words}, not {short(value)}")


def _number(name: str, value: Any) -> float:
    plain = value.item() if hasattr(value, "item") and np.size(value) == 1 else value
    if not isinstance(plain, (int, float)) or plain != plain:  # isnan would fail for 10**400
        raise InputError(f"the option {name} must be a finite number, not {short(value)}")
    if abs(plain) > LARGEST:
        raise InputError(
            f"the option {name} must be a number from -{LARGEST:,.0f} to {LARGEST:,.0f}"
        )
    return plain
