"""What cannot work is told before anything starts; where Envoy is not installed, also how to get it."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

# An environment without the package: nothing that it has can be imported.
WITHOUT = """
import sys
from importlib.abc import MetaPathFinder

class Without(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("pyvoy", "envoy"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Without())
from rankd.cli import app
app(["serve", "--data-dir", sys.argv[1], "--edge", "envoy"])
"""


def test_what_to_install(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WITHOUT, str(tmp_path / "data")]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 78
    assert "pip install 'rankd[envoy]'" in ran.stderr
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("server", "told"),
    [
        ("{cors: ['https://shop.example']}", "cors needs edge: envoy"),
        ("{edge: envoy, cors: ['shop.example/']}", "an origin is a scheme"),
        (
            "{tls: {certificate: no.pem, key: no.key}}",
            "server.tls.certificate: no.pem is not there",
        ),
        ("{tls: {certificate: no.pem}}", "server.tls.key: Field required"),
    ],
)
def test_settings_that_cannot_work(server: str, told: str, tmp_path: Path) -> None:
    config = tmp_path / "rankd.yaml"
    config.write_text(f"server: {server}\n")
    arguments = ["serve", "--data-dir", str(tmp_path / "data"), "--config", str(config)]
    command = [sys.executable, "-m", "rankd", *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 78
    assert told in ran.stderr
