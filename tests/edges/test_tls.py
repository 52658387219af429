"""TLS and mTLS, with certificates that openssl makes for the test."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from typer.testing import CliRunner

from rankd import TLS, AsyncClient, Client
from rankd.cli import app
from rankd.errors import Unavailable
from tests.edges.conftest import configured
from tests.server.harness import Service, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Authority:
    """Makes certificates in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.ca = folder / "ca.pem"
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        self._key = key
        self._openssl(
            "req",
            "-x509",
            *key,
            "-keyout",
            "ca.key",
            "-out",
            "ca.pem",
            "-subj",
            "/CN=ca",
            "-days",
            "2",
        )

    def issue(self, name: str) -> tuple[Path, Path]:
        """Certificate and key, for a server on this machine or a client."""
        self._openssl(
            "req",
            *self._key,
            "-keyout",
            f"{name}.key",
            "-out",
            f"{name}.csr",
            "-subj",
            f"/CN={name}",
        )
        extensions = self.folder / "extensions"
        extensions.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        self._openssl(
            "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
            "-out", f"{name}.pem", "-days", "2", "-extfile", "extensions",
        )  # fmt: skip
        return self.folder / f"{name}.pem", self.folder / f"{name}.key"

    def _openssl(self, *arguments: str) -> None:
        command = ["openssl", *arguments]
        subprocess.run(command, cwd=self.folder, check=True, capture_output=True, timeout=60)


class SecureService(Service):
    """The harness's own calls by TLS, too."""

    def __init__(self, folder: Path, config: dict[str, Any], tls: TLS) -> None:
        super().__init__(folder, config)
        self.tls = tls

    def connect(self) -> grpc.Channel:
        channel = grpc.secure_channel(f"localhost:{self.port}", self.tls.credentials())
        self._channels.append(channel)
        return channel


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls") / "authority")


@pytest.fixture(scope="module", params=[False, True], ids=["tls", "mtls"])
def secure(
    request: pytest.FixtureRequest,
    edge: str,
    authority: Authority,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[SecureService]:
    certificate, key = authority.issue("server")
    tls = {"certificate": str(certificate), "key": str(key)}
    mine = TLS(ca=authority.ca)
    if request.param:
        tls["client_ca"] = str(authority.ca)
        mine = TLS(authority.ca, *authority.issue("client"))
    folder = tmp_path_factory.mktemp(edge) / "data"
    with SecureService(folder, configured(edge, tls=tls), mine) as running:
        yield running


def test_a_client(secure: SecureService) -> None:
    with Client(f"localhost:{secure.port}", app="default", tls=secure.tls, timeout=20) as client:
        decision = client.rank({}, ["a", "b"])
        assert client.reward(decision, 1.0)


async def _rank(secure: SecureService) -> str:
    target = f"localhost:{secure.port}"
    async with AsyncClient(target, app="default", tls=secure.tls, timeout=20) as client:
        return (await client.rank({}, ["a", "b"])).action


def test_an_asyncio_client(secure: SecureService) -> None:
    import asyncio

    assert asyncio.run(_rank(secure)) in ("a", "b")


def test_the_command_line(secure: SecureService) -> None:
    tls = secure.tls
    options = ["--address", f"localhost:{secure.port}", "--ca", str(tls.ca)]
    if tls.certificate:
        options += ["--certificate", str(tls.certificate), "--key", str(tls.key)]

    def told() -> bool:
        result = CliRunner().invoke(app, ["status", "--app", "default", *options])
        return result.exit_code == 0

    eventually("the learner's report", told)


@pytest.mark.usefixtures("one_attempt")
def test_without_tls_nobody_is_answered(secure: SecureService) -> None:
    with (
        Client(f"localhost:{secure.port}", app="default", timeout=20) as client,
        pytest.raises(Unavailable),
    ):
        client.rank({}, ["a"])


@pytest.mark.usefixtures("one_attempt")
def test_a_stranger_is_refused(secure: SecureService, tmp_path: Path) -> None:
    """A server that another authority speaks for; and with mTLS, a client without a certificate, or with another's."""
    other = Authority(tmp_path / "other")
    wrong = [TLS(ca=other.ca)]
    if secure.tls.certificate:
        wrong += [TLS(secure.tls.ca), TLS(secure.tls.ca, *other.issue("client"))]
    for tls in wrong:
        with (
            Client(f"localhost:{secure.port}", app="default", tls=tls, timeout=20) as client,
            pytest.raises(Unavailable),
        ):
            client.rank({}, ["a"])
