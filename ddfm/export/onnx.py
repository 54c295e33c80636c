"""Writes graphs as ONNX files: standard operators, half-precision weights if that is lossless."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ddfm.errors import missing_extra
from ddfm.export.graphs import TASK, Graph, make_graph
from ddfm.priors import load_prior
from ddfm.progress import quieter
from ddfm.storage.files import write_bytes
from ddfm.storage.ours import MARK
from ddfm.storage.outputs import check_writable
from ddfm.version import __version__

if TYPE_CHECKING:
    from onnx import FunctionProto, GraphProto, ModelProto

__all__ = ["dynamic_shapes", "export_onnx", "exported", "onnx_of"]

LEAST, MOST = 32, 8192  # shortest and longest side of images, in pixels
TOLD = 36  # shortest side given to torch, which lays out smaller images in another way than ONNX
SMALL = 1000  # arrays of fewer weights are not stored in half precision


def export_onnx(name: str, path: Path, prior: Any = "default", task: str = TASK) -> None:
    """Writes the graph of this name (see `ddfm.export.graphs`) to a file."""
    check_writable(path)
    write_bytes(path, exported(name, prior, task))


def exported(name: str, prior: Any = "default", task: str = TASK) -> bytes:
    """The bytes of the file that `export_onnx` writes."""
    _check_installed()
    graph = make_graph(name, load_prior(prior).at("cpu", torch.float32), task)
    return onnx_of(graph, name).SerializeToString()


def onnx_of(graph: Graph, name: str) -> ModelProto:
    """The ONNX model of a graph, for images of any height and width."""
    with torch.no_grad(), _quietly():
        program = torch.export.export(
            graph.module.eval(),
            tuple(graph.inputs.values()),
            dynamic_shapes=dynamic_shapes(graph),
            strict=False,
        )
        converted = torch.onnx.export(
            program,
            dynamo=True,
            input_names=list(graph.inputs),
            output_names=[graph.output],
            verbose=False,
        )
    assert converted is not None
    model = converted.model_proto
    model.producer_name, model.producer_version = MARK, __version__
    model.graph.name = name
    about = {"ddfm": __version__, "graph": name, "multiple": str(graph.multiple), **graph.about}
    for key, value in about.items():
        model.metadata_props.add(key=key, value=value)
    _halve(model)
    _sum_in_turn(model)
    _forget_unused(model.graph)
    for part in (model.graph, *model.functions):
        _forget_origins(part)
    return model


def _check_installed() -> None:
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise missing_extra(error.name or "onnx", "export", "export to ONNX", error) from None


def dynamic_shapes(graph: Graph) -> tuple[dict[int, Any], ...]:
    """The dynamic shapes: all images have the same height and width; nothing else varies."""
    m = graph.multiple
    least, most = TOLD if m == 1 else -(-LEAST // m), MOST // m
    height, width = (torch.export.Dim(side, min=least, max=most) for side in ("height", "width"))
    sides: dict[int, Any] = {2: height if m == 1 else m * height, 3: width if m == 1 else m * width}
    return tuple(sides if x.ndim == 4 else {} for x in graph.inputs.values())


def _halve(model: ModelProto) -> None:
    """Stores weights that half precision represents exactly as such, and casts them to float32."""
    from onnx import TensorProto, helper, numpy_helper

    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if values.size < SMALL or not np.array_equal(half.astype(np.float32), values):
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(half, f"{name}.half"))
        cast = helper.make_node("Cast", [tensor.name], [name], f"{name}.cast", to=TensorProto.FLOAT)
        model.graph.node.insert(0, cast)


def _sum_in_turn(model: ModelProto) -> None:
    """Splits sums over several axes into sums of sums.

    Some runtimes, such as that of browsers, add up all pixels of an image one by one, which loses
    digits in float32.
    """
    from onnx import numpy_helper

    known = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    used = set()

    def turned(graph: GraphProto) -> None:
        nodes = list(graph.node)
        del graph.node[:]
        for node in nodes:
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    turned(attribute.g)
            axes = known.get(node.input[1]) if len(node.input) > 1 else None
            if node.op_type not in ("ReduceSum", "ReduceMean") or axes is None or axes.size < 2:
                graph.node.append(node)
                continue
            so_far = node.input[0]
            for axis in sorted(axes.tolist(), reverse=True):
                part = graph.node.add()
                part.CopyFrom(node)
                last = axis == min(axes)
                part.name = f"{node.name}.{axis}"
                part.input[0], part.input[1] = so_far, f"axis.{axis}"
                so_far = part.output[0] = node.output[0] if last else f"{node.output[0]}.{axis}"
                used.add(axis)

    turned(model.graph)
    for axis in used:
        model.graph.initializer.append(numpy_helper.from_array(np.array([axis]), f"axis.{axis}"))


def _forget_unused(graph: GraphProto) -> None:
    """Removes unused numbers, about which runtimes would warn."""
    used = {*_asked_for(graph), *(output.name for output in graph.output)}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _asked_for(graph: GraphProto) -> Iterator[str]:
    for node in graph.node:
        yield from node.input
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _asked_for(attribute.g)


def _forget_origins(graph: GraphProto | FunctionProto) -> None:
    """Removes the notes on which source file each node comes from."""
    for node in graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _forget_origins(attribute.g)
    for value in graph.value_info:
        del value.metadata_props[:]


@contextmanager
def _quietly() -> Iterator[None]:
    """Hides messages of the exporter about itself and about libraries not used here."""
    with quieter("torch.onnx", logging.ERROR), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
