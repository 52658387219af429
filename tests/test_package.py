"""What the wheel holds: our four packages, their types, and nothing else."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

PACKAGES = ("policies", "rankd", "server", "simulator")
ROOT = Path(__file__).parent.parent


def test_the_wheel_has_our_packages_and_nothing_else(tmp_path: Path) -> None:
    source = tmp_path / "source"  # setuptools builds in place; leave the checkout alone
    source.mkdir()
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "-w",
        str(tmp_path),
        str(source),
    ]
    subprocess.run(command, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    top = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert top == set(PACKAGES)
    for package in top:
        here = {
            str(path.relative_to(ROOT)) for path in (ROOT / package).rglob("*.py") if path.is_file()
        }
        assert here <= names, "every module is in an explicitly listed package"
        assert f"{package}/py.typed" in names


def test_proto_is_no_package() -> None:
    assert not list((ROOT / "proto").rglob("*.py"))
