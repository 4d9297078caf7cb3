"""Our weights under the names of the published code, so that both sides of `learner.py --against` start alike."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from torch import Tensor, nn

from learners import Learner

Named = Iterator[tuple[str, Tensor]]


def _affine(name: str, layer: Any, member: int = 0) -> Named:
    """One member of a grouped layer as a linear layer."""
    yield f"{name}.weight", layer.weight[member].t()
    yield f"{name}.bias", layer.bias[member, 0]


def _linear(name: str, layer: nn.Linear, rows: slice = slice(None)) -> Named:
    """Some rows of a linear layer."""
    yield f"{name}.weight", layer.weight[rows]
    yield f"{name}.bias", layer.bias[rows]


def _agent(learner: Any) -> Named:
    """The recurrent agent."""
    network = learner.mac.agent
    yield from _affine("mac.agent.fc1", network.trunk.first)
    yield from _affine("mac.agent.fc2", network.head)
    gru = network.trunk.rnn
    yield "mac.agent.rnn.weight_ih", gru.weight_in[0].t()
    yield "mac.agent.rnn.weight_hh", gru.weight_hidden[0].t()
    yield "mac.agent.rnn.bias_ih", gru.bias_in[0, 0]
    yield "mac.agent.rnn.bias_hh", gru.bias_hidden[0, 0]


def _fop(learner: Any) -> Named:
    """Twin critics and mixers of the released FOP code."""
    for k, mixer in enumerate(learner.mixer.members):
        critic, name = learner.critic, f"critic{k + 1}"
        layers = {"fc1": critic.trunk.first, "fc2": critic.trunk.second, "fc3": critic.head}
        for layer, ours in layers.items():
            yield from _affine(f"{name}.{layer}", ours, k)
        name, net, n_agents = f"mixer{k + 1}", mixer.lambda_net, mixer.shape.n_agents
        for head in range(mixer.shape.n_heads):
            own = slice(head * n_agents, (head + 1) * n_agents)
            yield from _linear(f"{name}.key_extractors.{head}", net.key, slice(head, head + 1))
            yield from _linear(f"{name}.agents_extractors.{head}", net.agents, own)
            yield from _linear(f"{name}.action_extractors.{head}", net.action, own)
        for layer in (0, 2):
            yield from _linear(f"{name}.V.{layer}", mixer.v[layer])


def _qmix(learner: Any) -> Named:
    """PyMARL's mixing network."""
    mixer = learner.mixer
    sequences = {"hyper_w_1": mixer.hyper_w1, "hyper_w_final": mixer.hyper_w2, "V": mixer.v}
    for name, ours in sequences.items():
        for layer in (0, 2):
            yield from _linear(f"mixer.{name}.{layer}", ours[layer])
    yield from _linear("mixer.hyper_b_1", mixer.hyper_b1)


PUBLISHED = {"fop_official": _fop, "qmix": _qmix}  # algorithms whose networks are the published ones


def published_weights(alg: str, learner: Learner) -> dict[str, np.ndarray]:
    """Published name -> our weights; of `fop_official` and `qmix`."""
    named = [*_agent(learner), *PUBLISHED[alg](learner)]
    return {name: weight.detach().cpu().contiguous().numpy().copy() for name, weight in named}
