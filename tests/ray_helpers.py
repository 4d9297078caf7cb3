"""Clusters of several Ray nodes on this machine."""

from __future__ import annotations

from utils import raycluster

ATTEMPTS = 4  # Ray gives a node 30 seconds to start, which a busy machine may exceed


def start(head_cpus: int, node_cpus: list[int]):
    """A cluster with a head and further nodes; returns it and these nodes."""
    raycluster.load()  # sets what Ray's processes inherit
    from ray.cluster_utils import Cluster

    cluster = persistently(lambda: Cluster(initialize_head=True, head_node_args={"num_cpus": head_cpus}))
    return cluster, [add(cluster, cpus) for cpus in node_cpus]


def add(cluster, cpus: int):
    """One more node."""
    return persistently(lambda: cluster.add_node(num_cpus=cpus))


def persistently(action):
    """Do it again if Ray says that a node timed out during startup."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return action()
        except Exception as error:
            if "timed out during startup" not in str(error) or attempt == ATTEMPTS:
                raise
    raise AssertionError("unreachable")
