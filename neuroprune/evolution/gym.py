"""Environments of gymnasium as a problem: all networks of a generation play at once."""

from collections.abc import Iterator
from itertools import count
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

import numpy as np

from neuroprune import activations, kernels, rng
from neuroprune.evolution.genomes import Genomes
from neuroprune.evolution.spaces import SCALINGS, action_of, observation_of
from neuroprune.network.create import count_of

if TYPE_CHECKING:
    from neuroprune.network.network import Network

ENVIRONMENTS = 256  # single environments that are alive at once
SHRINK = 0.8  # share of its rows still playing from which a batch leaves out the others
VECTORIZATIONS = ("auto", "vector_entry_point", "sync")


class Gym:
    """Fitness is the mean return over some episodes of a gymnasium environment.

    Observations are flattened to one row of numbers: Box and MultiBinary as they are, every choice of Discrete and
    MultiDiscrete one-hot, the parts of Tuple and Dict side by side. Actions come from the outputs: for Discrete the
    highest output of n (the first of equals); for MultiDiscrete the same in each group, for MultiBinary in each pair
    (off, on); for Box one output per number, see `scaling`. A network with an output that is not a number has the
    return NaN.

    Networks of recurrent genomes begin every episode with a state of zeros.

    Parameters
    ----------
    env_id : str
        A registered environment. The form "module:id" imports the module that registers it, which processes of a
        pool and of a cluster need for environments of your own.
    episodes : int
        Episodes per network and evaluation.
    max_steps : int or None
        Episodes end after so many steps at the latest. To lengthen them pass `max_episode_steps=`.
    vectorization : {"auto", "vector_entry_point", "sync"}
        "vector_entry_point" takes the environment's own vector form, which steps all episodes of the population
        in one call; "sync" takes one single environment per network, of which only those still playing are stepped;
        "auto" takes the first where it is registered and `same_episodes` allows it.
    same_episodes : bool
        Whether all networks of a generation play episodes of the same seeds, which makes them comparable; else
        each has its own, so that luck with one start does not decide a generation. Vector forms draw all starts
        from one generator and cannot do it.
    scaling : {"linear", "tanh", "clip"}
        Outputs to actions of a Box. "linear": the output is clipped to [-1, 1] and stretched to [low, high]; "tanh":
        its tanh is stretched; "clip": it is clipped to [low, high]. A number without both bounds is clipped to those
        that it has. Integers are rounded.
    **options
        Further arguments of `gymnasium.make` and of the environment.

    Attributes
    ----------
    n_inputs, n_outputs : int
        What networks need.
    recurrent : bool
        False: networks of both kinds are taken.
    solved_at : float or None
        The mean return that the environment's registration calls solved.
    whole : bool
        True for vector forms: their environments share one generator, so the networks of a population have to be
        evaluated in one piece. Otherwise a network's fitness depends on (seed, generation, its index) alone.

    Raises
    ------
    ImportError
        Without gymnasium.
    ValueError
        For an unknown environment, or one whose spaces are of other kinds.

    Examples
    --------
    >>> import neuroprune as npr
    >>> from neuroprune.evolution.gym import Gym
    >>> problem = Gym("CartPole-v1", episodes=2)
    >>> problem.n_inputs, problem.n_outputs, problem.solved_at, problem.whole
    (4, 2, 475.0, True)
    >>> balancer = npr.Network.from_connections(4, 2, [(1, 5, 1.0), (2, 5, 2.0), (3, 5, 2.0)], activation="identity")
    >>> problem.play(balancer, episodes=3, seed=0).tolist()
    [500.0, 500.0, 500.0]
    """

    recurrent = False

    def __init__(self, env_id: str, episodes: int = 1, max_steps: int | None = None, vectorization: str = "auto",
                 same_episodes: bool = False, scaling: str = "linear", **options: Any) -> None:
        episodes = count_of(episodes, "episodes", 1)
        if max_steps is not None:
            max_steps = count_of(max_steps, "max_steps", 1)
        _check_choice(vectorization, VECTORIZATIONS, "vectorization")
        _check_choice(scaling, SCALINGS, "scaling")
        if not isinstance(same_episodes, bool):
            raise TypeError(f"same_episodes must be True or False, got {same_episodes!r}")
        if same_episodes and vectorization == "vector_entry_point":
            raise ValueError("same_episodes must be False with vectorization='vector_entry_point', whose starts come "
                             "from one generator: pass vectorization='sync'")
        spec = _registered(env_id)
        has_vector = spec.vector_entry_point is not None and not spec.additional_wrappers
        if vectorization == "vector_entry_point" and not has_vector:
            raise ValueError(f"vectorization must be 'sync' for {env_id}, which has no vector entry point")
        self.env_id = env_id
        self.episodes = episodes
        self.max_steps = max_steps
        self.same_episodes = same_episodes
        self.options = options
        self.solved_at = spec.reward_threshold
        self.whole = has_vector and vectorization != "sync" and not same_episodes
        self._forget()
        if self.whole:
            env = self._make_vector(1)
            self._vectors.append(env)
            spaces = env.single_observation_space, env.single_action_space
        else:
            env = self._make(disable_env_checker=False)  # one of them tells what is wrong with the environment
            self._singles.append(env)
            spaces = env.observation_space, env.action_space
        try:
            self._observation = observation_of(spaces[0], env_id)
            self._action = action_of(spaces[1], env_id, scaling)
        except ValueError:
            self.close()
            raise
        self.n_inputs = self._observation.width
        self.n_outputs = self._action.width

    def evaluate(self, genomes: Genomes, seed: int = 0, generation: int = 0, first: int = 0) -> np.ndarray:
        """Mean return of every network.

        Parameters
        ----------
        genomes : Genomes
        seed, generation, first : int
            Network i plays episodes of seeds from the stream (seed, generation, first + i); with `same_episodes`
            all play those of the stream of index 0.

        Returns
        -------
        array (len(genomes),), float64
        """
        if self.whole:
            return self._play_vector(genomes, self.episodes, _seeds(seed, generation, first, 1)[0]).mean(axis=1)
        if self.same_episodes:
            seeds = [_seeds(seed, generation, 0, self.episodes)] * len(genomes)
        else:
            seeds = [_seeds(seed, generation, first + i, self.episodes) for i in range(len(genomes))]
        return self._play_singles(genomes, seeds).mean(axis=1)

    def play(self, net: "Network", episodes: int | None = None, seed: int | None = None) -> np.ndarray:
        """Returns of one network, by default over as many episodes as an evaluation has.

        Parameters
        ----------
        net : Network
            Its state and its numbers stay as they are.
        episodes : int or None
        seed : int or None
            Of the episodes' starts; None takes fresh entropy.

        Returns
        -------
        array (episodes,), float64
        """
        episodes = self.episodes if episodes is None else count_of(episodes, "episodes", 1)
        seeds = _seeds(_integer(seed), 0, 0, episodes)
        genomes = Genomes.pack([net])
        if self.whole:
            return self._play_vector(genomes, episodes, seeds[0])[0]
        return self._play_singles(genomes, [seeds])[0]

    def render(self, net: "Network", seed: int | None = None) -> list[np.ndarray]:
        """Pictures of one episode: one of its start, one after each step.

        Returns
        -------
        list of array (height, width, 3), uint8

        Raises
        ------
        ValueError
            When the environment makes no pictures of the kind "rgb_array".
        ImportError
            When the package that it draws with is missing.
        """
        import gymnasium

        seeds = _seeds(_integer(seed), 0, 0, 1)
        if _registered(self.env_id).entry_point is None:
            raise ValueError(f"{self.env_id} must have a single form to be rendered, has a vector form only")
        plain = self._make()
        modes = plain.metadata.get("render_modes", [])
        plain.close()
        if "rgb_array" not in modes:
            raise ValueError(f"{self.env_id} must support the render mode 'rgb_array', has {modes}")
        env = self._make(render_mode="rgb_array")
        frames: list[np.ndarray] = []
        try:
            self._play_singles(Genomes.pack([net]), [seeds], [env], frames)
        except gymnasium.error.DependencyNotInstalled as error:
            raise ImportError(f"rendering {self.env_id} needs a package that is missing: {error}") from None
        finally:
            env.close()
        return frames

    def close(self) -> None:
        """Close the environments; the next evaluation makes new ones."""
        for env in self._singles + self._vectors:
            env.close()
        self._forget()

    def __enter__(self) -> "Gym":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __getstate__(self) -> dict:
        return {key: value for key, value in self.__dict__.items() if key not in ("_singles", "_vectors")}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._forget()

    def __repr__(self) -> str:
        plural = "" if self.episodes == 1 else "s"
        return (f"<Gym: {self.env_id}, {self.n_inputs} inputs, {self.n_outputs} outputs, {self.episodes} "
                f"episode{plural}>")

    def _forget(self) -> None:
        """No environment is kept. Those kept are taken out and put back one by one, so threads may share a problem."""
        self._singles: list[Any] = []
        self._vectors: list[Any] = []

    def _make(self, **more: Any) -> Any:
        import gymnasium

        return gymnasium.make(self.env_id, **{"disable_env_checker": True, **more, **self.options})

    def _make_vector(self, n: int) -> Any:
        import gymnasium

        return gymnasium.make_vec(self.env_id, num_envs=n, vectorization_mode="vector_entry_point", **self.options)

    def _vector_of(self, n: int) -> Any:
        """The vector environment that was kept, if it is of this size, else a new one."""
        env = _last(self._vectors)
        if env is not None and env.num_envs != n:
            env.close()
            env = None
        return self._make_vector(n) if env is None else env

    def _check(self, genomes: Genomes) -> None:
        if (genomes.n_inputs, genomes.n_outputs) != (self.n_inputs, self.n_outputs):
            raise ValueError(f"networks for {self.env_id} must have {self.n_inputs} inputs and {self.n_outputs} "
                             f"outputs, got {genomes.n_inputs} and {genomes.n_outputs}")

    def _play_vector(self, genomes: Genomes, episodes: int, seed: int) -> np.ndarray:
        """Returns (networks, episodes), all episodes played at once in the environment's own vector form.

        What a sub-environment does after its first episode, which depends on its autoreset mode, does not count.
        """
        from gymnasium.vector import AutoresetMode

        self._check(genomes)
        shape = len(genomes), episodes
        repeated = np.repeat(np.arange(shape[0]), episodes)
        if genomes.recurrent:  # a state each
            genomes, repeated = genomes.take(repeated), np.arange(repeated.size)
        totals = np.zeros(repeated.size)
        if not totals.size:
            return totals.reshape(shape)
        env = self._vector_of(totals.size)
        resets = env.metadata.get("autoreset_mode") is not AutoresetMode.DISABLED
        batch = _Batch(genomes, repeated)
        live = None  # the rows that the batch computes, None for all; some of them may have ended
        playing = np.ones(totals.size, np.bool_)
        sums = totals.copy()  # of the live rows
        try:
            observation, _ = env.reset(seed=seed)
            for _ in self._steps():
                self._observation.write(observation, batch.x, live)
                out = batch.step()
                _refuse_nan(out, sums, playing)
                chosen = self._action.read(out)
                if live is None:
                    actions = chosen
                else:
                    actions = actions.copy()  # the environment may keep what it was given
                    actions[live] = chosen
                observation, reward, terminated, truncated, _ = env.step(actions)
                ended = np.logical_or(terminated, truncated)
                if not resets and np.count_nonzero(ended):
                    env.reset(options={"reset_mask": ended})
                if live is not None:
                    reward, ended = np.asarray(reward)[live], ended[live]
                np.add(sums, reward, out=sums, where=playing)
                ended &= playing
                if not np.count_nonzero(ended):
                    continue
                playing ^= ended
                left = np.count_nonzero(playing)
                if left == 0:
                    break
                if left <= SHRINK * playing.size:
                    totals[slice(None) if live is None else live] = sums
                    live = np.flatnonzero(playing) if live is None else live[playing]
                    sums, playing = sums[playing], np.ones(left, np.bool_)
                    batch.take(repeated[live])
        except BaseException:
            env.close()
            raise
        totals[slice(None) if live is None else live] = sums
        self._vectors.append(env)
        return totals.reshape(shape)

    def _steps(self) -> Iterator[int]:
        return iter(range(self.max_steps)) if self.max_steps else count()

    def _play_singles(self, genomes: Genomes, seeds: list[list[int]], envs: list[Any] | None = None,
                      frames: list[np.ndarray] | None = None) -> np.ndarray:
        """Returns (networks, episodes), each network in a single environment, its episodes one after the other.

        A place is an environment with its network; a place whose network is done goes to the next one that waits.
        """
        self._check(genomes)
        returns = np.zeros((len(genomes), len(seeds[0]) if seeds else self.episodes))
        players = np.arange(min(len(genomes), ENVIRONMENTS))
        if not players.size:
            return returns
        waiting = players.size
        totals = np.zeros(players.size)
        rounds = np.zeros(players.size, np.int64)  # which episode each place plays,
        steps = np.zeros(players.size, np.int64)  # and how many steps it has taken
        own = envs is None
        envs = [] if own else envs
        batch = _Batch(genomes, players)
        try:
            while len(envs) < players.size:
                envs.append(_last(self._singles) or self._make())
            places = list(envs)
            for place, player in enumerate(players):
                self._begin(places[place], seeds[player][0], batch.x[place:place + 1])
                _picture(places[place], frames)
            while places:
                out = batch.step()
                _refuse_nan(out, totals, True)
                actions = self._action.read(out)
                steps += 1
                done = []
                for place, env in enumerate(places):
                    observation, reward, terminated, truncated, _ = env.step(actions[place])
                    totals[place] += reward
                    _picture(env, frames)
                    if not (terminated or truncated or steps[place] == self.max_steps):
                        self._observation.write(observation, batch.x[place:place + 1])
                        continue
                    returns[players[place], rounds[place]] = totals[place]
                    totals[place], steps[place] = 0.0, 0
                    rounds[place] += 1
                    if rounds[place] == returns.shape[1]:
                        if waiting == len(genomes):
                            done.append(place)
                            continue
                        players[place], rounds[place] = waiting, 0
                        waiting += 1
                        batch.player(place, players[place])
                    batch.forget(place)
                    self._begin(env, seeds[players[place]][rounds[place]], batch.x[place:place + 1])
                if done:
                    keep = np.delete(np.arange(len(places)), done)
                    places = [places[place] for place in keep]
                    players, rounds, steps, totals = (column[keep] for column in (players, rounds, steps, totals))
                    batch.take(players, batch.x[keep])
        except BaseException:
            for env in envs if own else ():
                env.close()
            raise
        if own:
            self._singles.extend(envs)
        return returns

    def _begin(self, env: Any, seed: int, x: np.ndarray) -> None:
        """Start an episode and write its first observation."""
        observation, _ = env.reset(seed=seed)
        self._observation.write(observation, x)


class _Batch:
    """Genomes that take a step together, each on its own row of x."""

    def __init__(self, genomes: Genomes, rows: np.ndarray) -> None:
        self._genomes = genomes
        self._state = np.zeros(genomes.columns.ids.size if genomes.recurrent else 0)
        self._user = activations.table()
        self.take(rows)
        self._machine_code = kernels.compile.entry(kernels.evaluate.step, *self._arguments())

    def take(self, rows: np.ndarray, x: np.ndarray | None = None) -> None:
        """From now on the genomes of these indices, on these rows; what they remember stays."""
        columns = self._genomes.columns
        self._columns = columns._replace(node_start=columns.node_start[rows], n_nodes=columns.n_nodes[rows],
                                         edge_start=columns.edge_start[rows], n_edges=columns.n_edges[rows])
        self.x = np.zeros((rows.size, self._genomes.n_inputs)) if x is None else x
        self._out = np.empty((rows.size, self._genomes.n_outputs))

    def player(self, place: int, row: int) -> None:
        """Give a place to another genome."""
        for mine, all_of_them in zip(self._columns[:4], self._genomes.columns[:4], strict=True):
            mine[place] = all_of_them[row]

    def forget(self, place: int) -> None:
        """Set what the genome at a place remembers to zeros."""
        if self._state.size:
            at = self._columns.node_start[place]
            self._state[at:at + self._columns.n_nodes[place]] = 0.0

    def step(self) -> np.ndarray:
        """The outputs (rows, n_outputs), which the next step overwrites."""
        self._machine_code(*self._arguments())
        return self._out

    def _arguments(self) -> tuple:
        genomes = self._genomes
        return (self._columns, self._user, genomes.n_inputs, genomes.n_outputs, genomes.recurrent, 0,
                self._columns.n_nodes.size, self.x, self._state, self._out)


def _registered(env_id: str) -> Any:
    """The registration of an environment, whose module is imported when it is named."""
    try:
        import gymnasium
    except ModuleNotFoundError:
        raise ImportError('Gym needs gymnasium, which is not installed: run pip install "neuroprune[gym]"') from None
    if not isinstance(env_id, str):
        raise TypeError(f"env_id must be the name of a registered environment, got {type(env_id).__name__}")
    module, _, name = env_id.rpartition(":")
    if module:
        resolve_name(module)  # imports it
    try:
        return gymnasium.spec(name)
    except gymnasium.error.Error as error:
        raise ValueError("env_id must name a registered environment such as 'CartPole-v1', or module:id to import "
                         f"the module that registers it, got {env_id!r}") from error


def _seeds(seed: int, generation: int, index: int, n: int) -> list[int]:
    """The seeds of n episodes, below 2^31, which every environment takes."""
    return (np.random.SeedSequence((seed, generation, index)).generate_state(n) >> 1).tolist()


def _integer(seed: int | None) -> int:
    """The seed, or fresh entropy."""
    seed = rng.check_seed(seed)
    return int(seed.integers(2**63)) if isinstance(seed, np.random.Generator) else seed


def _refuse_nan(out: np.ndarray, totals: np.ndarray, playing: np.ndarray | bool) -> None:
    """Make outputs that are not numbers 0, and NaN the totals of their rows, if these are still playing."""
    missing = np.isnan(out)
    if np.count_nonzero(missing):  # a fifth of the time of any()
        totals[missing.any(axis=1) & playing] = np.nan
        out[missing] = 0.0


def _last(kept: list[Any]) -> Any:
    """Take the last one out, or None; another thread may have been faster."""
    try:
        return kept.pop()
    except IndexError:
        return None


def _picture(env: Any, frames: list[np.ndarray] | None) -> None:
    if frames is not None:
        frames.append(env.render())


def _check_choice(value: str, choices: tuple[str, ...], name: str) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")
