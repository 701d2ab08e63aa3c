"""Small environments for the tests of Gym, and what happens in them, played slowly: one network, number by number."""

import pickle

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

EDGE = 1.0
PUSHES = np.array([-0.2, 0.05, 0.2])


class Walk(gymnasium.Env):
    """A point that is pushed along a line, with a memory of its last push, until it is over the edge."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 1}

    def __init__(self, render_mode=None, noise=0.0, draws_with=None):
        self.observation_space = spaces.Box(-10.0, 10.0, (2,), np.float32)
        self.action_space = spaces.Discrete(3)
        self.render_mode = render_mode
        self.noise = noise
        self.draws_with = draws_with

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x = self.np_random.uniform(-0.9, 0.9) if options is None else options["start"]
        self.push = 0.0
        return self.observe(), {}

    def step(self, action):
        assert self.action_space.contains(action)
        self.push = 0.5 * self.push + PUSHES[action] + self.noise * self.np_random.normal()
        self.x = self.x + self.push
        return self.observe(), 1.0 - abs(self.x), abs(self.x) > EDGE, False, {}

    def observe(self):
        return np.array([self.x, self.push], np.float32)

    def render(self):
        if self.draws_with:
            raise gymnasium.error.DependencyNotInstalled(f"{self.draws_with} is not installed")
        return np.full((2, 3, 3), int(100 + 50 * self.x), np.uint8)


class WalkVector(VectorEnv):
    """Many walks that draw from one generator, in each of the three ways to begin anew."""

    def __init__(self, num_envs=1, mode="NEXT_STEP", max_episode_steps=1000):
        self.metadata = {"autoreset_mode": AutoresetMode[mode]}
        self.num_envs = num_envs
        self.limit = max_episode_steps
        self.single_observation_space = spaces.Box(-10.0, 10.0, (2,), np.float32)
        self.single_action_space = spaces.Discrete(3)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if options is None:
            self.x, self.push = np.zeros(self.num_envs), np.zeros(self.num_envs)
            self.steps, self.ended = np.zeros(self.num_envs, int), np.zeros(self.num_envs, bool)
            self.begin(np.ones(self.num_envs, bool))
        else:
            assert self.metadata["autoreset_mode"] is AutoresetMode.DISABLED
            assert (options["reset_mask"] == self.ended).all()
            self.begin(options["reset_mask"])
        return self.observe(), {}

    def begin(self, which):
        self.x[which] = self.np_random.uniform(-0.9, 0.9, which.sum())
        self.push[which] = 0.0
        self.steps[which] = 0
        self.ended[which] = False

    def step(self, actions):
        assert self.action_space.contains(actions)
        mode = self.metadata["autoreset_mode"]
        waiting = self.ended.copy()
        assert not (waiting.any() and mode is AutoresetMode.DISABLED)
        self.push = 0.5 * self.push + PUSHES[actions]
        self.x = self.x + self.push
        self.steps += 1
        reward = 1.0 - np.abs(self.x)
        terminated, truncated = np.abs(self.x) > EDGE, self.steps >= self.limit
        if mode is AutoresetMode.NEXT_STEP:
            self.begin(waiting)
            reward[waiting], terminated[waiting], truncated[waiting] = 0.0, False, False
        self.ended = terminated | truncated
        if mode is AutoresetMode.SAME_STEP:
            self.begin(self.ended)
        return self.observe(), reward, terminated, truncated, {}

    def observe(self):
        return np.stack([self.x, self.push], axis=1).astype(np.float32)


SPACES = {
    "box": spaces.Box(-2.0, 3.0, (2, 2), np.float32),
    "unbounded": spaces.Box(np.array([-np.inf, -1.0, -np.inf]), np.array([np.inf, np.inf, 0.5]), dtype=np.float64),
    "integers": spaces.Box(0, 255, (3,), np.uint8),
    "long": spaces.Box(np.iinfo(np.int64).min, np.iinfo(np.int64).max, (2,), np.int64),
    "discrete": spaces.Discrete(4, start=-1),
    "multi_discrete": spaces.MultiDiscrete([3, 2, 4]),
    "equal_groups": spaces.MultiDiscrete(np.array([[3, 3], [3, 3]]), start=np.array([[0, 1], [-1, 5]])),
    "binary": spaces.MultiBinary((2, 2)),
    "mixed": spaces.Tuple([spaces.Discrete(3), spaces.Dict(b=spaces.MultiBinary(2), a=spaces.Box(0.0, 1.0, (2,)))]),
}


class Rooms(gymnasium.Env):
    """Observations and the end are drawn from the environment's own generator; the reward depends on the action."""

    def __init__(self, observe, act):
        self.observation_space, self.action_space = pickle.loads(pickle.dumps((SPACES[observe], SPACES[act])))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.observation_space.seed(int(self.np_random.integers(2**31)))
        return self.observation_space.sample(), {}

    def step(self, action):
        assert self.action_space.contains(action)
        numbers = np.ravel(action).astype(float)
        reward = self.np_random.uniform() + (numbers / 1e3 * np.arange(1, numbers.size + 1)).sum()
        draw = self.np_random.uniform()
        return self.observation_space.sample(), reward, draw < 0.1, 0.1 < draw < 0.2, {}


class Breaks(Walk):
    """Does not survive its third step."""

    closed = 0

    def step(self, action):
        self.steps = getattr(self, "steps", 0) + 1
        if self.steps == 3:
            raise RuntimeError("broken")
        return super().step(action)

    def close(self):
        Breaks.closed += 1


class Words(Walk):
    """A space that no network reads, or one that no network writes."""

    def __init__(self, talks=False):
        super().__init__()
        if talks:
            self.action_space = spaces.Text(3)
        else:
            self.observation_space = spaces.Tuple([spaces.Discrete(2), spaces.Text(3)])


def act(space, out, scaling="linear"):
    """An action, number by number."""
    if isinstance(space, spaces.Discrete):
        return space.start + np.int64(list(out).index(max(out)))
    if isinstance(space, (spaces.MultiDiscrete, spaces.MultiBinary)):
        binary = isinstance(space, spaces.MultiBinary)
        sizes = [2] * int(np.prod(space.shape)) if binary else space.nvec.ravel()
        starts = [0] * len(sizes) if binary else space.start.ravel()
        left, action = list(out), []
        for size, start in zip(sizes, starts, strict=True):
            group, left = left[:size], left[size:]
            action.append(group.index(max(group)) + start)
        return np.array(action, space.dtype).reshape(space.shape)
    action = []
    for y, low, high in zip(out, space.low.ravel().tolist(), space.high.ravel().tolist(), strict=True):
        if scaling != "clip" and np.isfinite(low) and np.isfinite(high):
            unit = np.tanh(y) if scaling == "tanh" else min(max(y, -1.0), 1.0)
            y = (low / 2 + high / 2) + (high / 2 - low / 2) * unit
        if space.dtype.kind == "f":  # an infinite output
            low, high = max(low, float(np.finfo(space.dtype).min)), min(high, float(np.finfo(space.dtype).max))
        y = min(max(y, low), high)
        action.append(min(round(y), int(high)) if space.dtype.kind in "iu" else y)
    return np.array(action, space.dtype).reshape(space.shape)


def alone(net, env, seed=None, limit=None, scaling="linear", options=None):
    """The return of one episode of one network."""
    net = net.copy()
    net.reset()
    observation, _ = env.reset(seed=seed, options=options)
    total, steps, ended = 0.0, 0, False
    while not ended:
        out = net.activate(spaces.flatten(env.observation_space, observation))
        observation, reward, terminated, truncated, _ = env.step(act(env.action_space, out, scaling))
        total += reward
        steps += 1
        ended = terminated or truncated or steps == limit
    return total
