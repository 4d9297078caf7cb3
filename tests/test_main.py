"""The program as a user meets it: command lines, run directories, exit codes, signals, crashes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import main as program
import run as run_module
from utils.config import Config
from utils.errors import UserError
from utils.logging import Logger
from utils.metricsfile import read_metrics

MAIN = Path(program.__file__)
GAME = ["--config=vdn", "--env-config=matrix_game"]
SHORT = ["t_max=60", "batch_size=4", "hidden_dim=8", "test_interval=20", "test_nepisode=4", "log_interval=20", "seed=1"]
LONG = ["t_max=1e9", "batch_size=4", "hidden_dim=8", "log_interval=40", "test_interval=400", "test_nepisode=4"]


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def start(*argv: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(MAIN), *argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def run_dirs(root: Path) -> list[Path]:
    return sorted(path.parent for path in root.glob("results/sacred/*/run.json"))


def record(run_dir: Path, name: str = "run.json") -> Any:
    return json.loads((run_dir / name).read_text())


# --- bad input ------------------------------------------------------------------------------------------------------

BAD = [
    ("", "name an algorithm: --config=ALG, one of "),
    ("--config=fop", "name an environment: --env-config=ENV, one of "),
    ("--env-config=matrix_game", "name an algorithm"),
    ("--config=fopp --env-config=matrix_game", "unknown algorithm 'fopp'; did you mean 'fop'?"),
    ("--config=fop --env-config=matrixgame", "unknown environment 'matrixgame'; did you mean 'matrix_game'?"),
    ("--config=../default --env-config=matrix_game", "unknown algorithm '../default'"),
    ("--config=fop --config=vdn --env-config=matrix_game", "--config is given more than once: fop, vdn"),
    ("--config", "--config: expected one argument"),
    ("--confg=fop --env-config=matrix_game", "unknown option '--confg=fop'; did you mean '--config'?"),
    ("GAME -Z", "unknown option '-Z'"),
    ("GAME -n", "expected one argument"),
    ("GAME t_max=5", "write `with` before the first assignment"),
    ("GAME prnt_config", "unknown command 'prnt_config'; did you mean 'print_config'?"),
    ("GAME print_config t_max=5", "unexpected 't_max=5' after the command 'print_config'"),
    ("GAME with t_max", "'t_max' is neither an assignment key=value nor a configuration file"),
    ("GAME with missing.json", "cannot read missing.json"),
    ("GAME with t_max = 5", "neither an assignment"),
    ("GAME with =5", "'' is not a key"),
    ("GAME with a..b=5", "'a..b' is not a key"),
    ("GAME with t_max=5 t_max.x=6", "t_max.x contradicts the assignment of t_max"),
    ("GAME with env_args.payoff=[[1,2],[3", "brackets or quotes do not match"),
    ("GAME with tmax=5", "unknown key 'tmax'; did you mean 't_max'?"),
    ("GAME with mixing_embed=5", "unknown key 'mixing_embed'; did you mean 'mixing_embed_dim'?"),
    ("GAME with t_max=2.5", "key 't_max' must be an int >= 1"),
    ("GAME with t_max=many", "key 't_max' must be an int >= 1"),
    ("GAME with t_max=-5", "got -5"),
    ("GAME with t_max=1e400", "got inf"),
    ("GAME with gamma=1.01", "key 'gamma' must be a float >= 0.0 and <= 1.0, got 1.01"),
    ("GAME with lr=0", "key 'lr' must be a float > 0.0"),
    ("GAME with use_cuda=yes", "key 'use_cuda' must be True or False, got 'yes'"),
    ("GAME with optimiser=adamw", "one of 'rmsprop', 'adam', 'amsgrad', got 'adamw'; did you mean 'adam'?"),
    ("GAME with seed=-1", "key 'seed' must be an int >= 0"),
    ("GAME with label=1e5", "key 'label' must be a str, got 100000.0"),
    ("GAME with learner=q_lerner", "unknown learner 'q_lerner'; did you mean 'q_learner'?"),
    ("GAME with mixer=vdm", "vdm"),
    ("GAME with env=mtqq", "unknown environment 'mtqq'; did you mean 'mtq'?"),
    ("GAME with env_args=5", "env_args is a mapping"),
    ("GAME with env_args.payof=paper", "unknown env_args key 'payof'; did you mean 'payoff'?"),
    ("GAME with env_args.payoff=1e5", "got 100000.0"),
    ("GAME with env_args.payoff=[[1,2],[3]]", "payoff"),
    ("GAME with checkpoint_path=nowhere", "checkpoint_path 'nowhere' does not exist"),
    ("GAME with evaluate=True", "evaluate=True needs checkpoint_path"),
    ("GAME with local_results_path=/dev/null/none", "local_results_path: cannot write to"),
    ("GAME with use_tensorboard=True tensorboard_backend=tensorbord", "did you mean 'tensorboardX'?"),
    ("--config=fop --env-config=sc2 with env_args.map_name=1e5", "env_args key 'map_name' must be a str, got 100000.0"),
    (
        "--config=fop --env-config=sc2 with env_args.map_name=3s_vs_3x",
        "unknown map '3s_vs_3x'; did you mean '3s_vs_3z'?",
    ),
    ("--config=fop --env-config=sc2 with env_args.engine=sc3", "engine"),
    ("GAME with buffer_size=1e12", "buffer_size=1000000000000 episodes may need "),
    ("GAME with batch_size_run=1e12", "batch_size_run=1000000000000 environments may need "),
    ("GAME with hidden_dim=1e9", "key 'hidden_dim' must be an int >= 1 and <= 4096, got 1000000000.0"),
    ("--config=VDN --env-config=matrix_game", "unknown algorithm 'VDN'; did you mean 'vdn'?"),
    ("--config=vdn --env-config=mtq", "vdn needs discrete actions, mtq has continuous ones"),
    ("GAME -l LOUD", "--loglevel must be 0 to 50 or one of DEBUG"),
    ("GAME -C pipe", "--capture must be no, sys or fd, got 'pipe'"),
    ("GAME -b soon", "--beat-interval must be seconds"),
    ("GAME -P high", "--priority must be a number"),
    ("GAME -i ../x", "--id must be letters"),
]


@pytest.mark.parametrize(("line", "message"), BAD, ids=[line or "nothing" for line, _ in BAD])
def test_bad_command_line(line: str, message: str, workplace: Path, capfd: pytest.CaptureFixture[str]) -> None:
    argv = line.replace("GAME", " ".join(GAME)).split()
    assert program.main(argv) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.endswith("\n")
    assert err.count("\n") == 1
    assert message in err
    assert list(workplace.iterdir()) == []


@pytest.mark.parametrize("argv", [[*GAME, "with", "t_maxx=5"], [*GAME, "-Z"], ["--config=fopp", "--env-config=mtq"]])
def test_bad_command_line_in_its_own_process(argv: list[str], workplace: Path) -> None:
    process = start(*argv)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err.count("\n")) == (2, "", 1)
    assert list(workplace.iterdir()) == []


def test_bad_input_is_answered_without_importing_pytorch() -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(MAIN.parent)!r}); import main; "
        "code = main.main(['--config=vdn', '--env-config=matrix_game', 'with', 't_max=0']); "
        "sys.exit(10 * ('torch' in sys.modules) + code)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 2


def test_what_only_the_run_can_refuse_leaves_nothing(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(config: Config, logger: Logger, run_dir: Path, resumed: bool) -> None:
        raise UserError("the buffer\ndoes not fit")

    monkeypatch.setattr(run_module, "run", refuse)
    assert program.main([*GAME, "with", *SHORT]) == 2
    assert capfd.readouterr().err == "error: the buffer does not fit\n"
    assert run_dirs(workplace) == []


def test_an_id_is_not_taken_twice(workplace: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (workplace / "results" / "sacred" / "mine").mkdir(parents=True)
    assert program.main([*GAME, "-i", "mine", "with", *SHORT]) == 2
    assert "mine exists already" in capfd.readouterr().err


# --- what is not a run ----------------------------------------------------------------------------------------------


def test_help_lists_every_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["--help"]) == 0
    out = capsys.readouterr().out
    for folder in ("algs", "envs"):
        for path in (MAIN.parent / "config" / folder).glob("*.yaml"):
            meaning = path.read_text().split("\n")[0].removeprefix("# ")
            assert any(line.split()[:1] == [path.stem] and line.endswith(meaning) for line in out.splitlines())
    assert "--comment" in out


def test_print_config_marks_changes(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main([*GAME, "print_config", "with", "t_max=2e6", "env_args.payoff=[[1,2],[3,4]]"]) == 0
    out = capsys.readouterr().out
    blue = "\x1b[34m"
    assert f"{blue}  t_max = 2000000" in out
    assert "  gamma = 0.99" in out
    assert "[[1, 2], [3, 4]]" in out
    assert "engine = 'matrix_game'" in out
    assert list(workplace.iterdir()) == []


def test_save_config_can_be_run_again(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main([*GAME, "save_config", "with", "config_filename=a.json", "seed=5", "lr=0.25"]) == 0
    assert program.main(["save_config", "with", "a.json", "config_filename=b.json"]) == 0
    first, second = (json.loads((workplace / name).read_text()) for name in ("a.json", "b.json"))
    assert first == second
    assert (first["lr"], first["seed"], first["learner"]) == (0.25, 5, "q_learner")


def test_list_maps(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["--list-maps"]) == 0
    assert "3s_vs_3z" in capsys.readouterr().out


# --- runs -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short complete run and its directory."""
    root = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        argv = [*GAME, "-n", "trial", "-c", "a comment", "with", *SHORT, "use_tensorboard=True"]
        assert program.main(argv) == 0
    (run_dir,) = run_dirs(root)
    return run_dir


def test_a_complete_run_is_recorded(finished: Path) -> None:
    run = record(finished)
    assert (finished.name, run["status"], run["command"]) == ("1", "COMPLETED", "main")
    assert run["experiment"]["name"] == "trial"
    assert run["meta"]["comment"] == "a comment"
    assert any(name.startswith("torch==") for name in run["experiment"]["dependencies"])
    sources = {name for name, _ in run["experiment"]["sources"]}
    assert {"main.py", "run.py", "learners/q_learner.py", "envs/matrix_game.py"} <= sources
    config = record(finished, "config.json")
    assert (config["t_max"], config["seed"], config["mixer"]) == (60, 1, "vdn")
    assert config["env_info"]["engine"] == "matrix_game"
    assert config["env_args"]["payoff"] == "paper"
    assert not list(finished.glob("*.part")) + list(finished.glob(".*"))
    assert not (finished / "metrics.json").exists()
    assert list((finished / "tb_logs").iterdir())


def test_metrics_and_info_agree(finished: Path) -> None:
    header, rows = read_metrics(finished / "metrics.jsonl")
    config = record(finished, "config.json")
    facts = {key: config["env_info"][key] for key in ("engine", "engine_version", "data_hash")}
    assert facts.items() <= header.items()
    assert (header["alg"], header["env"], header["seed"], header["run"]) == ("vdn", "matrix_game", 1, "1")
    assert {"python", "torch", "numpy", "sacred"} <= set(header["versions"])
    info = record(finished, "info.json")
    for key in ("return_mean", "test_return_mean", "ep_length_mean", "test_ep_length_mean"):
        logged = [(row["t_env"], row[key]) for row in rows if key in row]
        assert logged
        assert list(zip(info[f"{key}_T"], info[key], strict=True)) == logged
    assert rows[-1]["t_env"] >= 60


def test_the_last_lines_show_the_last_test(finished: Path) -> None:
    last = (finished / "cout.txt").read_text().splitlines()[-1]
    assert "test return" in last


def test_the_checkpoint_can_be_evaluated_and_the_run_repeated(
    finished: Path, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.main([*GAME, "with", *SHORT, f"checkpoint_path={finished}", "evaluate=True"]) == 0
    assert program.main(["with", str(finished / "config.json"), "use_tensorboard=False"]) == 0
    evaluated, repeated = run_dirs(workplace)
    rows = read_metrics(evaluated / "metrics.jsonl")[1]
    assert all(key in ("t_env", "time") or key.startswith("test_") for row in rows for key in row)
    first, second = (read_metrics(path / "metrics.jsonl")[1] for path in (finished, repeated))
    assert [{**row, "time": 0} for row in first] == [{**row, "time": 0} for row in second]


def test_a_checkpoint_of_other_networks_is_refused(
    finished: Path, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, exit code 2, and no run is left behind."""
    command = [*GAME, "with", *SHORT, f"checkpoint_path={finished}", "evaluate=True", "hidden_dim=24"]
    assert program.main(command) == 2
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert "checkpoint: not of " in told
    assert "size mismatch" in told
    assert not run_dirs(workplace)


def test_an_unobserved_run_leaves_nothing(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main([*GAME, "-u", "with", *SHORT]) == 0
    assert list(workplace.iterdir()) == []


def test_sacreds_file_storage_and_id_and_quiet(workplace: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert program.main([*GAME, "-F", "elsewhere", "-i", "mine", "-l", "ERROR", "with", *SHORT]) == 0
    assert record(workplace / "elsewhere" / "mine")["status"] == "COMPLETED"
    assert not (workplace / "results").exists()
    assert capfd.readouterr() == ("", "")


def test_a_queued_run(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main([*GAME, "-q", "with", *SHORT]) == 0
    (run_dir,) = run_dirs(workplace)
    assert record(run_dir)["status"] == "QUEUED"


def test_a_bug_fails_with_its_traceback(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(config: Config, logger: Logger, run_dir: Path, resumed: bool) -> None:
        logger.log(1, {"return_mean": 1.0})
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(run_module, "run", fail)
    assert program.main([*GAME, "with", *SHORT]) == 1
    (run_dir,) = run_dirs(workplace)
    assert record(run_dir)["status"] == "FAILED"
    assert "ZeroDivisionError: a bug" in "".join(record(run_dir)["fail_trace"])
    assert record(run_dir, "info.json")["return_mean"] == [1.0]
    assert "ZeroDivisionError: a bug" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_is_clean_and_quick(workplace: Path, number: signal.Signals) -> None:
    process = start(*GAME, "with", *LONG)
    metrics = workplace / "results" / "sacred" / "1" / "metrics.jsonl"
    wait_until(lambda: metrics.exists() and metrics.read_bytes().count(b"\n") > 3, process)
    begin = time.monotonic()
    process.send_signal(number)
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)  # impatience must not cut the saving short
    _, err = process.communicate(timeout=30)
    assert time.monotonic() - begin < 10.0
    assert process.returncode == 130
    assert "Traceback" not in err
    (run_dir,) = run_dirs(workplace)
    assert record(run_dir)["status"] == "INTERRUPTED"
    assert len(list(run_dir.glob("models/*/checkpoint.th"))) == 1
    assert next(run_dir.glob("models/*")).name in {path.stem for path in run_dir.glob("resume/*.th")}
    rows = read_metrics(run_dir / "metrics.jsonl")[1]
    assert record(run_dir, "info.json")["return_mean_T"] == [row["t_env"] for row in rows if "return_mean" in row]


def test_kill_9_loses_nothing_that_was_logged(workplace: Path) -> None:
    process = start(*GAME, "with", *LONG)
    metrics = workplace / "results" / "sacred" / "1" / "metrics.jsonl"
    wait_until(lambda: metrics.exists() and metrics.read_bytes().count(b"\n") > 10, process)
    process.kill()
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL
    lines = metrics.read_bytes().split(b"\n")
    assert lines[-1] == b"", "the last line is complete"
    rows = [json.loads(line) for line in lines[:-1]]
    assert rows[0]["header"]
    logged = [row["t_env"] for row in rows if "epsilon" in row]
    assert logged == sorted(logged)
    assert all(later - sooner <= 48 for sooner, later in pairwise(logged)), "no entry is missing"
    assert record(metrics.parent)["status"] == "RUNNING"


def test_eight_runs_started_together_have_eight_directories(workplace: Path) -> None:
    processes = [start(*GAME, "-l", "ERROR", "with", *SHORT, f"seed={k}") for k in range(8)]
    for process in processes:
        out, err = process.communicate(timeout=280)
        assert (process.returncode, out, err) == (0, "", "")
    runs = run_dirs(workplace)
    assert sorted(int(path.name) for path in runs) == list(range(1, 9))
    assert sorted(record(path, "config.json")["seed"] for path in runs) == list(range(8))
    assert {record(path)["status"] for path in runs} == {"COMPLETED"}
    for path in runs:
        header, rows = read_metrics(path / "metrics.jsonl")
        assert (header["run"], header["seed"]) == (path.name, record(path, "config.json")["seed"])
        assert rows


def test_a_closed_pipe_does_not_end_a_run(workplace: Path) -> None:
    reader, writer = os.pipe()
    process = subprocess.Popen(
        [sys.executable, str(MAIN), *GAME, "with", *SHORT], stdout=writer, stderr=subprocess.PIPE
    )
    os.close(writer)
    os.close(reader)
    _, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, b"")
    (run_dir,) = run_dirs(workplace)
    assert record(run_dir)["status"] == "COMPLETED"
