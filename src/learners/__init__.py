"""Registry of learners: `@register("name")` on the class; every `*_learner.py` of this folder is imported."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from learners.learner import REGISTRY, Learner, Metrics, register

for _path in sorted(Path(__file__).parent.glob("*_learner.py")):
    import_module(f"learners.{_path.stem}")

__all__ = ["REGISTRY", "Learner", "Metrics", "register"]
