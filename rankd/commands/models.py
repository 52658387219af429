"""`rankd models`: the models of a running service, and which of them is served."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import typer

from rankd.commands import fail
from rankd.commands.connect import TIMEOUT, admin
from rankd.v1 import admin_pb2 as api
from server.files import replace

if TYPE_CHECKING:
    from pathlib import Path

    from rankd.commands.connect import Service


def show(service: Service) -> int:
    """Every version that can be rolled back to, pinned or exported, the oldest first."""
    with admin(service) as stub:
        reply = stub.ListModels(api.ListModelsRequest(app=service.app), timeout=TIMEOUT)
    typer.echo(f"{'version':>12}  {'epoch':>5}  {'created (UTC)':<19}  {'state':<12}")
    for model in reply.models:
        created = datetime.fromtimestamp(model.created, UTC).strftime("%Y-%m-%d %H:%M:%S")
        marks = (("served", model.served), ("pinned", model.pinned))
        said = ", ".join(word for word, is_so in marks if is_so)
        line = f"{model.model_version:>12}  {model.epoch:>5}  {created}  {model.state_sha256[:12]}  {said}"
        typer.echo(line.rstrip())
    return 0


def roll_back(service: Service, version: int) -> int:
    request = api.RollBackRequest(app=service.app, model_version=version)
    with admin(service) as stub:
        reply = stub.RollBack(request, timeout=TIMEOUT)
    return _done(f"rolled back to version {version}; learning goes on from there", reply)


def promote(service: Service, path: Path) -> int:
    try:
        model = path.read_bytes()
    except OSError as error:
        fail(f"{path}: {error.strerror}")
    with admin(service) as stub:
        reply = stub.Promote(api.PromoteRequest(app=service.app, model=model), timeout=TIMEOUT)
    return _done("promoted; learning goes on from the imported model, in a new epoch", reply)


def pin(service: Service, version: int) -> int:
    request = api.PinRequest(app=service.app, model_version=version)
    with admin(service) as stub:
        reply = stub.Pin(request, timeout=TIMEOUT)
    what = f"version {version}" if version else "the version that is served now"
    return _done(f"pinned {what}; learning goes on beside it", reply)


def unpin(service: Service) -> int:
    with admin(service) as stub:
        reply = stub.Unpin(api.UnpinRequest(app=service.app), timeout=TIMEOUT)
    return _done("unpinned; what is learned is served again", reply)


def export(service: Service, version: int, output: Path) -> int:
    request = api.ExportModelRequest(app=service.app, model_version=version)
    with admin(service) as stub:
        model = stub.ExportModel(request, timeout=TIMEOUT).model
    try:
        replace(output, model, durable=True)
    except OSError as error:
        fail(f"{output}: {error.strerror}")
    typer.echo(
        f"{len(model)} bytes to {output}; `rankd models promote` takes it, here or elsewhere"
    )
    return 0


def _done(what: str, reply: api.PromotionReply) -> int:
    typer.echo(f"{what} (record {reply.sequence}, state {reply.state_sha256[:12]})")
    return 0
