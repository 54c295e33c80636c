"""Graphs of one operation, in place of those that take `ddfm export` minutes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from onnx import NodeProto, TensorProto, helper


def write_graphs(folder: Path) -> None:
    """A method that averages, a tone without effect, a noise of 0.5, and no colours."""
    node = helper.make_node
    mean = [node("Add", ["a", "b"], ["sum"]), node("Mul", ["sum", "half"], ["fused"])]
    metadata = [("pad", "16"), ("clean", "0.4")]
    made = {
        "default": graph(mean, ["a", "b"], "fused", metadata),
        "tone": graph([node("Identity", ["fused"], ["toned"])], ["fused"], "toned"),
        "noise": graph([node("Identity", ["half"], ["noise"])], ["x"], "noise"),
        "color": graph(
            [
                node("Sub", ["a", "a"], ["zero"]),
                node("Sub", ["b", "b"], ["nothing"]),
                node("Add", ["zero", "nothing"], ["none"]),
                node("Add", ["fused", "none"], ["rgb"]),
            ],
            ["fused", "a", "b"],
            "rgb",
        ),
    }
    for name, data in made.items():
        (folder / f"{name}.onnx").write_bytes(data)


def graph(
    nodes: Sequence[NodeProto],
    inputs: Iterable[str],
    output: str,
    about: Iterable[tuple[str, str]] = (),
) -> bytes:
    """A file with these nodes, and their metadata."""
    shape = [1, None, None, None]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in inputs]
    out = helper.make_tensor_value_info(output, TensorProto.FLOAT, None)
    half = helper.make_tensor("half", TensorProto.FLOAT, [], [0.5])
    made = helper.make_graph(nodes, "made", values, [out], initializer=[half])
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    for key, value in about:
        model.metadata_props.add(key=key, value=value)
    data: bytes = model.SerializeToString()
    return data
