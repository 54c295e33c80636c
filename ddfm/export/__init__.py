"""ONNX files of what fuses, for programs without Python: browsers, small boards, C++."""

from __future__ import annotations

__all__ = ["GRAPHS"]

GRAPHS = ("default", "tone", "dmfuse", "prior", "noise", "color")
