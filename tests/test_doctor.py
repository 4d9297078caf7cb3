"""`doctor.py`: what it finds on a bare machine and with the game, its remedies, its exit codes."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import doctor
from envs import sc2, sc2_install
from health import checks, report
from health.report import Finding, Verdict
from sc2_double.install import install
from utils.errors import UserError


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No game, no server, an empty working directory."""
    for name in ("SC2PATH", "MONGO_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sc2, "GAME_FOLDER", tmp_path / "none")
    monkeypatch.chdir(tmp_path)


def by_name(*words: str, quick: bool = True) -> dict[str, Finding]:
    return {finding.what: finding for finding in checks.examine(words, quick)}


def test_a_bare_machine_will_do_for_the_embedded_engine(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.main(["with", "env_args.map_name=3m"]) == 0
    said = capsys.readouterr().out
    assert "note  StarCraft II" in said and "-> bash install_sc2.sh, or set SC2PATH" in said
    assert "ok    environment" in said and "engine: embedded" in said and "FAIL" not in said
    assert "ok    reset and step" in said and said.splitlines()[-1].endswith("to be noted")


def test_a_game_that_is_asked_for_must_be_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.main(["with", "env_args.engine=starcraft2"]) == 1
    said = capsys.readouterr().out
    assert "FAIL  StarCraft II" in said and "FAIL  environment" in said


def test_a_wrong_sc2path_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SC2PATH", str(tmp_path / "nowhere"))
    found = by_name()
    assert found["StarCraft II"].verdict is Verdict.BAD and found["environment"].verdict is Verdict.BAD
    assert found["environment"].remedy.startswith("correct it, unset it")


@pytest.fixture
def with_game(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    folder = install(tmp_path / "StarCraftII")
    monkeypatch.setenv("SC2PATH", str(folder))
    monkeypatch.setattr(checks, "resolve_env", lambda config: (None, report.good("environment", "left out")))
    return folder


def test_the_game_its_build_and_maps_are_named(with_game: Path) -> None:
    found = by_name()
    assert found["StarCraft II"] == report.good("StarCraft II", f"{with_game} (SC2PATH), build 75689")
    assert found["SMAC maps"].verdict is Verdict.GOOD and "3s_vs_3z has hash" in found["SMAC maps"].seen


def test_missing_maps(with_game: Path) -> None:
    sc2_install.map_file(with_game, "25m").unlink()
    assert by_name()["SMAC maps"].verdict is Verdict.NOTE
    assert by_name("with", "env_args.map_name=25m")["SMAC maps"].verdict is Verdict.BAD


@pytest.mark.parametrize(
    ("package", "trouble"), [("", "missing: smac"), ("smac/facade", "is SMAC3"), ("smac/env/starcraft2", "")]
)
def test_the_two_packages_named_smac_are_told_apart(
    package: str, trouble: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if package:
        (tmp_path / package).mkdir(parents=True)
        (tmp_path / "smac" / "__init__.py").write_text("raise AssertionError('must not be imported')")
        origin = SimpleNamespace(submodule_search_locations=[str(tmp_path / "smac")])
    monkeypatch.setattr(sc2_install, "find_spec", lambda name: origin if package else None)
    said = sc2_install.smac_trouble()
    assert (trouble in said) if trouble else said == ""


def test_missing_client_libraries_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(name: str) -> Any:
        if name == "google.protobuf":
            raise ModuleNotFoundError(name)
        return None if name == "pysc2" else object()

    monkeypatch.setattr(sc2_install, "find_spec", find)
    assert sc2_install.client_trouble() == "missing: pysc2, google.protobuf"
    assert checks.check_libraries(report.note).remedy == sc2_install.INSTALL_LIBRARIES


@pytest.fixture
def silent_server() -> Iterator[int]:
    """A port where somebody listens and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def config(**values: Any) -> Any:
    return SimpleNamespace(**{"mongo_url": "", "local_results_path": "results", "use_cuda": True, **values})


def test_a_mongo_server_that_does_not_answer_is_left_after_three_seconds(silent_server: int) -> None:
    found = checks.check_mongo(config(mongo_url=f"mongodb://me:secret@127.0.0.1:{silent_server}/sacred"))
    assert found.verdict is Verdict.NOTE and f"127.0.0.1:{silent_server}" in found.seen
    assert "secret" not in found.seen + found.remedy


def test_mongo_not_configured_and_wrong() -> None:
    assert checks.check_mongo(config()).verdict is Verdict.NOTE
    assert checks.check_mongo(config(mongo_url="localhost:27017")).verdict is Verdict.BAD


def test_python_and_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    assert checks.check_python().verdict is checks.check_packages().verdict is Verdict.GOOD
    monkeypatch.setattr("sys.version_info", (3, 9, 0))
    assert checks.check_python().remedy.startswith("use 3.10 to 3.13")
    monkeypatch.setattr(checks, "PACKAGES", ("torch", "no-such-package"))
    found = checks.examine([], quick=True)  # without them nothing else could be imported
    assert [finding.verdict for finding in found] == [Verdict.BAD, Verdict.BAD]
    assert found[1].seen == "missing: no-such-package"


def test_a_driver_without_cuda_in_torch_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("shutil.which", lambda name: "/usr/bin/nvidia-smi")
    assert "sees no GPU" in checks.check_cuda(config()).seen
    assert checks.check_cuda(config(use_cuda=False)).verdict is Verdict.GOOD
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert checks.check_cuda(config()).seen == "none: the run uses the CPU"


def test_a_buffer_that_does_not_fit() -> None:
    found = by_name("with", "buffer_size=100000000")["memory"]
    assert found.verdict is Verdict.BAD and "at most buffer_size=" in found.remedy


def test_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    for free, verdict in ((100.0, Verdict.GOOD), (2.0, Verdict.NOTE), (0.1, Verdict.BAD)):
        monkeypatch.setattr("shutil.disk_usage", lambda path, free=free: SimpleNamespace(free=free * checks.GIB))
        assert checks.check_disk(config()).verdict is verdict
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert "cannot be written to" in checks.check_disk(config()).seen


def test_a_port_that_may_not_be_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError("not here")

    assert checks.check_port().verdict is Verdict.GOOD
    monkeypatch.setattr(socket, "create_server", refuse)
    assert checks.check_port().verdict is Verdict.BAD


def test_a_game_that_fails_in_reset_or_step_is_a_failed_check() -> None:
    class Lost:
        env_info = SimpleNamespace(n_agents=1, action_space=SimpleNamespace(action_dim=1), engine="", engine_version="")

        def reset(self, seed: int) -> Any:
            return SimpleNamespace(avail_actions=None)

        def step(self, actions: Any) -> Any:
            return SimpleNamespace(info={"aborted": True})

    assert checks.try_step(config(), Lost()).verdict is Verdict.BAD

    class Dead(Lost):
        def reset(self, seed: int) -> Any:
            raise UserError("StarCraft II failed 6 times; look for the cause")

        def close(self) -> None:
            return

    spec: Any = SimpleNamespace(single=Dead)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checks, "check_memory", lambda *_: report.good("memory", "enough"))
        assert checks.check_env(config(), spec, quick=False)[0] == report.bad(
            "reset and step", "StarCraft II failed 6 times", "look for the cause"
        )


@pytest.mark.parametrize(
    "words", [["--config=fopp"], ["with", "buffer=3"], ["--fast"], ["with", "env_args.map_name=3s", "x"]]
)
def test_bad_arguments_are_one_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code = doctor.main([*words, "--quick"])
    said = capsys.readouterr()
    assert code == 2 and said.err.startswith("error: ") and said.err.count("\n") == 1


def test_help_and_the_exit_code_of_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.main(["--help"]) == 0 and "--quick" in capsys.readouterr().out
    findings = [report.good("a", "fine"), report.note("long name", "hm", "do this"), report.bad("c", "no", "do that")]
    assert report.table(findings).splitlines() == [
        "ok    a          fine",
        "note  long name  hm",
        "                 -> do this",
        "FAIL  c          no",
        "                 -> do that",
        "3 checks: 1 failed, 1 to be noted",
    ]
    assert report.exit_code(findings) == 1 and report.exit_code(findings[:2]) == 0
