"""`rankd serve`: the service on one data folder, until it is told to stop."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from rankd.commands import fail
from server import logs
from server.config_file import ConfigError, load
from server.files import DataFolder, InUseError
from server.supervisor import PortTakenError, Supervisor

if TYPE_CHECKING:
    from server.sections import ServerConfig

FILE = "rankd.yaml"


def serve(data_dir: Path, config: Path | None, given: dict[str, Any]) -> int:
    """Returns the exit code when the service has stopped.

    Args:
        given: settings of the section `server` from the command line; None where an option was left out.
    """
    path = config or find_config(data_dir)
    overrides = {name: value for name, value in given.items() if value is not None}
    try:
        settings = load(path, {"server": overrides} if overrides else None)
    except ConfigError as error:
        fail(str(error), os.EX_CONFIG)
    _check_edge(settings.server)
    logs.configure("supervisor")
    structlog.get_logger("serve").info(
        "configuration", file=str(path) if path else "none: every setting has its default"
    )
    try:
        return asyncio.run(Supervisor(settings, DataFolder(data_dir)).run())
    except InUseError:
        fail(f"{data_dir} is in use by another rankd serve")
    except PortTakenError as error:
        fail(str(error))
    except OSError as error:
        fail(f"{data_dir}: {error.strerror or error}")


def _check_edge(server: ServerConfig) -> None:
    """Ends the command where no worker could ever start."""
    if server.edge == "envoy":
        from server.edges.envoy_process import EdgeMissingError, check_installed

        try:
            check_installed()
        except EdgeMissingError as error:
            fail(str(error), os.EX_CONFIG)
    files = server.tls.model_dump() if server.tls else {}
    for name, path in files.items():
        if path is not None and not os.access(path, os.R_OK):
            fail(f"server.tls.{name}: {path} is not there, or may not be read", os.EX_CONFIG)


def find_config(data_dir: Path) -> Path | None:
    """rankd.yaml in the data folder, else in the working folder, else None."""
    for path in (data_dir / FILE, Path(FILE)):
        if path.is_file():
            return path
    return None
