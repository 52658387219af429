"""Load that is not the bottleneck: h2load, of nghttp2, speaks HTTP/2 in C and knows nothing of gRPC, so it costs some 10 us a call.

It sends one body over and over, and cannot tell an error from an answer, since both are HTTP 200. But an error has no
body: the bytes that came back say how many calls were answered.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_GRPC = ("-H", "content-type: application/grpc", "-H", "te: trailers")
_JSON = ("--h1", "-H", "content-type: application/json")
# Connections of a load at a fixed rate, and calls in flight on each, as far as the server lets it open so many (server.max_streams).
_CLIENTS = 8
_ENDLESS = 8192
# Connections where calls come one by one: h2load looks at a client's clock every 10 ms at most, and all clients that began together send together. So
# there are many, each of which calls seldom, and they begin 1 ms apart.
_SPREAD = 64
# Seconds that a run may take longer than it was planned to.
_PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Post:
    """What is sent: one gRPC call over HTTP/2, or JSON over HTTP/1.1."""

    path: str
    body: bytes
    is_grpc: bool = True


@dataclass(frozen=True, slots=True)
class Load:
    """What came of a run."""

    calls: int  # that ended
    seconds: float
    data_bytes: int  # of all answers' bodies
    p50_ms: float
    p99_ms: float

    @property
    def rate(self) -> float:
        """Calls a second."""
        return self.calls / self.seconds


class LoadError(RuntimeError):
    """h2load did not do what it was asked to."""


def require() -> None:
    """Ends the program with a message where h2load is not installed."""
    if shutil.which("h2load") is None:
        sys.exit(
            "h2load is missing, which makes the load: install nghttp2-client (Debian, Ubuntu) or nghttp2 (macOS)"
        )


def closed(port: int, post: Post, calls: int, clients: int, each: int) -> Load:
    """So many calls, `clients * each` in flight all the time, over `clients` connections."""
    return _run(port, post, ["-n", str(calls)], clients, each, _PATIENCE)


def flood(port: int, post: Post, seconds: float, clients: int, each: int) -> Load:
    """The same for a time; what is not answered when it ends is not counted."""
    return _run(port, post, [f"--duration={seconds:g}s"], clients, each, seconds + _PATIENCE)


def steady(port: int, post: Post, rate: float, seconds: float) -> Load:
    """Calls at a fixed rate, one by one, however long the answers take; waits for all of them."""
    calls = _SPREAD * round(rate / _SPREAD * seconds)
    much = ["-n", str(calls), f"--rps={rate / _SPREAD:.3f}", "-r", "1", "--rate-period=1ms"]
    return _run(port, post, much, _SPREAD, _ENDLESS, seconds + _PATIENCE)


def steady_for(port: int, post: Post, rate: float, seconds: float, clients: int = _CLIENTS) -> Load:
    """The same over so many connections, but that it hangs up when the time is over."""
    much = [f"--duration={seconds:g}s", f"--rps={rate / clients:.3f}"]
    return _run(port, post, much, clients, _ENDLESS, seconds + _PATIENCE)


def _run(port: int, post: Post, much: list[str], clients: int, each: int, timeout: float) -> Load:
    with tempfile.TemporaryDirectory() as folder:
        data, log = Path(folder) / "body", Path(folder) / "log"
        data.write_bytes(post.body)
        options = ["-c", str(clients), "-m", str(each), "-d", str(data), "--log-file", str(log)]
        headers = _GRPC if post.is_grpc else _JSON
        done = subprocess.run(
            ["h2load", *much, *options, *headers, f"http://127.0.0.1:{port}{post.path}"],
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        told = done.stdout
        if done.returncode:
            raise LoadError(f"h2load: {done.stderr.strip() or told.strip()}")
        took = np.loadtxt(log, usecols=2, ndmin=1) / 1000  # milliseconds
    seconds = re.search(r"finished in ([\d.]+)(us|ms|s|m)?,", told)
    calls = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", told)
    size = re.search(r"headers \(.*\((\d+)\) data", told)
    if seconds is None or calls is None or size is None:
        raise LoadError(f"h2load said something else than expected:\n{told}")
    unit = {"us": 1e-6, "ms": 1e-3, "m": 60.0}.get(seconds[2] or "s", 1.0)
    if not int(calls[1]):
        raise LoadError(f"no call succeeded:\n{told}")
    p50, p99 = np.percentile(took, [50, 99])
    return Load(int(calls[1]), float(seconds[1]) * unit, int(size[1]), float(p50), float(p99))
