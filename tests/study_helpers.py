"""A small study for tests of the command."""

from pathlib import Path

SRC = Path(__file__).resolve().parents[1] / "src"
STUDY = {
    "title": "A small study",
    "about": "Two methods.",
    "renderer": "payoff_tables",
    "env": "matrix_game",
    "seeds": 2,
    "shared": {"t_max": 96, "agent": "mlp", "hidden_dim": 8, "save_model": False, "test_nepisode": 1},
    "methods": {"VDN": "vdn", "QMIX": "qmix"},
    "cases": {"game": {"title": "as given"}},
    "info": {
        "paper": {"game": {"VDN": {"Q1": [1, 2, 3], "Q2": [4, 5, 6], "Qjt": [[0] * 3] * 3, "greedy": ["A", "C"]}}}
    },
}
