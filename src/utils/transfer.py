"""From the host to a GPU, by way of pinned memory, so that nobody waits for the copy."""

from __future__ import annotations

import torch as th
from torch import Tensor

ALIGN = 512  # bytes: where a field begins in a common copy; as PyTorch's own allocations, lest products take other ways


def moved(x: Tensor, device: th.device | None) -> Tensor:
    """`x`, of the host, on the device (None: on the host)."""
    if device is None or device.type == "cpu":
        return x
    return x.pin_memory().to(device, non_blocking=True)


def moved_together(fields: dict[str, Tensor], device: th.device, pin: bool = True) -> dict[str, Tensor]:
    """`fields [B,T+1,...]` of any types, time first in memory, on the device: one copy for all.

    Args:
        fields: of the host.
        device: where to.
        pin: False only where there is no GPU, in tests.
    """
    flat = {name: field.transpose(0, 1).contiguous().flatten().view(th.uint8) for name, field in fields.items()}
    spans = [-(-len(part) // ALIGN) * ALIGN for part in flat.values()]
    here = th.empty(sum(spans), dtype=th.uint8, pin_memory=pin)
    for place, part in zip(here.split(spans), flat.values(), strict=True):
        place[: len(part)].copy_(part)
    there = here.to(device, non_blocking=True)
    out = {}
    for place, (name, field) in zip(there.split(spans), fields.items(), strict=True):
        shape = field.transpose(0, 1).shape
        out[name] = place[: field.nbytes].view(field.dtype).view(shape).transpose(0, 1)
    return out
