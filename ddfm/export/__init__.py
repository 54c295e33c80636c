"""Exports parts of ddfm as ONNX files, for programs without Python: browsers, boards, C++."""

from __future__ import annotations

__all__ = ["GRAPHS"]

GRAPHS = ("default", "tone", "dmfuse", "prior", "noise", "color")
