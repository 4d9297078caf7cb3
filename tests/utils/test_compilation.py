"""utils/compilation.py: compiled mixers give the same update; what cannot be compiled is refused in one line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch as th

from helpers import make_config, make_info, make_learner, random_buffer
from utils import compilation
from utils.building import build_learner, try_learner
from utils.compilation import check_compile, check_compiler, compile_mixers
from utils.errors import UserError

CPU, GPU = th.device("cpu"), th.device("cuda")


@pytest.mark.parametrize("alg", ["fop", "qmix"])
def test_compiled_update_equals_the_other(alg: str) -> None:
    """Two updates, on episodes of different lengths: traced and differentiated ahead of time by PyTorch's compiler."""
    info = make_info()
    plain, compiled = (make_learner(make_config(alg), info) for _ in range(2))
    compiled.load_state_dict(plain.state_dict())
    compile_mixers(compiled, backend="aot_eager")
    for seed in (1, 2):
        batch = random_buffer(info, seed=seed).recent(4)
        ours, theirs = plain.update(batch, 0), compiled.update(batch, 0)
        for name, value in ours.items():
            th.testing.assert_close(theirs[name], value, rtol=1e-5, atol=1e-6, msg=f"{name}, batch {seed}")
    for one, other in zip(plain.parameters(), compiled.parameters(), strict=True):
        th.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_the_option_reaches_the_mixers(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr("utils.building.compile_mixers", seen.append)
    for mode in ("none", "default"):
        learner = build_learner(make_config("qmix", torch_compile=mode), make_info(), CPU)
    assert seen == [learner]


def test_without_gpu_or_compiler_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    learner = make_learner(make_config("qmix"), make_info())
    with pytest.raises(UserError, match="cuda_graphs needs a GPU"):
        check_compile("cuda_graphs", learner, CPU)
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(UserError, match="needs a C\\+\\+ compiler"):
        check_compile("default", learner, CPU)
    monkeypatch.setattr(compilation, "has_triton", lambda: False)
    with pytest.raises(UserError, match="needs the package triton"):
        check_compile("default", learner, GPU)
    monkeypatch.setattr(compilation, "has_triton", lambda: True)
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(UserError, match="needs a C compiler"):
        check_compile("default", learner, GPU)
    check_compile("cuda_graphs", learner, GPU)  # nothing to compile
    with pytest.raises(UserError, match="an update of hasac is not the same work every time"):
        check_compile("cuda_graphs", make_learner(make_config("hasac"), make_info()), GPU)


def test_a_run_is_tried_on_its_own_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """The trial before a run, made on the CPU, asks whether the run's device can do what is wanted."""
    config = make_config("qmix", torch_compile="cuda_graphs")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    try_learner(config, make_info())
    with pytest.raises(UserError, match="this run is on the CPU"):
        try_learner(make_config("qmix", torch_compile="cuda_graphs", use_cuda=False), make_info())


def test_without_python_s_headers_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CXX", sys.executable)  # a program that is there
    (tmp_path / "Python.h").touch()
    monkeypatch.setattr("sysconfig.get_path", lambda *_: str(tmp_path))
    check_compiler(CPU)
    (tmp_path / "Python.h").unlink()
    with pytest.raises(UserError, match="needs Python's headers"):
        check_compiler(CPU)
