"""How far a population is pruned in each generation: along a ramp, or steered by its mean size.

Both work in any evolutionary loop: they say the sparsity, `Network.prune_to_sparsity` does the rest.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from neuroprune.network.create import count_of
from neuroprune.network.prune import PruneResult, prune_evolutionary
from neuroprune.network.views import check_number
from neuroprune.pruning import saliency

if TYPE_CHECKING:
    from neuroprune.network.network import Network


@dataclass(frozen=True)
class GenerationPruning:
    """A ramp of sparsity over generations, counted from 0.

    Attributes
    ----------
    target_sparsity : float
        Share of all the lineage has grown that is to go, in [0, 1]; at most 0.999 counts, 0 prunes nothing.
    start_generation : int
        The first generation that is pruned.
    interval : int
        Prune every so many generations from there on.
    ramp_generations : int
        The sparsity rises linearly from 0 at the start to the target so many generations later; 0 means at once.
    method : str or function
        A scorer of `npr.saliency.SCORERS` or any `f(weight, **signals)`.
    regrow_fraction : float
        In [0, 1]: of what goes, the share that grows anew elsewhere; the count stays exact.

    Examples
    --------
    >>> import neuroprune as npr
    >>> pruning = npr.GenerationPruning(0.5, ramp_generations=4)
    >>> [pruning.sparsity(generation) for generation in range(6)]
    [0.0, 0.125, 0.25, 0.375, 0.5, 0.5]
    >>> net = npr.Network.dense([4, 5, 2], seed=0)
    >>> pruning.prune(net, generation=4)
    <PruneResult: 15 removed, 0 regrown, 15 left, sparsity 0.5>
    """

    target_sparsity: float
    start_generation: int = 0
    interval: int = 1
    ramp_generations: int = 0
    method: str | Callable = "magnitude"
    regrow_fraction: float = 0.0

    def __post_init__(self) -> None:
        _check_numbers(self, ("target_sparsity", "regrow_fraction"), 1.0)
        for name, least in (("start_generation", 0), ("interval", 1), ("ramp_generations", 0)):
            object.__setattr__(self, name, count_of(getattr(self, name), name, least))
        saliency.scorer(self.method)

    def fires(self, generation: int) -> bool:
        """Whether this generation is pruned."""
        since = generation - self.start_generation
        return since >= 0 and since % self.interval == 0

    def sparsity(self, generation: int) -> float:
        """The sparsity that the ramp asks for."""
        since = max(generation - self.start_generation, 0)
        progress = min(since / self.ramp_generations, 1.0) if self.ramp_generations else 1.0
        return self.target_sparsity * progress

    def prune(self, net: "Network", generation: int) -> PruneResult | None:
        """Prune one network as its generation asks for; None when this generation is not pruned."""
        if not self.fires(generation):
            return None
        return prune_evolutionary(net, self.sparsity(generation), self.method, None, {}, self.regrow_fraction)


@dataclass(frozen=True)
class AdaptivePruning:
    """A pruning level that follows the population's mean connection count.

    While the mean is above the wanted share of the first generation's, the level rises; below, it falls.

    Attributes
    ----------
    target_sparsity : float
        Wanted share of the first generation's mean count to remove, and the highest level; in [0, 1].
    tolerance : float
        Distance from the wanted mean, as a share of the first one, within which nothing happens; at least 0.
    adjust_rate : float
        How far the level moves in a generation; at least 0.

    Examples
    --------
    >>> import neuroprune as npr
    >>> pruning = npr.AdaptivePruning(0.5, adjust_rate=0.1)
    >>> pruning.next_level(0.0, mean=50.0, baseline=50.0)  # far too many: the level rises
    0.1
    >>> pruning.next_level(0.1, mean=26.0, baseline=50.0) is None  # close enough
    True
    """

    target_sparsity: float
    tolerance: float = 0.05
    adjust_rate: float = 0.02

    def __post_init__(self) -> None:
        _check_numbers(self, ("target_sparsity",), 1.0)
        _check_numbers(self, ("tolerance", "adjust_rate"), inf)

    def next_level(self, level: float, mean: float, baseline: float) -> float | None:
        """The level that every network is pruned to now, or None when nothing is to be done.

        Parameters
        ----------
        level : float
            The level so far; 0 before the first generation.
        mean, baseline : float
            Mean connection count of the population, now and in the first generation.
        """
        excess = (mean - baseline * (1.0 - self.target_sparsity)) / (baseline or 1.0)
        if abs(excess) <= self.tolerance:
            return None
        moved = level + self.adjust_rate if excess > 0.0 else level - self.adjust_rate
        return min(max(moved, 0.0), self.target_sparsity)


def _check_numbers(pruning: GenerationPruning | AdaptivePruning, names: tuple[str, ...], most: float) -> None:
    """Make these attributes finite floats from 0 to most."""
    for name in names:
        value = check_number(getattr(pruning, name), name)
        if not 0.0 <= value <= most:
            raise ValueError(f"{name} must be {'at least 0' if most == inf else f'in [0, {most:g}]'}, got {value}")
        object.__setattr__(pruning, name, value)
