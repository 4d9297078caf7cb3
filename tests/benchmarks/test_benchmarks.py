"""Where a benchmark could be wrong without anyone noticing: sizes, counted FLOPs, tables, the other side's protocol."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch as th

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import against
import batches
import buffer
import flops
import fop_seeds
import kernels
import weights

from components.action_space import DiscreteActions
from envs.multiagentenv import EnvInfo
from modules import dense

INFO = EnvInfo(2, 11, 13, 9, DiscreteActions(5), engine="toy", engine_version="1", data_hash="0")


@pytest.mark.parametrize(("name", "gib"), [("MMM2", 8.3), ("2c_vs_64zg", 9.7)])
def test_pymarl_layout_of_5000_episodes(name, gib):
    """The sizes found by allocating PyMARL's own buffer."""
    assert buffer.CAPACITY * buffer.pymarl_bytes(batches.map_info(name)) / buffer.GIB == pytest.approx(gib, abs=0.05)


@pytest.mark.parametrize("lengths", [[7, 7, 7], [9, 4, 2]])
def test_counted_flops_of_vdn(lengths):
    """Every matrix product by hand: two unrolls, and the backward pass of one without the inputs' gradient."""
    learner = batches.make_learner("vdn", INFO, {"hidden_dim": 16})
    batch = batches.random_batch(INFO, lengths)
    rows, n_in, hidden, n_actions = 2 * (sum(lengths) + 3), 11 + 5 + 2, 16, 5
    forward = n_in * hidden + 6 * hidden * hidden + hidden * n_actions
    backward = n_in * hidden + 12 * hidden * hidden + 2 * hidden * n_actions
    zeros = 2 * len(lengths) * 12 * hidden * hidden  # states before the first step, which are not multiplied
    assert flops.count_flops(learner, batch) == 2 * (rows * (2 * forward + backward) - zeros)


@pytest.mark.parametrize("alg", ["qmix", "fop"])
def test_counted_flops_do_not_depend_on_the_route(alg, monkeypatch):
    """Products of compiled kernels count like PyTorch's, but for those that are not made there.

    Inputs of 1 and gradients of chosen actions add rows of weights; a last step without a gradient is skipped.
    """
    learner, batch, counts = batches.make_learner(alg, INFO, {}), batches.random_batch(INFO, [9] * 128), []
    for tall in (dense.TALL, 10**9):
        monkeypatch.setattr(dense, "TALL", tall)
        counts.append(flops.count_flops(learner, batch))
    rows, hidden, both = 2 * 128, 64, 5 + 2  # actions and agents of the network's inputs
    first = 3 * 10 * rows * both * hidden  # two unrolls, and the gradient of one
    if alg == "fop":  # two critics, their targets, and lambda networks, which read the actions of both agents
        ones, critic, heads = 2 * 5, learner.spec.last_action * 5 + 2, 2 * 4 * 2
        first = 2 * 10 * rows * both * hidden + 2 * (10 + 2 * 9) * rows * critic * hidden
        first += (10 + 2 * 9) * 128 * ones * heads
    n_in, last_layer = 11 + both, 2 * rows * hidden * 5
    last_step = rows * (11 * hidden + 12 * hidden * hidden)
    chosen = 10 * last_layer if alg == "qmix" else (1 + 2 * 9) * last_layer  # with the policy's last step
    assert batch.inputs(learner.mac.spec).shape[-1] == n_in
    assert counts[0] == counts[1] - 2 * (first + last_step + chosen)


def test_random_batches_are_playable():
    """Taken actions are available, episodes end where they should."""
    batch = batches.random_batch(INFO, [9, 4])
    assert batch.avail_actions is not None
    assert batch.avail_actions[:, :-1].gather(-1, batch.actions)[batch.mask.bool().expand(-1, -1, 2)].all()
    assert batch.terminated[:, :, 0].nonzero().tolist() == [[0, 8], [1, 3]]


def test_lengths_of_played_episodes():
    """The longest as asked, the others shorter, in proportion to the episodes of the map; the same at every call."""
    lengths = batches.played_lengths("3m", 8, 50)
    steps = [len(episode["reward"]) - 1 for episode in batches.play("3m", 8)[1]]
    assert max(lengths) == 50
    assert lengths == batches.played_lengths("3m", 8, 50)
    np.testing.assert_allclose(np.array(lengths) / 50, np.array(steps) / max(steps), atol=0.5 / 50 + 1e-9)
    assert len(set(lengths)) > 1


def test_report(capsys):
    """Markdown with three significant digits, or JSON as it is."""
    rows = [{"map": "a", "ms": 12.3456}, {"map": "b", "ms": 1.0}]
    batches.report(rows, False)
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["| map | ms   |", "|-----|------|", "|   a | 12.3 |", "|   b |    1 |"]
    batches.report(rows, True)
    assert json.loads(capsys.readouterr().out) == rows


def test_published_weights_reach_the_other_side(tmp_path):
    """Every weight of the released FOP's networks is named once; the other side puts it in its place."""
    ours = batches.make_learner("fop_official", INFO, {})
    named = weights.published_weights("fop_official", ours)
    assert named["critic2.fc1.weight"].shape == (64, 11 + 2)
    assert named["mixer1.action_extractors.3.weight"].shape == (2, 13 + 2 * 5)
    trained = [*ours.mac.parameters(), *ours.critic.parameters(), *ours.mixer.parameters()]
    assert sum(x.size for x in named.values()) == sum(x.numel() for x in trained)

    class Theirs:
        """A learner with one layer."""

        def __init__(self):
            self.mac, self.updated = th.nn.Module(), 0
            self.mac.agent, self.mac.action_selector = th.nn.Module(), th.nn.Module()
            self.mac.agent.fc1 = th.nn.Linear(18, 64)

        def _update_targets(self):
            self.updated += 1

    theirs, drawn = Theirs(), th.distributions.Categorical.sample
    kept = {name: x for name, x in named.items() if name.startswith("mac.agent.fc1")}
    np.savez(tmp_path / "given.npz", uniform=np.array([0.1, 0.9]), epsilon=0.05, **kept)
    try:
        against.take_over(theirs, tmp_path / "given.npz")
        policy = th.distributions.Categorical(th.tensor([[0.5, 0.5], [0.5, 0.5]]))
        assert policy.sample().tolist() == [0, 1]
    finally:
        th.distributions.Categorical.sample = drawn
    assert theirs.updated == 1
    assert theirs.mac.action_selector.epsilon == 0.05
    assert np.array_equal(theirs.mac.agent.fc1.weight.detach().numpy(), kept["mac.agent.fc1.weight"])


def test_runs_side_by_side_are_runs_by_themselves():
    """The first of three runs learns the same whatever the others are: gradients, clipping, steps are its own."""
    learnt = []
    for scale in (1.0, 3.0):  # of the others' weights
        th.manual_seed(0)
        runs = fop_seeds.Runs.start(3, 40, fop_seeds.Start(fop_seeds.LAMBDA_BIAS), fop_seeds.AMSGRAD)
        for weight in runs.weights.values():
            weight.data[1:] *= scale
        for number in range(8, 40):
            runs.data[:] = th.arange(runs.data.shape[1]) % 9
            runs.update(number, alpha=0.5)
        learnt.append(th.cat([weight[0].detach().flatten() for weight in runs.weights.values()]))
    th.testing.assert_close(learnt[0], learnt[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("start", fop_seeds.LAMBDA_NETS[1:])
def test_many_runs_of_fop_find_the_optimum(start):
    """Four runs of 1,000 updates at final temperature 0.1: (A, A) in each, and the row says so."""
    row = fop_seeds.train(4, 1000, start, fop_seeds.ADAM, 0.1)
    assert row[0] == "4 of 4"
    assert float(row[1]) > 0.5


def test_shares_of_an_update_add_up():
    """Every part of QMIX's update is found, none counted twice."""
    row = kernels.split("qmix", "3s_vs_3z", 1)
    shares = {name: value for name, value in row.items() if name.endswith("%")}
    assert sum(shares.values()) == pytest.approx(100.0)
    found = {"recurrent networks %", "policies %", "mixing %", "mixers %", "gradients %", "elsewhere %"}
    assert {name for name, value in shares.items() if value > 0.0} == found
