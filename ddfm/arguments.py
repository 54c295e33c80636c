"""Arguments as the rest of ddfm may rely on them: plain Python, ready for JSON, or an error.

Who calls from a notebook has NumPy's numbers, and who calls from a form has text.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ddfm.errors import DdfmError

__all__ = ["plain_options", "text", "whole_number"]

LARGEST = 1e6  # far beyond any use, and its square within float32
# Options that are two numbers or more: the most that there may be, and how an error says it.
WORDS = ("saliency",)  # options that are words
SEVERAL = {"gains": (2, "two numbers"), "curve": (math.inf, "two or more numbers")}


def text(name: str, value: Any) -> str:
    """A word, such as the name of a task."""
    if not isinstance(value, str):
        raise DdfmError(f"{name} must be a word, not {value!r}")
    return value


def whole_number(name: str, value: Any, bounds: str = "") -> int:
    """An int, of anything that is one, text included; `bounds` is for the message only."""
    try:
        number = int(value)
        if isinstance(value, str) or number == value:
            return number
    except (TypeError, ValueError, OverflowError):
        pass
    raise DdfmError(f"{name} must be a whole number{bounds}, not {value!r}")


def plain_options(options: Any) -> dict[str, Any]:
    """Names with numbers, with several numbers or words where these belong, or None."""
    if options is None:
        return {}
    if not isinstance(options, Mapping):
        raise DdfmError(f"options must be a dictionary of names and numbers, not {options!r}")
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
    raise DdfmError(f"the option {name} must be {words}, not {value!r}")


def _number(name: str, value: Any) -> float:
    plain = value.item() if hasattr(value, "item") and np.size(value) == 1 else value
    if not isinstance(plain, (int, float)) or plain != plain:  # isnan would fail for 10**400
        raise DdfmError(f"the option {name} must be a finite number, not {value!r}")
    if abs(plain) > LARGEST:
        raise DdfmError(
            f"the option {name} must be a number from -{LARGEST:,.0f} to {LARGEST:,.0f}"
        )
    return plain
