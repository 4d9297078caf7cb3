"""Dockerfiles and the compose file: linted, complete, and without a secret."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"


@pytest.mark.parametrize("name", ["Dockerfile", "omniboard.Dockerfile"])
def test_hadolint(name: str) -> None:
    program = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([program, DOCKER / name], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def compose(*argv: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Docker Compose's own parser; the package's console script would hide its exit code."""
    spec = find_spec("compose")
    assert spec is not None
    assert spec.origin is not None
    command = [str(Path(spec.origin).with_name("docker-compose")), "-f", str(DOCKER / "compose.yaml")]
    return subprocess.run(
        [*command, "--profile", "*", "config", *argv], env=variables, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    done = compose(MONGO_USER="u", MONGO_PASSWORD="secret", UID="12", GID="34")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = yaml.safe_load(done.stdout)["services"]
    return found


def test_compose_refuses_without_a_password() -> None:
    done = compose("-q", MONGO_USER="u")
    assert done.returncode != 0
    assert "set it in docker/.env" in done.stderr
    assert "copy docker/env.example to docker/.env" in compose("-q").stderr


def test_only_loopback_is_published(services: dict[str, Any]) -> None:
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert {port["target"] for port in ports} == {27017, 9000}
    assert {port["host_ip"] for port in ports} == {"127.0.0.1"}


def test_the_trainer_has_gpus_the_callers_user_and_mongodb(services: dict[str, Any]) -> None:
    trainer = services["trainer"]
    assert (trainer["runtime"], trainer["user"], trainer["environment"]["NVIDIA_VISIBLE_DEVICES"]) == (
        "nvidia",
        "12:34",
        "all",
    )
    assert trainer["environment"]["MONGO_URL"] == "mongodb://u:secret@mongo:27017/sacred?authSource=admin"
    (volume,) = trainer["volumes"]
    assert (volume["source"], volume["target"]) == (str(ROOT), "/fop")


def test_mongodb_asks_for_a_password_and_keeps_its_data(services: dict[str, Any]) -> None:
    mongo = services["mongo"]
    assert mongo["environment"] == {"MONGO_INITDB_ROOT_USERNAME": "u", "MONGO_INITDB_ROOT_PASSWORD": "secret"}
    assert [(volume["type"], volume["target"]) for volume in mongo["volumes"]] == [("volume", "/data/db")]
    assert services["omniboard"]["environment"]["MONGO_URI"].startswith("mongodb://u:secret@mongo:27017/sacred")


def test_the_template_names_every_variable_and_no_password() -> None:
    names = dict(line.split("=", 1) for line in (DOCKER / "env.example").read_text().splitlines() if "=" in line[:20])
    assert names["MONGO_PASSWORD"] == ""
    assert {"MONGO_USER", "UID", "GID", "DOCKER_RUNTIME", "GPU"} <= names.keys()
    assert "/docker/.env" in (ROOT / ".gitignore").read_text().splitlines()
    assert "docker/.env" in (ROOT / ".dockerignore").read_text().splitlines()


def test_the_image_is_not_roots_and_checks_its_health() -> None:
    lines = (DOCKER / "Dockerfile").read_text().splitlines()
    assert [line for line in lines if line.startswith("USER")] == ["USER $UID:$GID"]
    assert any(line.startswith("HEALTHCHECK") and "src/doctor.py" in line for line in lines)
    copies = [line for line in lines if line.startswith("COPY")]
    assert copies.index("COPY requirements*.txt ./") < copies.index("COPY --chown=$UID:$GID . ."), "packages are cached"


def test_the_image_has_what_make_would_install() -> None:
    """Otherwise `make test` in it would skip tests, or install into a folder that is root's."""
    installed = re.findall(r"install (?:--no-deps )?-r (\S+)", (ROOT / "Makefile").read_text())
    assert set(installed) == {"requirements.txt", "requirements-dev.txt", "requirements-sc2-client.txt"}
    lines = (DOCKER / "Dockerfile").read_text().splitlines()
    always = "\n".join(line for line in lines if "if [" not in line)
    missing = [name for name in installed if f"-r {name} " not in always]
    assert not missing
