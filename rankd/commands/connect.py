"""A running service, as an operator's command finds it."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc

from rankd.commands import fail
from rankd.errors import InvalidArgument
from rankd.tls import TLS
from rankd.v1.admin_pb2_grpc import AdminStub
from server.files import DataFolder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DEFAULT_ADDRESS = "localhost:50051"
# Seconds for one call. The longest reads all checkpoints that are kept.
TIMEOUT = 30.0
# Models may be larger than gRPC's 4 MB.
_OPTIONS = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))


def address_of(address: str | None, data_dir: Path | None) -> str:
    """host:port from --address, from what runs on --data-dir, or the default."""
    if address is not None:
        return address
    if data_dir is None:
        return DEFAULT_ADDRESS
    try:
        service = json.loads(DataFolder(data_dir).service.read_bytes())
        host, port = str(service["host"]).strip("[]"), int(service["port"])
    except (OSError, ValueError, KeyError, TypeError):
        fail(f"no rankd serve runs on {data_dir}; start one, or give --address")
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # where it listens, not where we call
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@dataclass(frozen=True, slots=True)
class Service:
    """Which service, and which of its apps, as the command line says it."""

    address: str | None = None
    data_dir: Path | None = None
    app: str = ""  # empty: its only one
    tls: TLS | None = None

    @classmethod
    def of(
        cls,
        address: str | None,
        data_dir: Path | None,
        app: str,
        ca: Path | None,
        certificate: Path | None,
        key: Path | None,
    ) -> Service:
        """What the options say; ends the command where they do not fit together."""
        if ca is None:
            if certificate is not None or key is not None:
                fail("--certificate and --key need --ca, which says that the connection is by TLS")
            return cls(address, data_dir, app)
        try:
            return cls(address, data_dir, app, TLS(ca, certificate, key))
        except InvalidArgument as error:
            fail(str(error))

    def connect(self, target: str) -> grpc.Channel:
        if self.tls is None:
            return grpc.insecure_channel(target, options=_OPTIONS)
        try:
            credentials = self.tls.credentials()
        except OSError as error:
            fail(f"{error.filename}: {error.strerror}")
        return grpc.secure_channel(target, credentials, options=_OPTIONS)


@contextmanager
def admin(service: Service) -> Iterator[AdminStub]:
    """The service's Admin calls; one that fails ends the command with a message."""
    target = address_of(service.address, service.data_dir)
    with service.connect(target) as channel:
        try:
            yield AdminStub(channel)  # type: ignore[no-untyped-call]  # generated code
        except grpc.RpcError as error:
            code, details = error.code(), error.details() or ""
            if code == grpc.StatusCode.UNAVAILABLE and "onnect" in details:  # gRPC's own words
                fail(
                    f"no rankd answers at {target}: is it running there? (--address, --data-dir; --ca where it speaks TLS)"
                )
            fail(f"{target}: {code.name}: {details}")
