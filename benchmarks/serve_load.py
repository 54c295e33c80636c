"""A service under load, and with malformed requests.

Run from the root of the repository. The script starts its own service on this machine:

    python -m benchmarks.serve_load            # 200 requests by 16 clients, 10,000 malformed bodies

Prints how many requests got which status code, and the memory before and after.
"""

from __future__ import annotations

import argparse
import collections
import io
import json
import random
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

__all__ = ["main", "malformed"]

PORT = 8765
OPTIONS = json.dumps({"likelihood": "paper", "steps": 2})

HEADERS = (
    b'Content-Disposition: form-data; name="sources"',
    b'Content-Disposition: form-data; name="sources"; filename=""',
    b'Content-Disposition: form-data; name="options"',
    b'Content-Disposition: form-data; name="format"',
    b'Content-Disposition: form-data; name="sources"; filename="../../a.csv"',
    b'Content-Disposition: form-data; name="sources"; filename="a\x00b.npy"',
    b"Content-Disposition: form-data",
    b"Content-Type: text/plain; charset=utf-99",
    b"",
)
CONTENTS = (
    b"{}",
    b"[",
    b'{"steps": 1e999}',
    b"\xff\xfe",
    b"",
    b"1,2\n3",
    b"\x93NUMPY\x01\x00v\x00{",
)
KINDS = ("application/json", "text/plain", "multipart/form-data", "multipart/form-data; boundary=")


def malformed(good: bytes, generator: random.Random) -> tuple[bytes, str]:
    """A malformed body and its content type, made from a valid body of a form."""
    boundary = good[2 : good.index(b"\r\n")]
    kind = f"multipart/form-data; boundary={boundary.decode()}"
    body = bytearray(good)
    way = generator.randrange(5)
    if way == 0:  # changed bytes
        for _ in range(generator.randint(1, 8)):
            body[generator.randrange(len(body))] = generator.randrange(256)
    elif way == 1:  # truncated
        del body[generator.randrange(len(body)) :]
    elif way == 2:  # a missing or repeated part
        at, end = sorted(generator.randrange(len(body)) for _ in range(2))
        body[at:at] = body[at:end] if generator.random() < 0.5 else b""
        if generator.random() < 0.5:
            del body[at:end]
    elif way == 3:  # arbitrary parts
        parts = [
            b"--%b\r\n%b\r\n\r\n%b\r\n"
            % (boundary, generator.choice(HEADERS), generator.choice(CONTENTS))
            for _ in range(generator.randint(0, 5))
        ]
        body = bytearray(b"".join(parts) + b"--%b--\r\n" % boundary)
    else:
        kind = generator.choice(KINDS)
    return bytes(body), kind


def form(side: int) -> tuple[bytes, str]:
    """A valid body with two pictures."""
    parts = [b'Content-Disposition: form-data; name="options"\r\n\r\n' + OPTIONS.encode()]
    for seed, name in enumerate(("ir.png", "vis.png")):
        values = np.random.default_rng(seed).integers(0, 256, (side, side), dtype=np.uint8)
        file = io.BytesIO()
        Image.fromarray(values).save(file, "PNG")
        head = f'Content-Disposition: form-data; name="sources"; filename="{name}"\r\n\r\n'
        parts.append(head.encode() + file.getvalue())
    body = b"".join(b"--8f3a\r\n" + part + b"\r\n" for part in parts) + b"--8f3a--\r\n"
    return body, "multipart/form-data; boundary=8f3a"


def status_of(body: bytes, kind: str, port: int = PORT) -> int:
    """The status code of the answer; waits and repeats if the service asks for it."""
    address = f"http://127.0.0.1:{port}/fuse"
    while True:
        request = urllib.request.Request(address, body, {"Content-Type": kind})
        try:
            with urllib.request.urlopen(request, timeout=300) as answer:
                answer.read()
                return int(answer.status)
        except urllib.error.HTTPError as error:
            if error.code != 503:
                return error.code
            time.sleep(float(error.headers["Retry-After"]))


def megabytes(pid: int) -> float:
    """The memory of a process and its children; on Linux only."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    own = int(found[1]) / 1024 if found else 0.0
    return own + sum(megabytes(int(child)) for child in children)


def under_load(requests: int, clients: int, bad: int) -> None:
    """Run both tests, one after the other."""
    command = [sys.executable, "-m", "ddfm", "serve", "--port", str(PORT), "--prior", "gaussian"]
    with subprocess.Popen([*command, "--queue", "16"]) as service:
        try:
            good = form(256)
            while True:
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{PORT}/healthz")
                    break
                except urllib.error.URLError:
                    time.sleep(0.5)
            with ThreadPoolExecutor(clients) as pool:
                for _ in range(2):
                    began = time.monotonic()
                    answers = pool.map(lambda _: status_of(*good), range(requests))
                    counts = collections.Counter(answers)
                    seconds = time.monotonic() - began
                    print(dict(counts), f"{seconds:.0f} s, {megabytes(service.pid):.0f} MB")
            generator = random.Random(0)
            small = form(16)[0]
            bodies = [malformed(small, generator) for _ in range(bad)]
            with ThreadPoolExecutor(4) as pool:
                print(dict(collections.Counter(pool.map(lambda each: status_of(*each), bodies))))
            print(f"{megabytes(service.pid):.0f} MB")
        finally:
            service.terminate()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--bad", type=int, default=10_000, help="malformed bodies")
    args = parser.parse_args()
    under_load(args.requests, args.clients, args.bad)


if __name__ == "__main__":
    main()
