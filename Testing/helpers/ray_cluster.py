"""A Ray cluster of several nodes on this machine, one of which dies in the middle of a training.

``python ray_cluster.py ARGUMENTS`` runs ``cadx ARGUMENTS --workers ray --ray-address ...`` on it. Ray listens on all
interfaces, so this belongs into a network namespace of its own.
"""

from __future__ import annotations

import os
import sys

import killing

NODES = 2
# how soon a node that is gone is given up: 1.5 s in place of 15 or more
SOON = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 3}
COMMON = {"include_dashboard": False, "include_log_monitor": False, "object_store_memory": 100_000_000}


def main() -> int:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    from cadx.cli import main as cadx

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "_system_config": SOON, **COMMON})
    try:
        nodes = [cluster.add_node(num_cpus=1, **COMMON) for _ in range(NODES)]
        raylet = nodes[0].all_processes["raylet"][0].process.pid
        killing.kill_in_training(raylet, besides=(raylet,))
        return cadx([*sys.argv[1:], "--workers", "ray", "--ray-address", cluster.address])
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    sys.exit(main())
