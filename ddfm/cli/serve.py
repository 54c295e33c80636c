"""ddfm serve."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import asdict
from typing import Any

import click

from ddfm.cli.options import device_option, limit_of_pixels, port_option, prior_option
from ddfm.cli.writing import say

__all__ = ["serve"]

LOCAL = ("127.0.0.1", "localhost", "::1")
ENDING = ("SIGINT", "SIGTERM", "SIGHUP")


@click.command(short_help="Run a service that fuses over HTTP.")
@click.option(
    "--host",
    metavar="ADDRESS",
    default=LOCAL[0],
    show_default=True,
    help="The address to listen on.",
)
@port_option(8000)
@click.option(
    "--workers",
    default=1,
    show_default=True,
    type=click.IntRange(1, 256),
    help="Number of worker processes; each loads the prior.",
)
@click.option(
    "--queue",
    default=16,
    show_default=True,
    help="Requests that a worker accepts at a time; further ones are answered with 503, try again.",
)
@click.option(
    "--max-upload",
    default=200.0,
    show_default=True,
    help="The largest request in megabytes, all files together.",
)
@click.option(
    "--seconds",
    default=120.0,
    show_default=True,
    help="The longest time in seconds that a request may take.",
)
@prior_option("The prior, as for `ddfm fuse`; see `ddfm priors list`.")
@device_option
@click.option(
    "--dtype",
    metavar="NAME",
    default="auto",
    show_default=True,
    help="Number format of the network, as for `ddfm fuse`.",
)
@limit_of_pixels(50)
def serve(
    host: str,
    port: int,
    workers: int,
    queue: int,
    max_upload: float,
    seconds: float,
    prior: str,
    device: str,
    dtype: str,
) -> None:
    """Run a service that answers POST /fuse, with two or more files, with the fused image.

    It writes no files. It listens on this machine only, unless --host is given. There is no
    password: if others can reach it, put a proxy with one in front. OpenAPI is at /openapi.json, a
    form at /, metrics for Prometheus at /metrics.

    \b
    Examples:
      ddfm serve
      curl -F sources=@ir.png -F sources=@vis.png localhost:8000/fuse -o fused.png
      curl -F sources=@a.tif -F sources=@b.tif -F 'options={"task": "medical"}' -F format=tif
        localhost:8000/fuse -o fused.tif
    """
    from ddfm.arguments import positive
    from ddfm.errors import missing_extra
    from ddfm.numerics.device import check_device, check_dtype, find_device
    from ddfm.priors.catalog import check_prior

    check_device(device)
    check_dtype(dtype)
    check_prior(prior)
    upload = round(1e6 * positive("--max-upload", max_upload))
    try:
        import uvicorn  # noqa: F401

        from ddfm.serve.app import SETTINGS, free_port
        from ddfm.serve.limits import Limits
        from ddfm.serve.work import Service
    except ImportError as error:
        raise missing_extra(error.name or "fastapi", "serve", "a service", error) from None
    find_device(device)
    service = Service(
        prior=prior,
        device=device,
        dtype=dtype,
        threads=max(1, (os.cpu_count() or 1) // workers) if workers > 1 else 0,
        hosts=LOCAL if host in LOCAL else ("*",),
        limits=Limits(queue, upload, seconds),
    )
    if workers > 1:
        from ddfm.priors import load_prior

        load_prior(prior)  # uvicorn starts workers that fail again and again
    port = free_port(host, port)
    os.environ[SETTINGS] = json.dumps(asdict(service))
    say(f"http://{f'[{host}]' if ':' in host else host}:{port}/ (once the prior is loaded)")
    _run(host, port, workers, seconds)


def _run(host: str, port: int, workers: int, seconds: float) -> None:
    """Runs the service until a signal ends it."""
    run = _run_one if workers == 1 else _run_workers
    run(
        "ddfm.serve.app:from_environment",
        factory=True,
        host=host,
        port=port,
        workers=workers,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=round(seconds) + 1,
    )


def _run_one(app: str, **settings: Any) -> None:
    """Like `uvicorn.run`, but finishes accepted requests after SIGHUP, too, as after SIGTERM."""
    import uvicorn

    number = getattr(signal, "SIGHUP", None)  # Windows has none
    if number is None or not callable(usual := signal.getsignal(number)):  # nohup ignores it
        uvicorn.run(app, **settings)
        return
    before = signal.getsignal(signal.SIGTERM)

    def end(number: int, frame: Any) -> None:
        now = signal.getsignal(signal.SIGTERM)  # that of uvicorn, while it runs
        (now if callable(now) and now is not before else usual)(number, frame)

    signal.signal(number, end)
    try:
        uvicorn.run(app, **settings)
    finally:
        signal.signal(number, usual)


def _run_workers(app: str, **settings: Any) -> None:
    """Like `uvicorn.run`, but ends by the signal that ends the workers, as other commands do.

    uvicorn returns as if all were done, even if no worker starts, and SIGHUP does not end it.
    """
    import uvicorn
    from uvicorn.supervisors import Multiprocess

    from ddfm.errors import HostError

    config = uvicorn.Config(app, **settings)
    numbers = [getattr(signal, name) for name in ENDING if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    supervisor = Multiprocess(config, [config.bind_socket()])
    received: list[int] = []

    def end(number: int, _: object) -> None:
        received.append(number)
        supervisor.should_exit.set()

    for number, handler in before.items():  # replaces those of uvicorn
        signal.signal(number, handler if handler is signal.SIG_IGN else end)
    supervisor.run()
    for number, handler in before.items():
        signal.signal(number, handler)
    if not received:
        raise HostError("the workers of the service do not start")
    signal.raise_signal(received[0])
