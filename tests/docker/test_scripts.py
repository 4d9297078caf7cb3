"""The Docker scripts, with a `docker` on PATH that records its arguments instead of running anything."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ("run.sh", "run_interactive.sh", "docker/build.sh", "docker/launch.sh", "docker/entrypoint.sh")
FAKE = f"""#!{sys.executable}
import json, os, sys
with open(os.environ["RECORD"], "w") as out:
    json.dump(sys.argv[1:], out)
sys.exit(int(os.environ.get("FAKE_EXIT", "0")))
"""


class Caller:
    """Calls scripts of a copy of the repository whose path has a space, from another folder."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "a checkout"
        for name in (*SCRIPTS, "docker/Dockerfile"):
            target = self.root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target)
        self.bin = folder / "bin"
        self.bin.mkdir()
        (self.bin / "docker").write_text(FAKE)
        (self.bin / "docker").chmod(0o755)
        self.elsewhere = folder / "elsewhere"
        self.elsewhere.mkdir()
        self.record = folder / "record.json"

    def environment(self, **variables: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name not in ("SUDO_UID", "SUDO_GID", "MONGO_URL")}
        for name in ("IMAGE", "RESULTS", "SC2PATH", "NETWORK", "SHM_SIZE"):
            kept.pop(name, None)
        return kept | {"PATH": f"{self.bin}:{os.environ['PATH']}", "RECORD": str(self.record), **variables}

    def call(self, script: str, *argv: str, **variables: str) -> subprocess.CompletedProcess[str]:
        self.record.unlink(missing_ok=True)
        command = ["bash", str(self.root / script), *argv]
        return subprocess.run(
            command, cwd=self.elsewhere, env=self.environment(**variables), capture_output=True, text=True, check=False
        )

    def recorded(self) -> list[str]:
        arguments: list[str] = json.loads(self.record.read_text())
        return arguments


@pytest.fixture
def caller(tmp_path: Path) -> Caller:
    return Caller(tmp_path)


def after(arguments: list[str], option: str) -> list[str]:
    """The values of an option."""
    return [arguments[k + 1] for k, one in enumerate(arguments) if one == option]


@pytest.mark.parametrize(
    ("gpu", "gpus"), [("all", ["all"]), ("0", ['"device=0"']), ("0,1", ['"device=0,1"']), ("cpu", [])]
)
def test_a_run_in_pymarls_calling_convention(caller: Caller, gpu: str, gpus: list[str]) -> None:
    command = ["python3", "src/main.py", "--config=fop", "with", "env_args.payoff=[[1, 2], [3, 4]]", "label=a b*"]
    done = caller.call("run.sh", gpu, *command)
    assert (done.returncode, done.stderr) == (0, "")
    arguments = caller.recorded()
    assert arguments[0] == "run"
    assert arguments[-len(command) - 1 :] == ["fop", *command], "the words of the command arrive as they were"
    assert after(arguments, "--gpus") == gpus
    assert after(arguments, "--user") == [f"{os.getuid()}:{os.getgid()}"]
    assert after(arguments, "--volume") == [f"{caller.root}:/fop"]
    assert "--rm" in arguments
    assert "--init" in arguments
    assert "--tty" not in arguments, "no terminal here"
    assert after(arguments, "--name")[0] in done.stdout


def test_what_the_environment_adds(caller: Caller, tmp_path: Path) -> None:
    game = tmp_path / "Star Craft"
    game.mkdir()
    caller.call(
        "run.sh",
        "0",
        "bash",
        IMAGE="fop:2",
        RESULTS="my results",
        SC2PATH=str(game),
        NETWORK="fop_default",
        SHM_SIZE="1g",
        MONGO_URL="mongodb://u:secret@mongo/sacred",
        SUDO_UID="1234",
        SUDO_GID="5678",
    )
    arguments = caller.recorded()
    results = caller.elsewhere / "my results"
    assert results.is_dir(), "made by the caller: Docker would make it root's"
    assert after(arguments, "--volume") == [f"{caller.root}:/fop", f"{results}:/fop/results", f"{game}:/opt/sc2:ro"]
    assert after(arguments, "--env") == ["SC2PATH=/opt/sc2", "MONGO_URL"]
    assert "secret" not in " ".join(arguments)
    assert after(arguments, "--network") == ["fop_default"]
    assert after(arguments, "--shm-size") == ["1g"]
    assert after(arguments, "--user") == ["1234:5678"]
    assert arguments[-2:] == ["fop:2", "bash"]


def test_the_containers_exit_code_is_passed_on(caller: Caller) -> None:
    assert caller.call("run.sh", "cpu", "make", "test", FAKE_EXIT="3").returncode == 3


@pytest.mark.parametrize("gpu", ["gpu", "0,", ",1", "0,,1", "-1", "0 1", ""])
def test_what_is_no_gpu(caller: Caller, gpu: str) -> None:
    done = caller.call("run.sh", gpu, "bash")
    assert done.returncode == 2
    assert done.stderr == f"error: GPU must be all, numbers such as 0 or 0,1, or cpu; got '{gpu}'\n"
    assert not caller.record.exists()


@pytest.mark.parametrize("argv", [[], ["0"], ["--help"]])
def test_usage(caller: Caller, argv: list[str]) -> None:
    done = caller.call("run.sh", *argv)
    assert done.returncode == 2
    assert "GPU COMMAND" in done.stderr


def test_a_missing_sc2path(caller: Caller) -> None:
    done = caller.call("run.sh", "cpu", "bash", SC2PATH="/nowhere")
    assert (done.returncode, done.stderr) == (2, "error: SC2PATH: '/nowhere' is no folder\n")


@pytest.mark.parametrize("script", ["run.sh", "docker/build.sh"])
def test_without_docker(caller: Caller, script: str) -> None:
    (caller.bin / "docker").unlink()
    for name in ("bash", "id", "dirname", "sed"):
        (caller.bin / name).symlink_to(shutil.which(name) or "")
    done = caller.call(script, *(["cpu", "bash"] if script == "run.sh" else []), PATH=str(caller.bin))
    assert (done.returncode, done.stderr) == (2, "error: docker is not installed\n")


def test_interactive(caller: Caller) -> None:
    done = caller.call("run_interactive.sh", "0", "bash")
    assert (done.returncode, done.stderr) == (2, "error: run_interactive.sh needs a terminal; use run.sh\n")
    leader, terminal = pty.openpty()
    command = ["bash", str(caller.root / "run_interactive.sh"), "0,1", "bash"]
    process = subprocess.run(
        command, stdin=terminal, stdout=terminal, env=caller.environment(), cwd=caller.elsewhere, check=False
    )
    os.close(leader)
    os.close(terminal)
    assert process.returncode == 0
    arguments = caller.recorded()
    assert {"--interactive", "--tty"} <= set(arguments)
    assert after(arguments, "--gpus") == ['"device=0,1"']


def build_arguments(arguments: list[str]) -> dict[str, str]:
    return dict(one.split("=", 1) for one in after(arguments, "--build-arg"))


def test_build(caller: Caller) -> None:
    done = caller.call("docker/build.sh", SUDO_UID="1234", SUDO_GID="5678")
    assert (done.returncode, done.stderr) == (0, "")
    arguments = caller.recorded()
    assert (arguments[0], arguments[-1]) == ("build", str(caller.root))
    assert after(arguments, "--file") == [str(caller.root / "docker" / "Dockerfile")]
    assert after(arguments, "--tag") == ["fop"]
    assert build_arguments(arguments) == {
        "UID": "1234",
        "GID": "5678",
        "SC2": "none",
        "ACCEPT_EULA": "no",
        "SC2_LIBRARIES": "no",
    }


def test_build_with_everything(caller: Caller) -> None:
    options = ["--tag", "fop:3", "--base", "debian:12", "--sc2", "4.10", "--accept-eula", "--", "--no-cache"]
    assert caller.call("docker/build.sh", *options).returncode == 0
    arguments = caller.recorded()
    found = build_arguments(arguments)
    assert (found["BASE_IMAGE"], found["SC2"], found["ACCEPT_EULA"]) == ("debian:12", "4.10", "yes")
    assert found["SC2_LIBRARIES"] == "yes"
    assert found["UID"] != "0", "the image never runs as root by itself"
    assert after(arguments, "--tag") == ["fop:3"]
    assert "--no-cache" in arguments


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--sc2", "4.10"], "add --accept-eula"),
        (["--sc2", "5.0", "--accept-eula"], "--sc2 must be 4.10 or 4.6.2, got '5.0'"),
        (["--tag"], "--tag needs a value"),
        (["--tga", "x"], "unknown option '--tga'"),
    ],
)
def test_build_refuses(caller: Caller, argv: list[str], message: str) -> None:
    done = caller.call("docker/build.sh", *argv)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert message in done.stderr
    assert not caller.record.exists()


def test_build_help(caller: Caller) -> None:
    done = caller.call("docker/build.sh", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "--accept-eula" in done.stdout
    assert "set -eu" not in done.stdout


@pytest.mark.parametrize(
    ("set_path", "in_image", "expected"), [("", True, "image"), ("/own", True, "/own"), ("", False, "")]
)
def test_entrypoint_chooses_the_game(tmp_path: Path, set_path: str, in_image: bool, expected: str) -> None:
    text = (ROOT / "docker" / "entrypoint.sh").read_text().replace("/opt/StarCraftII", str(tmp_path / "image"))
    if in_image:
        (tmp_path / "image" / "Versions").mkdir(parents=True)
    (tmp_path / "entrypoint.sh").write_text(text)
    variables = {"PATH": os.environ["PATH"]} | ({"SC2PATH": set_path} if set_path else {})
    shell = ["bash", "entrypoint.sh", "bash", "-c", 'printf %s "${SC2PATH:-}"; exit 7']
    done = subprocess.run(shell, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (7, "")
    assert done.stdout == (str(tmp_path / "image") if expected == "image" else expected)


def test_shellcheck() -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed (Debian: apt install shellcheck)")
    done = subprocess.run(["shellcheck", "-x", *SCRIPTS], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
