"""The same evolution here and on a Dask cluster: the same bits, and a lost worker costs a retry.

    python examples/dask_cluster.py [--quick] [--seed 0] [--scheduler tcp://host:8786]

    pip install "neuroprune[examples]"

Without an address a cluster of two processes is started on this machine. The fitness is an ordinary function of one
network; with --scheduler it runs wherever your workers are.
"""

import argparse

import numpy as np
from dask.distributed import Client, LocalCluster

import neuroprune as npr


def fitness(net: npr.Network) -> float:
    """How closely the network follows a sine over one period, a row at a time."""
    x = np.linspace(-np.pi, np.pi, 50)
    return -float(np.mean([(net([value])[0] - np.sin(value)) ** 2 for value in x]))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="few generations, to see that it works")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scheduler", help="address of a running cluster")
    options = parser.parse_args()
    generations, size = (3, 20) if options.quick else (50, 150)
    settings = npr.Settings(output_activation="identity")

    here = npr.Population(1, 1, size, seed=options.seed, settings=settings).evolve(fitness, generations)
    cluster = None if options.scheduler else LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)
    with Client(options.scheduler or cluster) as client, client.get_executor() as executor:
        population = npr.Population(1, 1, size, seed=options.seed, settings=settings)
        there = population.evolve(fitness, generations, executor=executor)
    if cluster is not None:
        cluster.close()
    print(f"here:   {fitness(here):.6f}  {here}\nthere:  {fitness(there):.6f}  {there}")
    print("the same network, bit for bit" if here.equals(there) else "the two differ")


if __name__ == "__main__":
    main()
