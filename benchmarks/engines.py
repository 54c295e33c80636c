"""Whether another engine runs the prior's network faster than PyTorch, and at what cost.

    pip install onnxruntime openvino
    python benchmarks/engines.py PHOTOGRAPHS [--rounds 5] [--height 240] [--width 320]

The network, as exported by `ddfm export prior`, runs in ONNX Runtime and OpenVINO, in float32,
bfloat16 and 8-bit integers (all convolutions but the first and the last; their ranges are
determined on every second photograph), and is compared with PyTorch. For each the script prints
the mean PSNR in dB over the middle of the other photographs, for noise of 15, 25 and 50 grey
levels, and the processor seconds of one call on one thread, medians over rounds in which all take
turns.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import click
import numpy as np
import torch

from ddfm.export.onnx import export_onnx
from ddfm.priors import Prior, load_prior
from ddfm.priors.denoise import denoise
from ddfm.training.yardstick import SIGMAS, denoising_psnr, middle_crops

Network = Callable[[np.ndarray, np.ndarray], np.ndarray]
Feed = dict[str, np.ndarray]


def by_onnxruntime(path: Path) -> Network:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda x, t: session.run(None, {"x": x, "t": t})[0]


def by_openvino(path: Path, precision: str) -> Network:
    import openvino

    core = openvino.Core()
    options = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1}
    network = core.compile_model(core.read_model(path), "CPU", options)
    return lambda x, t: network([x, t])[0]


def in_integers(exported: Path, feeds: Iterator[Feed]) -> Path:
    """The file of the network with 8-bit convolutions, with the ranges of these inputs."""
    import onnx
    from onnxruntime import quantization as q
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Feeds(q.CalibrationDataReader):
        def get_next(self) -> Feed | None:
            return next(feeds, None)

    prepared, path = exported.with_name("prepared.onnx"), exported.with_name("int8.onnx")
    quant_pre_process(exported, prepared, skip_symbolic_shape=True)
    first, *_, last = (n.name for n in onnx.load(prepared).graph.node if n.op_type == "Conv")
    q.quantize_static(
        prepared,
        path,
        Feeds(),
        op_types_to_quantize=["Conv"],
        per_channel=True,
        activation_type=q.QuantType.QUInt8,
        nodes_to_exclude=[first, last],
        calibrate_method=q.CalibrationMethod.Percentile,
        extra_options={"CalibPercentile": 99.99},
    )
    return path


class Engine(Prior):
    """A prior whose network runs in another engine."""

    def __init__(self, network: Network, like: Prior) -> None:
        super().__init__(like.alphas_bar, multiple=like.multiple)
        self.network = network

    def __call__(self, x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(self.network(x_t.numpy(), t.numpy()))


def feeds_of(prior: Prior, crops: list[torch.Tensor]) -> Iterator[Feed]:
    """The inputs of the network when noise is removed from these crops."""
    asked: list[Feed] = []

    def noting(x: np.ndarray, t: np.ndarray) -> np.ndarray:
        asked.append({"x": x, "t": t})
        return x

    for sigma in SIGMAS:
        denoising_psnr(partial(denoise, Engine(noting, prior)), crops, sigma)
    return iter(asked)


@click.command(help=__doc__)
@click.argument("photographs", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--rounds", default=5)
@click.option("--height", default=240)
@click.option("--width", default=320)
def main(photographs: Path, rounds: int, height: int, width: int) -> None:
    torch.set_num_threads(1)
    crops = middle_crops(photographs, channels=1)
    prior = load_prior("default")
    with tempfile.TemporaryDirectory() as folder:
        exported = Path(folder) / "prior.onnx"
        export_onnx("prior", exported)
        integers = in_integers(exported, feeds_of(prior, crops[::2]))
        engines = {
            "PyTorch, float32": prior,
            "PyTorch, bfloat16": load_prior("default", dtype=torch.bfloat16),
        } | {
            name: Engine(network, prior)
            for name, network in {
                "ONNX Runtime, float32": by_onnxruntime(exported),
                "ONNX Runtime, 8 bits": by_onnxruntime(integers),
                "OpenVINO, float32": by_openvino(exported, "f32"),
                "OpenVINO, bfloat16": by_openvino(exported, "bf16"),
                "OpenVINO, 8 bits and bfloat16": by_openvino(integers, "bf16"),
            }.items()
        }
        seconds = timed(engines, rounds, (height, width))
        print("| | sigma 15 | sigma 25 | sigma 50 | s | |\n" + "| --- " * 6 + "|")
        for name, engine in engines.items():
            method = partial(denoise, engine)
            quality = [f"{denoising_psnr(method, crops[1::2], sigma):.2f}" for sigma in SIGMAS]
            ratio = seconds["PyTorch, float32"] / seconds[name]
            print(f"| {name} | {' | '.join(quality)} | {seconds[name]:.3f} | {ratio:.2f} |")


def timed(engines: dict[str, Prior], rounds: int, shape: tuple[int, int]) -> dict[str, float]:
    """Processor seconds of a call of each, after a first call that is not counted."""
    x, t = torch.randn(1, 1, *shape), torch.tensor([60])
    taken: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(rounds + 1):
        for name, engine in engines.items():
            began = time.process_time()
            engine(x, t)
            taken[name].append(time.process_time() - began)
    return {name: statistics.median(values[1:]) for name, values in taken.items()}


if __name__ == "__main__":
    main()
