"""How a client trusts a server, and shows who it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc

from rankd.errors import InvalidArgument

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class TLS:
    """An encrypted connection. Files are PEM.

    Args:
        ca: roots of the server's certificate. None: those that gRPC brings, of public authorities.
        certificate: the client's own, with those between it and its root, for a server with `server.tls.client_ca`.
        key: the certificate's private key.

    Raises:
        InvalidArgument: one of certificate and key without the other.
    """

    ca: Path | str | None = None
    certificate: Path | str | None = None
    key: Path | str | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise InvalidArgument(
                "tls: certificate and key belong together; one of them is missing"
            )

    def credentials(self) -> grpc.ChannelCredentials:
        """The same as gRPC takes it.

        Raises:
            OSError: a file cannot be read.
        """
        return grpc.ssl_channel_credentials(
            _read(self.ca), _read(self.key), _read(self.certificate)
        )


def _read(path: Path | str | None) -> bytes | None:
    if path is None:
        return None
    with open(path, "rb") as file:
        return file.read()
