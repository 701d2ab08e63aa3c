"""Operators as programs: the rows that kernels run, and how one network is run through them as a batch of one."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from neuroprune import kernels
from neuroprune.evolution.genomes import Genomes
from neuroprune.evolution.innovation import Innovations
from neuroprune.network.graph import Graph

if TYPE_CHECKING:
    from neuroprune.evolution.mutation import Operator
    from neuroprune.network.network import Network

NAMES = ("SKIP", "JUMP", "ADD_NODE", "REMOVE_NODE", "ADD_CONNECTION", "REMOVE_CONNECTION", "PERTURB_WEIGHTS",
         "PERTURB_BIASES", "CHANGE_ACTIVATION", "PRUNE", "PRUNE_TO_SPARSITY", "REGROW")
INSTRUCTION = {name: code for code, name in enumerate(NAMES)}  # as in kernels.mutate, which would load the compiler


@dataclass(frozen=True)
class Program:
    """Rows for `kernels.breed.run_program`, and by how much they can enlarge a genome."""

    rows: np.ndarray
    choices: np.ndarray
    nodes: int
    edges: int
    splits: int


def compiled(operator: "Operator") -> Program:
    """The program that an operator is."""
    choices: list[int] = []
    listed = operator.rows(choices)
    rows = np.zeros((len(listed), 5))
    for i, (name, *numbers) in enumerate(listed):
        rows[i, 0] = INSTRUCTION[name]
        rows[i, 1:1 + len(numbers)] = numbers
    nodes = sum(name == "ADD_NODE" for name, *_ in listed)
    edges = nodes + sum(name == "ADD_CONNECTION" for name, *_ in listed)
    edges += sum(int(numbers[0]) for name, *numbers in listed if name == "REGROW")
    return Program(rows, np.array(choices, np.uint8), nodes, edges, nodes)


def run(program: Program, network: "Network", rng: np.random.Generator, innovations: Innovations | None) -> None:
    """Run a program on a batch of one and put the outcome into the network."""
    graph = network._graph
    genomes = Genomes.pack([network])
    n, e = graph.n_nodes, graph.n_connections
    places = (n + program.nodes) ** 2  # Regrow is capped by them
    room = np.array([n + program.nodes, max(min(e + program.edges, e + places), 1)])
    result = Genomes.room_for(graph.n_inputs, graph.n_outputs, graph.recurrent, network._default_code, room[:1],
                              room[1:])
    splits = np.zeros((program.splits, 2), np.int64)
    state = rng.integers(1, 2**32, 4)
    count, rewired = kernels.breed.mutate_one(genomes.columns, graph.n_inputs, graph.n_outputs, network._default_code,
                                              program.rows, program.choices, state, room, result.columns, splits)
    columns = result.columns
    n, e = int(columns.n_nodes[0]), int(columns.n_edges[0])
    if count:
        names = (Innovations() if innovations is None else innovations).names(splits[:count], graph.ids)
        kernels.breed.name_splits(columns, 0, names, count)
    network._evolution_baseline = int(columns.baseline[0]) or None
    if not rewired:
        network._parameters[:] = columns.parameters[:e + n]
        network._code[:] = columns.code[:n]
        return
    new = Graph(graph.n_inputs, graph.n_outputs, columns.ids[:n].copy(), columns.incoming[:n + 1].copy(),
                columns.source[:e].copy(), columns.delayed[:e].copy() if graph.recurrent else None)
    _rewire(network, new, columns.parameters[:e + n], columns.code[:n])


def _rewire(network: "Network", new: Graph, parameters: np.ndarray, code: np.ndarray) -> None:
    """Replace the graph; gradient and state follow their connections and nodes."""
    old = network._graph
    former = old.match(new)
    kept = bool((former >= 0).all())
    signals = tuple(column[former] for column in network._signals) if kept and network._signals is not None else None
    same_nodes = np.array_equal(old.ids, new.ids)
    if same_nodes and old.layer_sizes is not None:
        new = Graph(new.n_inputs, new.n_outputs, old.ids, new.incoming, new.source, new.delayed, old.layer_sizes)
    e = new.n_connections
    network._replace(new, parameters[:e], signals, None if same_nodes else old.positions(new.ids))
    network._bias[:] = parameters[e:]
    network._code[:] = code
