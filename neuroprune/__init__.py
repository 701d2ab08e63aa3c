"""Neuroevolution on networks that are trained and pruned while they live.

Networks: `Network`, `Graph`, `PruningSchedule`, `PruneResult`, `register_activation`.
Evolution: `Population`, `Settings`, `GenerationPruning`, `AdaptivePruning`, `Checkpoint`, `Species`,
`EvolutionHistory`; operators for any loop: `mutation`, `crossover`, `distance`, `Innovations`.
Problems to evolve on: `Dataset`, `XOR`, `PoleBalancing`, `DoublePole`, `Gym`, `sequences`; `Lamarckian` and
`Baldwinian` learning.
Pruning core, for arrays of any rank and library: `score`, `saliency`, `masks`, `schedules`.
"""

from neuroprune.activations import register_activation
from neuroprune.evolution import mutation, sequences
from neuroprune.evolution.checkpoint import Checkpoint
from neuroprune.evolution.crossover import crossover, distance
from neuroprune.evolution.gym import Gym
from neuroprune.evolution.history import EvolutionHistory
from neuroprune.evolution.innovation import Innovations
from neuroprune.evolution.learning import Baldwinian, Lamarckian
from neuroprune.evolution.poles import DoublePole, PoleBalancing
from neuroprune.evolution.population import Population
from neuroprune.evolution.problems import XOR, Dataset
from neuroprune.evolution.pruning import AdaptivePruning, GenerationPruning
from neuroprune.evolution.settings import Settings
from neuroprune.evolution.species import Species
from neuroprune.network.graph import Graph
from neuroprune.network.history import History
from neuroprune.network.network import Network
from neuroprune.network.prune import PruneResult, PruningSchedule
from neuroprune.pruning import masks, saliency, schedules
from neuroprune.pruning.saliency import score

__version__ = "0.1.0"

__all__ = [
    "XOR", "AdaptivePruning", "Baldwinian", "Checkpoint", "Dataset", "DoublePole", "EvolutionHistory",
    "GenerationPruning", "Graph", "Gym", "History", "Innovations", "Lamarckian", "Network", "PoleBalancing",
    "Population", "PruneResult", "PruningSchedule", "Settings", "Species", "crossover", "distance", "masks",
    "mutation", "register_activation", "saliency", "schedules", "score", "sequences",
]
