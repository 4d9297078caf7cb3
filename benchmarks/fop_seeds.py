"""Many runs of FOP on the paper's matrix game at once: `python benchmarks/fop_seeds.py [--runs 200] [--updates 2500]`.

What decides whether a run ends with flat Q_i under an exact Q_jt, or jumps from an exact fit? The critic and the
mixer are the project's, with the sizes of the study `games`; `torch.func.vmap` trains them for all runs together.
Simpler than in a run of main.py: policies are softmax(Q_i / alpha), what eq. (11) tends to. Data: random share from 1
to 0.05 over the first half, four joint actions an update. alpha falls from 1 to its final value over the first half.

Prints a row for each optimiser, initial bias and bound of the lambda network and final alpha: runs whose greedy actions
are (A, A); the smallest and the median margin min_i [Q_i(A) - max(Q_i(B), Q_i(C))]; the largest error of Q_jt, in the
median run and in the worst one; runs whose error exceeds 0.3.

Shape legend: R runs, N agents, A actions, J joint actions, I inputs.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch as th
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))
from modules.agents import REGISTRY as AGENTS  # noqa: E402
from modules.agents.trunk import AgentShape, Head  # noqa: E402
from modules.mixers import REGISTRY as MIXERS  # noqa: E402
from modules.mixers.igo import LAMBDA_BIAS  # noqa: E402
from modules.mixers.mixer import MixerShape  # noqa: E402

PAYOFF = th.tensor([[8.0, -12.0, -12.0], [-12.0, 0.0, 0.0], [-12.0, 0.0, 0.0]])
N, A = PAYOFF.dim(), len(PAYOFF)
JOINT = th.cartesian_prod(*[th.arange(A)] * N)  # [J,N]
BATCH, PER_UPDATE, LR, EPS, CLIP = 32, 4, 1e-3, 1e-8, 10.0
ADAM, AMSGRAD = {"betas": (0.9, 0.999)}, {"betas": (0.9, 0.99), "amsgrad": True}  # as learners/learner.py has them
WRONG = 0.3  # an error of Q_jt that counts

Weights = dict[str, Tensor]


class Start(NamedTuple):
    """The lambda network: its initial bias, None as PyTorch draws it, and its bound, 0 for none."""

    bias: float | None
    limit: float = 0.0


LAMBDA_NETS = (Start(None), Start(LAMBDA_BIAS), Start(LAMBDA_BIAS, 10.0))


class Model(nn.Module):
    """Q_i of every action and Q_jt of every joint action, in one state."""

    def __init__(self, start: Start) -> None:
        super().__init__()
        inputs = th.cat((th.ones(N, 1), th.zeros(N, A), th.eye(N)), dim=-1)  # observation, last action, agent
        self.register_buffer("inputs", inputs[None, None])  # [1,1,N,I]
        self.critic = Head(AGENTS["mlp"](AgentShape(N, inputs.shape[-1], 64)), A)
        self.mixer = MIXERS["igo"](MixerShape(N, 1, A, lambda_max=start.limit))
        if start.bias is None:
            self.mixer.lambda_net.net[-1].reset_parameters()
        else:
            nn.init.constant_(self.mixer.lambda_net.net[-1].bias, start.bias)

    def forward(self, alpha: Tensor) -> tuple[Tensor, Tensor]:
        """At temperature `alpha []`: Q_i `[N,A]` and Q_jt `[J]`."""
        q = self.critic(self.inputs, [1])[0, 0, 0]
        baseline = (alpha * (q / alpha).logsumexp(-1)).detach().expand(1, len(JOINT), N)
        taken = q.gather(-1, JOINT.T).T.unsqueeze(0)  # [1,J,N]
        encoded = nn.functional.one_hot(JOINT, A).float().unsqueeze(0)
        state = th.ones(1, len(JOINT), 1)
        return q, self.mixer(taken, state, actions=encoded, baseline=baseline).view(-1)


def loss(model: Model, weights: Weights, buffers: Weights, counts: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
    """Eq. (9) on a batch in which joint action j has the share `counts[j]`; also Q_i `[N,A]`."""
    q, q_joint = th.func.functional_call(model, (weights, buffers), (alpha,))
    return (counts * (q_joint - PAYOFF.flatten()).square()).sum(), q.detach()


@dataclass
class Runs:
    """R runs side by side: stacked weights, one optimiser (element-wise, so each run has its own), their replay."""

    model: Model
    weights: Weights
    buffers: Weights
    optimiser: th.optim.Adam
    data: Tensor  # numbers of joint actions, [R,updates * PER_UPDATE]
    rng: th.Generator

    @classmethod
    def start(cls, runs: int, updates: int, start: Start, options: Mapping[str, object]) -> Runs:
        """Fresh networks for every run."""
        models = [Model(start) for _ in range(runs)]
        weights, buffers = th.func.stack_module_state(models)
        optimiser = th.optim.Adam(list(weights.values()), LR, eps=EPS, fused=True, **options)  # type: ignore[arg-type]
        data = th.zeros(runs, updates * PER_UPDATE, dtype=th.long)
        return cls(copy.deepcopy(models[0]), weights, buffers, optimiser, data, th.Generator().manual_seed(0))

    def collect(self, number: int, q: Tensor, alpha: float, epsilon: float) -> None:
        """Joint actions of update `number`: softmax(Q_i / alpha), `q [R,N,A]`, mixed with uniform."""
        policy = (1 - epsilon) * (q / alpha).softmax(-1) + epsilon / A
        drawn = th.multinomial(policy.view(-1, A), PER_UPDATE, replacement=True, generator=self.rng)
        first, second = drawn.view(-1, N, PER_UPDATE).unbind(1)
        self.data[:, number * PER_UPDATE : (number + 1) * PER_UPDATE] = first * A + second

    def update(self, number: int, alpha: float) -> Tensor:
        """One step of all runs on batches from what they have collected; Q_i `[R,N,A]` before it."""
        picked = th.randint((number + 1) * PER_UPDATE, (len(self.data), BATCH), generator=self.rng)
        counts = nn.functional.one_hot(self.data.gather(1, picked), len(JOINT)).sum(1) / BATCH
        call = th.func.vmap(th.func.grad(partial(loss, self.model), has_aux=True), in_dims=(0, 0, 0, None))
        grads, q = call(self.weights, self.buffers, counts, th.tensor(alpha))
        norm = sum(grad.flatten(1).square().sum(1) for grad in grads.values()).sqrt()  # type: ignore[union-attr]
        scale = (CLIP / (norm + 1e-6)).clamp(max=1.0)
        for name, weight in self.weights.items():
            weight.grad = grads[name] * scale.view(-1, *[1] * (weight.dim() - 1))
        self.optimiser.step()
        return q


def train(runs: int, updates: int, start: Start, options: Mapping[str, object], alpha_finish: float) -> list[str]:
    """The row of one setting."""
    th.manual_seed(0)
    many = Runs.start(runs, updates, start, options)
    q = th.zeros(runs, N, A)
    for number in range(updates):
        done = min(2.0 * number / updates, 1.0)
        alpha = 1.0 + (alpha_finish - 1.0) * done
        many.collect(number, q, alpha, max(1.0 - 0.95 * done, 0.05))
        if (number + 1) * PER_UPDATE >= BATCH:
            q = many.update(number, alpha)
    with th.no_grad():
        call = partial(th.func.functional_call, many.model)
        q, q_joint = th.func.vmap(lambda w, b: call((w, b), (th.tensor(alpha_finish),)))(many.weights, many.buffers)
    errors = (q_joint - PAYOFF.flatten()).abs().amax(-1).sort().values
    margins = (q[..., 0] - q[..., 1:].amax(-1)).amin(-1).sort().values
    numbers = [margins[0], margins[runs // 2], errors[runs // 2], errors[-1]]
    return [f"{int((margins > 0).sum())} of {runs}", *(f"{x:.2f}" for x in numbers), str(int((errors > WRONG).sum()))]


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--runs", type=int, default=200, help="runs of each setting (default 200)")
    parser.add_argument("--updates", type=int, default=2500, help="updates of each run (default 2500)")
    given = parser.parse_args(argv)
    th.set_num_threads(1)
    names = ["final alpha", "optimiser", "lambda bias", "lambda max", "(A, A)", "margin: least", "median"]
    head = [*names, "error: median", "worst", f"> {WRONG:g}"]
    print("| " + " | ".join(head) + " |\n" + "| --- " * len(head) + "|")
    optimisers = {"adam": ADAM, "amsgrad": AMSGRAD}
    for alpha, name, start in itertools.product((1.0, 0.01), optimisers, LAMBDA_NETS):
        row = train(given.runs, given.updates, start, optimisers[name], alpha)
        bias = "drawn" if start.bias is None else f"{start.bias:g}"
        print("| " + " | ".join([f"{alpha:g}", name, bias, f"{start.limit or 'none'}", *row]) + " |", flush=True)


if __name__ == "__main__":
    main()
