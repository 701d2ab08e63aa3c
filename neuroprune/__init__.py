"""Neuroevolution on networks that are trained and pruned while they live.

Networks: `Network`, `Graph`, `PruningSchedule`, `PruneResult`, `register_activation`.
Evolution: `Population`, `Settings`, `GenerationPruning`, `AdaptivePruning`, `Checkpoint`, `Species`,
`EvolutionHistory`; operators for any loop: `mutation`, `crossover`, `distance`, `Innovations`.
Problems to evolve on: `Dataset`, `XOR`, `PoleBalancing`, `DoublePole`, `Gym`, `sequences`; `Lamarckian` and
`Baldwinian` learning.
Pruning core, for arrays of any rank and library: `score`, `saliency`, `masks`, `schedules`, `distribution`, `decay`,
`Rewire`, `metrics`.
Dense layers and tensors: `prune_tensors`, `prune_layers`, `DenseLayer`, `to_sparse`, `calibrate`; for PyTorch models
`neuroprune.tensors.torch`.
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
from neuroprune.pruning import decay, distribution, masks, metrics, saliency, schedules
from neuroprune.pruning.rewire import Rewire
from neuroprune.pruning.saliency import score
from neuroprune.tensors.calibration import calibrate
from neuroprune.tensors.dense import DenseLayer, prune_layers
from neuroprune.tensors.formats import to_sparse
from neuroprune.tensors.prune import prune_tensors

__version__ = "0.1.0"

__all__ = [
    "XOR", "AdaptivePruning", "Baldwinian", "Checkpoint", "Dataset", "DenseLayer", "DoublePole", "EvolutionHistory",
    "GenerationPruning", "Graph", "Gym", "History", "Innovations", "Lamarckian", "Network", "PoleBalancing",
    "Population", "PruneResult", "PruningSchedule", "Rewire", "Settings", "Species", "calibrate", "crossover",
    "decay", "distance", "distribution", "masks", "metrics", "mutation", "prune_layers", "prune_tensors",
    "register_activation", "saliency", "schedules", "score", "sequences", "to_sparse",
]
