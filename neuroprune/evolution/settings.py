"""How a population evolves: every number, with its default."""

import difflib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any

from neuroprune import activations
from neuroprune.evolution import mutation
from neuroprune.network.create import count_of
from neuroprune.network.views import check_number

SHARES = ("start_density", "add_node", "remove_node", "add_connection", "remove_connection", "mutate_weights",
          "weight_rate", "replace_rate", "bias_rate", "bias_replace_rate", "activation_rate", "crossover",
          "interspecies", "survival")
POWERS = ("weight_power", "bias_power", "weight_step", "bias_step", "threshold", "disjoint", "difference")
COUNTS = (("stagnation", 1), ("kept_species", 1), ("elites", 0), ("elite_size", 1), ("tournament", 1))
MAX_COUNT = 2**31 - 1


@dataclass(frozen=True)
class Settings:
    """All settings of an evolution; the defaults solve XOR, pole balancing and CartPole as they are.

    Attributes
    ----------
    activation, output_activation : str
        Of hidden nodes, new ones included, and of outputs.
    activations : tuple of str
        What `activation_rate` draws from; empty for no change of activations.
    recurrent : bool
        Whether connections may be delayed.
    start_density : float
        Share of the input-output pairs that are joined in the first generation, in [0, 1]; at least one is.
    weight_power, bias_power : float
        Standard deviation of first, new and replaced weights and biases.
    add_node, remove_node, add_connection, remove_connection : float
        Probability of each for a child.
    mutate_weights : float
        Probability that a child's weights and biases are perturbed at all.
    weight_rate, weight_step, replace_rate : float
        Of such a child: probability for each weight, standard deviation of a step, share of the changes that draw a
        new weight instead.
    bias_rate, bias_step, bias_replace_rate : float
        The same for biases.
    activation_rate : float
        Probability for each node of a child that its activation is drawn anew.
    crossover : float
        Probability that a child has two parents.
    interspecies : float
        Probability that the second one is of any species.
    species : int or None
        Wanted number of species: the threshold is steered toward it; None leaves the threshold as it is.
    threshold : float
        Compatibility distance below which two genomes are of one species, to begin with.
    disjoint, difference : float
        Coefficients of the distance, see `npr.distance`.
    stagnation : int
        Generations without improvement after which a species dies.
    kept_species : int
        The best species that never die of stagnation.
    elites : int
        How many of a species of at least `elite_size` members live on unchanged; the best genome of all always does.
    elite_size : int
        See `elites`.
    survival : float
        Share of a species that may be parents, in [0, 1]; at least two, where there are two.
    tournament : int
        A parent is the best of so many that are drawn.

    Examples
    --------
    >>> import neuroprune as npr
    >>> settings = npr.Settings(add_node=0.1, recurrent=True)
    >>> npr.Settings.from_json(settings.to_json()) == settings
    True
    """

    activation: str = "tanh"
    output_activation: str = "tanh"
    activations: tuple[str, ...] = ()
    recurrent: bool = False
    start_density: float = 1.0
    weight_power: float = 2.0
    bias_power: float = 0.0
    add_node: float = 0.05
    remove_node: float = 0.0
    add_connection: float = 0.2
    remove_connection: float = 0.0
    mutate_weights: float = 0.9
    weight_rate: float = 0.8
    weight_step: float = 0.5
    replace_rate: float = 0.1
    bias_rate: float = 0.1
    bias_step: float = 0.2
    bias_replace_rate: float = 0.0
    activation_rate: float = 0.0
    crossover: float = 0.75
    interspecies: float = 0.001
    species: int | None = 10
    threshold: float = 3.0
    disjoint: float = 1.0
    difference: float = 0.4
    stagnation: int = 15
    kept_species: int = 2
    elites: int = 1
    elite_size: int = 5
    survival: float = 0.2
    tournament: int = 1

    def __new__(cls, *_: Any, **values: Any) -> "Settings":
        _check_names(values)
        return super().__new__(cls)

    def __post_init__(self) -> None:
        if isinstance(self.activations, str) or not isinstance(self.activations, Iterable):
            raise TypeError(f"activations must be a tuple of names, got {self.activations!r}")
        object.__setattr__(self, "activations", tuple(self.activations))
        for name in (self.activation, self.output_activation, *self.activations):
            activations.code(name)
        if not isinstance(self.recurrent, bool):
            raise TypeError(f"recurrent must be True or False, got {self.recurrent!r}")
        for name in (*SHARES, *POWERS):  # numbers of Python's own, which JSON holds
            object.__setattr__(self, name, check_number(getattr(self, name), name))
        for name in SHARES:
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} must be in [0, 1], got {getattr(self, name)}")
        for name in POWERS:
            if getattr(self, name) < 0.0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")
        if self.threshold == 0.0:
            raise ValueError("threshold must be above 0, got 0.0: genomes at no distance are of one species")
        counts = COUNTS if self.species is None else (*COUNTS, ("species", 1))
        for name, least in counts:
            object.__setattr__(self, name, count_of(getattr(self, name), name, least))
            if getattr(self, name) > MAX_COUNT:
                raise ValueError(f"{name} must be at most {MAX_COUNT}, got {getattr(self, name)}")

    def mutation(self) -> mutation.Sequence:
        """The mutation operator that children go through."""
        weights = mutation.PerturbWeights(self.weight_rate, self.weight_step, self.replace_rate, self.weight_power)
        biases = mutation.PerturbBiases(self.bias_rate, self.bias_step, self.bias_replace_rate, self.bias_power)
        steps = [(mutation.AddNode(), self.add_node), (mutation.RemoveNode(), self.remove_node),
                 (mutation.AddConnection(self.weight_power), self.add_connection),
                 (mutation.RemoveConnection(), self.remove_connection),
                 (mutation.Sequence([weights, biases]), self.mutate_weights)]
        if self.activations and self.activation_rate > 0.0:
            steps.append((mutation.ChangeActivation(self.activations, self.activation_rate), 1.0))
        return mutation.Sequence([mutation.Choice([operator], [share]) for operator, share in steps if share > 0.0])

    def to_json(self) -> str:
        """All settings as JSON text."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Settings":
        """Settings from JSON text; what it does not name has its default.

        Examples
        --------
        >>> import neuroprune as npr
        >>> npr.Settings.from_json('{"ad_node": 0.5}')
        Traceback (most recent call last):
        ...
        ValueError: settings must have known names, got 'ad_node': did you mean 'add_node'?
        """
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"settings must be JSON, got {error}") from None
        return cls.from_dict(values)

    @classmethod
    def from_dict(cls, values: Any) -> "Settings":
        """Settings from a mapping of names to values."""
        if not isinstance(values, dict):
            raise ValueError(f"settings must be a mapping of names to values, got {type(values).__name__}")
        _check_names(values)
        return cls(**values)


def _check_names(names: Iterable[Any]) -> None:
    """Refuse names that are no setting, and say the nearest one."""
    known = [one.name for one in fields(Settings)]
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(known)}"
            raise ValueError(f"settings must have known names, got {name!r}: {hint}")
