"""What all training runs share: steps, learning rate, history, and checkpoints to continue from.

Crops and noise of a step depend only on its number, so a killed run continues from its last
checkpoint as if it had never stopped.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from ddfm.errors import InputError, disk_explained, one_line
from ddfm.progress import lines_where_no_bar_is
from ddfm.storage.checksum import sha256_of
from ddfm.storage.files import make_folder, write_bytes, write_json
from ddfm.storage.ours import JSON_MARK
from ddfm.storage.outputs import check_writable
from ddfm.training.drawing import draw_curve

__all__ = ["TrainingRun", "prepare", "what_is_read"]

MINUTE = 60.0  # seconds between two lines of progress where there is no terminal
HISTORY, CURVE, CHECKPOINT = "history.json", "curve.png", "checkpoint.pt"
REPORTING = ("report_every", "sample_every", "save_every")  # settings that may change in a run
READ = ("data", "init")  # from `what_is_read`; runs begun by earlier versions lack it


def prepare(out: Path, settings: Any, weights: str) -> None:
    """Makes the folder of a run; raises if it would replace a file that ddfm did not write."""
    make_folder(out)
    drawn = {*range(settings.sample_every, settings.steps, settings.sample_every), settings.steps}
    for name in (HISTORY, CURVE, CHECKPOINT, weights, *map(_samples, sorted(drawn))):
        check_writable(out / name)


def what_is_read(files: Sequence[Path], init: str | Path | None) -> dict[str, str | None]:
    """What must not change in a run: its files, by name and size, and the weights it began with.

    Their folder may be moved in between.
    """
    with disk_explained("read the training data"):
        lines = sorted(f"{path.name} {path.stat().st_size}\n" for path in files)
    data = hashlib.sha256(os.fsencode("".join(lines))).hexdigest()
    return {"data": data, "init": None if init is None else sha256_of(init)}


def _samples(step: int) -> str:
    return f"samples-{step:06d}.png"


class TrainingRun:
    """The part of a training run that does not depend on what is trained.

    Subclasses define the methods that are not implemented here. `settings` is a dataclass with
    seed, steps, warmup, and how often to report, sample and save.
    """

    colors: ClassVar[Mapping[str, str]]  # colours of the lines of the curve, by what was measured

    def __init__(self, settings: Any, out: Path, device: torch.device, **also: str | None) -> None:
        """`also` is what else must not change in a run, such as the fingerprint of the prior."""
        torch.manual_seed(settings.seed)
        torch.set_flush_denormal(True)  # gradients near 1e-40 are slow and useless
        self.settings, self.out, self.device = settings, out, device
        kept = {k: v for k, v in asdict(settings).items() if k not in REPORTING}
        self.design = json.loads(json.dumps(kept | also))
        self.step = 0
        self.seconds = 0.0
        self.history: list[dict[str, float]] = []
        self.losses: list[float] = []

    def parts(self) -> dict[str, Any]:
        """Everything with state to be saved, by name: networks, optimisers, averages."""
        raise NotImplementedError

    def measured(self) -> dict[str, float]:
        """Measured values for the history."""
        raise NotImplementedError

    def trained(self) -> nn.Module:
        """The network whose weights are the result."""
        raise NotImplementedError

    def write_weights(self) -> None:
        """Writes the weights as they are so far, for use, in half precision."""
        raise NotImplementedError

    def draw(self, path: Path) -> None:
        """Draws an image of what the network can do so far."""
        raise NotImplementedError

    def train_step(self, data: Any) -> float:
        """Does one step on some of the data, within `self.timed()`; returns its loss."""
        raise NotImplementedError

    def train(self, data: Any, progress: bool | None, reports: bool = True) -> None:
        """Does all remaining steps. Of several processes, only one reports."""
        steps = self.settings.steps
        if reports and self.step == steps:
            self._check_weights()
            self.write_weights()  # they may have been deleted since
        how = {"desc": "training: ", "leave": True, "total": steps, "initial": self.step}
        bar = lines_where_no_bar_is(progress, MINUTE, **how)
        while self.step < steps:
            loss = self.train_step(data)
            if not math.isfinite(loss):
                raise self._diverged("the loss is")
            self.losses.append(loss)
            bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
            bar.update()
            if reports:
                self.report()
        bar.close()

    def rate(self) -> float:
        """The share of the learning rate at this step: a linear warm-up, then a cosine decay."""
        s = self.settings
        warm = min(1.0, (self.step + 1) / max(1, s.warmup))
        return warm * 0.5 * (1 + math.cos(math.pi * self.step / s.steps))

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Counts a step and its seconds."""
        began = time.monotonic()
        yield
        self.step += 1
        self.seconds += time.monotonic() - began

    def report(self) -> None:
        """Measures, draws and saves when it is time to."""
        if any(self._due(getattr(self.settings, every)) for every in REPORTING):
            self._check_weights()
        if self._due(self.settings.report_every):
            entry = {
                "step": self.step,
                "seconds": round(self.seconds),
                "loss": round(float(np.mean(self.losses)), 4),
            }
            self.history.append(entry | self.measured())
            self.losses.clear()
            write_json(self.out / HISTORY, {"history": self.history})
            draw_curve(self.history, self.out / CURVE, self.colors)
        if self._due(self.settings.save_every):
            self.save()
            self.write_weights()
        if self._due(self.settings.sample_every):  # last, because it may take minutes
            self.draw(self.out / _samples(self.step))

    def _due(self, every: int) -> bool:
        return self.step % every == 0 or self.step == self.settings.steps

    def _check_weights(self) -> None:
        """Raises if the weights are not finite as they are written, so that good ones are kept."""
        weights = self.trained().state_dict().values()
        if not all(bool(weight.half().isfinite().all()) for weight in weights):
            raise self._diverged("the weights are")

    def _diverged(self, what: str) -> InputError:
        return InputError(
            f"training diverged: {what} not finite (NaN or infinity) at step {self.step}; lower "
            "the learning rate"
        )

    @property
    def _checkpoint(self) -> Path:
        return self.out / CHECKPOINT

    def save(self) -> None:
        state = JSON_MARK | {
            "design": json.dumps(self.design),
            "step": self.step,
            "seconds": self.seconds,
            "history": self.history,
            "losses": self.losses,
            "parts": {name: part.state_dict() for name, part in self.parts().items()},
        }
        buffer = io.BytesIO()  # torch does not say that a disk is full when it writes to it
        torch.save(state, buffer)
        write_bytes(self._checkpoint, buffer.getbuffer())

    def resume(self) -> bool:
        """Continues from the checkpoint, if there is one; returns whether there is."""
        if not self._checkpoint.exists():
            return False
        try:
            state = torch.load(self._checkpoint, map_location=self.device, weights_only=True)
            design = dict(json.loads(state["design"]))
        except Exception as error:  # the file may hold anything
            raise InputError(
                f"cannot continue from {self._checkpoint}: it is not a checkpoint of ddfm "
                f"({one_line(error)}); choose another --out"
            ) from None
        design = {name: self.design[name] for name in READ if name in self.design} | design
        if design != self.design:
            names = sorted(design.keys() | self.design.keys())
            others = [name for name in names if design.get(name) != self.design.get(name)]
            raise InputError(
                f"{self._checkpoint} was made with other settings ({', '.join(others)}); choose "
                "another --out, and --init to start from the weights of this run"
            )
        try:
            for name, part in self.parts().items():
                part.load_state_dict(state["parts"][name])
            self.step, self.seconds = int(state["step"]), float(state["seconds"])
            self.history, self.losses = list(state["history"]), list(state["losses"])
        except Exception as error:
            raise InputError(
                f"cannot continue from {self._checkpoint}: {one_line(error)}; choose another --out"
            ) from None
        return True
