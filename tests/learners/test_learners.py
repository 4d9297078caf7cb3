"""Every learner: padding does not matter, targets move when due, state restores exactly, unshared agents learn."""

import copy

import pytest
import torch as th

from controllers import REGISTRY as CONTROLLERS
from helpers import CONTINUOUS, DISCRETE, make_config, make_info, make_learner, pad_batch, random_buffer
from learners import REGISTRY as LEARNERS
from utils.configfile import available

ALGS = list(available("algs"))


def spaces(alg):
    """The action spaces a configuration supports; log-sum-exps of the released FOP code are discrete only."""
    kinds = CONTROLLERS[LEARNERS[make_config(alg).learner].mac_class].action_kinds - (
        {"continuous"} if alg == "fop_official" else set()
    )
    return [space for space in (DISCRETE, CONTINUOUS) if space.kind in kinds]


CASES = [(alg, space) for alg in ALGS for space in spaces(alg)]


@pytest.mark.parametrize(("alg", "space"), CASES)
def test_padding_changes_neither_loss_nor_weights(alg, space):
    """Four more padded steps filled with 1e3 give the same metrics and the same new weights."""
    info = make_info(space)
    config = make_config(alg)
    batch = random_buffer(info).recent(6)
    results = []
    for fill in (None, 0.0, 1e3):
        learner = make_learner(config, info)
        given = batch if fill is None else pad_batch(batch, 4, fill)
        learner.rng = _Constant()  # the same numbers for real steps whatever the padding
        metrics = learner.update(given, 0)
        results.append((metrics, [p.detach().clone() for p in learner.parameters()]))
    for metrics, weights in results[1:]:
        for name, value in metrics.items():
            th.testing.assert_close(value, results[0][0][name], rtol=1e-4, atol=1e-5, msg=name)
        for ours, first in zip(weights, results[0][1], strict=True):
            th.testing.assert_close(ours, first, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("alg", "space"), CASES)
def test_running_over_the_padding_changes_nothing(alg, space):
    """A batch for recorded updates, padded and with networks that run over the padding, gives the same update."""
    config, buffer = make_config(alg), random_buffer(make_info(space, limit=7))
    results = []
    for recorded in (False, True):
        learner = make_learner(config, buffer.info)
        buffer.pad_steps = learner.padded_to if recorded else 0
        learner.rng = _Constant()
        metrics = learner.update(buffer.recent(6), 0)
        results.append((metrics, [p.detach().clone() for p in learner.parameters()]))
    for name, value in results[1][0].items():
        th.testing.assert_close(value, results[0][0][name], rtol=1e-4, atol=1e-5, msg=name)
    for ours, first in zip(results[1][1], results[0][1], strict=True):
        th.testing.assert_close(ours, first, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("t_env", [700, 4000, 10**6])
@pytest.mark.parametrize(("alg", "space"), CASES)
def test_steps_may_be_a_tensor(alg, space, t_env):
    """As in a recorded update, to the last digit: uniformly random at first, then annealed, then at schedules' ends."""
    config = make_config(alg, uniform_steps=1000, epsilon_anneal_time=6000)
    batch = random_buffer(make_info(space)).recent(6)
    results = []
    for steps in (t_env, th.tensor(t_env, dtype=th.float64)):
        learner = make_learner(config, make_info(space))
        results.append((learner.learn(batch, steps), [p.detach().clone() for p in learner.parameters()]))
    for name, value in results[1][0].items():
        th.testing.assert_close(value, results[0][0][name], rtol=1e-6, atol=1e-8, msg=name)
    for ours, first in zip(results[1][1], results[0][1], strict=True):
        th.testing.assert_close(ours, first, rtol=1e-5, atol=1e-7)


class _Constant(th.Generator):
    """Marks a generator whose draws the test replaces."""


@pytest.fixture(autouse=True)
def _constant_draws(monkeypatch):
    """`th.rand` and `th.randn` with a `_Constant` generator give 0.3 everywhere."""
    for name in ("rand", "randn"):
        real = getattr(th, name)

        def fake(*size, _real=real, generator=None, **kwargs):
            if isinstance(generator, _Constant):
                return th.full(size[0], 0.3)
            return _real(*size, generator=generator, **kwargs)

        monkeypatch.setattr(th, name, fake)


@pytest.mark.parametrize(("alg", "space"), CASES)
def test_every_parameter_moves_and_targets_only_when_due(alg, space):
    """After three updates all online weights have moved; targets move at the third with an interval of 3."""
    info = make_info(space)
    learner = make_learner(make_config(alg, target_update_interval=3, target_tau=0.0), info)
    buffer = random_buffer(info)
    start = copy.deepcopy(learner.state_dict())
    for update in range(3):
        metrics = learner.update(learner.sample(buffer), 1000)
        assert all(th.isfinite(value) for value in metrics.values()), metrics
        moved = {name for name, value in learner.state_dict().items() if not th.equal(value, start[name])}
        target_moved = {name for name in moved if name.startswith("targets.")}
        assert bool(target_moved) == (update == 2 and len(learner.targets) > 0)
    still = {name for name, _ in learner.named_parameters() if name not in moved}
    assert not still, still


@pytest.mark.parametrize(("alg", "space"), CASES)
def test_polyak_targets(alg, space):
    """target_tau mixes after every update."""
    info = make_info(space)
    learner = make_learner(make_config(alg, target_update_interval=0, target_tau=0.1), info)
    if not learner.targets:
        return
    name = next(iter(learner.targets))
    before = copy.deepcopy(learner.targets[name].state_dict())
    learner.update(learner.sample(random_buffer(info)), 0)
    online = learner.get_submodule(name).state_dict()
    for key, value in learner.targets[name].named_parameters():
        th.testing.assert_close(value.detach(), 0.9 * before[key] + 0.1 * online[key])


@pytest.mark.parametrize(("alg", "space"), CASES)
def test_state_restores_the_next_update_bit_for_bit(alg, space):
    """A new learner with the state of the old one takes the same steps."""
    info = make_info(space)
    config = make_config(alg)
    first, second = make_learner(config, info, 0), make_learner(config, info, 1)
    buffer = random_buffer(info)
    first.update(first.sample(buffer), 10)
    second.restore(copy.deepcopy(first.state()))
    batch = buffer.recent(5)
    for learner in (first, second):
        learner.update(batch, 20)
    for name, value in first.state_dict().items():
        assert th.equal(value, second.state_dict()[name]), name


def test_the_state_of_another_device_s_generator():
    """Everything else is restored; random numbers begin anew, the same at every attempt."""
    info, config = make_info(), make_config("fop")
    first = make_learner(config, info)
    first.update(first.sample(random_buffer(info)), 10)
    state = first.state() | {"rng": th.zeros(16, dtype=th.uint8)}  # a GPU's
    drawn = []
    for seed in (1, 2):
        learner = make_learner(config, info, seed)
        learner.restore(copy.deepcopy(state))
        assert learner.n_updates == 1
        assert all(th.equal(x, learner.state_dict()[name]) for name, x in first.state_dict().items())
        drawn.append(th.rand(4, generator=learner.rng))
    assert th.equal(*drawn)
    assert not th.equal(drawn[0], th.rand(4, generator=make_learner(config, info).rng))


@pytest.mark.parametrize(("alg", "space"), CASES)
def test_agents_without_shared_parameters(alg, space):
    """Every agent has weights of its own and learns."""
    info = make_info(space)
    learner = make_learner(make_config(alg, share_parameters=False), info)
    assert learner.mac.agent.head.weight.shape[0] == info.n_agents
    before = learner.mac.agent.head.weight.detach().clone()
    metrics = learner.update(learner.sample(random_buffer(info)), 10**6)
    assert all(th.isfinite(value) for value in metrics.values())
    assert (learner.mac.agent.head.weight != before).flatten(1).any(1).all()


@pytest.mark.parametrize(("optimiser", "moves"), [("adam", True), ("amsgrad", False)])
def test_steps_after_gradients_have_vanished(optimiser, moves):
    """Adam forgets that gradients of 1 existed and takes whole steps by gradients of 0.01; AMSGrad remembers.

    Its largest second moment, 0.01 (beta_2 = 0.99), is that of the one gradient of 1: a step is lr * 0.01 / sqrt(0.01).
    """
    learner = make_learner(
        make_config("vdn", optimiser=optimiser, lr=1e-3, optim_eps=1e-8, grad_norm_clip=1e6), make_info(DISCRETE)
    )
    weight = learner.mac.agent.head.bias
    learner.optimise("q", weight.sum())
    for _ in range(6_000):
        learner.optimise("q", 0.01 * weight.sum())
    before = weight.detach().clone()
    learner.optimise("q", 0.01 * weight.sum())
    step = (before - weight.detach()).mean().item()
    assert step == pytest.approx(1e-3 if moves else 1e-4, rel=0.03)


LOOK_THROUGH = ("fop", "fop_official", "macpf", "isac", "masac", "hasac", "maddpg", "facmac", "dop_det")


@pytest.mark.parametrize(("alg", "space"), [case for case in CASES if case[0] in LOOK_THROUGH])
def test_actors_read_the_critic_as_it_was_before_its_step(alg, space):
    """The first update's policy loss and gradient do not depend on how far the critic moves in it."""
    info, seen = make_info(space), []
    for rate in (1e-9, 1.0):
        learner = make_learner(make_config(alg, critic_lr=rate), info)
        metrics = learner.update(random_buffer(info).recent(4), 0)
        seen.append([metrics["policy_loss"].item(), metrics["actor_grad_norm"].item()])
    assert seen[0] == seen[1]
