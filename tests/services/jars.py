"""Apache Kafka's jars, fetched once by Maven into a cache: `python -m tests.services.jars` fetches them ahead of time.

Needs the standard library only, so that a machine can be made ready before there is a virtual environment.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

POM = Path(__file__).with_name("pom.xml")
# What Kafka 4 brokers are compiled for.
JAVA = 17
# Seconds. Some 45 files of 43 MB in all take 10 s; a test may take 300 s at most.
_FETCH = 240.0
# The full name: with the short one Maven's error, where it cannot connect, is that it knows no such plugin.
_COPY = "org.apache.maven.plugins:maven-dependency-plugin:copy-dependencies"
_ADVICE = "run .ci/install-services, or set RANKD_TEST_KAFKA=host:port"
_FETCH_ADVICE = "it has to reach Maven Central once; or set RANKD_TEST_KAFKA=host:port"


class UnavailableError(Exception):
    """A service cannot be started here. The text says what is missing and what to do."""


def java() -> str:
    """The path of a Java that is new enough.

    Raises:
        UnavailableError: there is none.
    """
    program = shutil.which("java")
    if program is None:
        raise UnavailableError(f"Kafka needs Java {JAVA} and there is no java on PATH; {_ADVICE}")
    said = subprocess.run(
        [program, "-version"], capture_output=True, text=True, timeout=60, check=False
    ).stderr
    found = re.search(r'version "(\d+)', said)
    if found is None or int(found[1]) < JAVA:
        raise UnavailableError(
            f"Kafka needs Java {JAVA} or newer, {program} -version says {said!r}; {_ADVICE}"
        )
    return program


def folder() -> Path:
    """Where the jars of this pom.xml are, or will be."""
    cache = Path(os.environ.get("RANKD_TEST_CACHE") or Path.home() / ".cache" / "rankd-tests")
    return cache / f"kafka-{hashlib.sha256(POM.read_bytes()).hexdigest()[:12]}"


def kafka_jars() -> Path:
    """The folder of the jars, which are fetched if they are not there. Safe in several processes at once.

    Raises:
        UnavailableError: they cannot be fetched.
    """
    target = folder()
    if target.is_dir():
        return target
    maven = shutil.which("mvn")
    if maven is None:
        raise UnavailableError(
            f"Kafka's jars are not in {target.parent} and there is no mvn on PATH to fetch them; {_ADVICE}"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    # One process fetches, also because Maven's own repository of files is not made for two; the others wait for it.
    with target.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.is_dir():
            _fetch(maven, target)
    return target


def _fetch(maven: str, target: Path) -> None:
    """Fetches into a folder beside `target` and renames it, so that a folder of that name is always whole."""
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="fetch-") as temporary:
        # The pom is copied since Maven writes beside it.
        shutil.copy(POM, temporary)
        command = [maven, "-q", "-B", _COPY, "-DincludeScope=runtime"]
        try:
            done = subprocess.run(
                [*command, "-DoutputDirectory=jars"],
                cwd=temporary,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=_FETCH,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise UnavailableError(
                f"Maven has not fetched Kafka's jars within {_FETCH:g} s; {_FETCH_ADVICE}"
            ) from None
        if done.returncode != 0:
            raise UnavailableError(
                f"Maven could not fetch Kafka's jars; {_FETCH_ADVICE}. It said:\n{done.stdout[-2_000:]}"
            )
        Path(temporary, "jars").rename(target)


def main() -> None:
    """Fetches the jars; with --cached it only says by its exit code whether they are there."""
    if sys.argv[1:] == ["--cached"]:
        sys.exit(0 if folder().is_dir() else 1)
    try:
        print(kafka_jars())
    except UnavailableError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
