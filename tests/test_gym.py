"""Gym: every return is that of a network which plays alone, in a plain loop, from the same start."""

import pickle
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import neuroprune as npr
from bridge import assert_one_sentence
from neuroprune.evolution import gym as module
from neuroprune.evolution.genomes import Genomes
from neuroprune.evolution.gym import Gym

gymnasium = pytest.importorskip("gymnasium", reason="gymnasium is not installed: pip install gymnasium")
from gymnasium.vector import AutoresetMode  # noqa: E402

from environments import SPACES, Breaks, Rooms, Walk, WalkVector, Words, act, alone  # noqa: E402

PREFIX = "neuroprune-tests"
WALK = f"{PREFIX}/Walk-v0"


@pytest.fixture(scope="module", autouse=True)
def registered():
    """The environments of these tests, in the registry as long as these tests run."""
    before = dict(gymnasium.registry)
    gymnasium.register(WALK, entry_point=Walk, max_episode_steps=30, reward_threshold=12.5)
    for mode in AutoresetMode:
        gymnasium.register(f"{PREFIX}/Walk{mode.name}-v0", entry_point=Walk, vector_entry_point=WalkVector,
                           max_episode_steps=30, kwargs={"mode": mode.name})
    gymnasium.register(f"{PREFIX}/Pack-v0", vector_entry_point=WalkVector)
    gymnasium.register(f"{PREFIX}/Rooms-v0", entry_point=Rooms)
    gymnasium.register(f"{PREFIX}/Breaks-v0", entry_point=Breaks)
    gymnasium.register(f"{PREFIX}/Words-v0", entry_point=Words)
    yield
    gymnasium.registry.clear()
    gymnasium.registry.update(before)


def networks(problem, n, recurrent=False, activation="tanh"):
    """Networks of different shapes for a problem."""
    return [npr.Network.random(problem.n_inputs, problem.n_outputs, 1 + i % 4, problem.n_outputs + 3 + i % 5, recurrent,
                               seed=i, activation=activation) for i in range(n)]


def seeds(seed, generation, index, episodes):
    return [int(word) >> 1 for word in np.random.SeedSequence((seed, generation, index)).generate_state(episodes)]


def expected(nets, env, seed, generation, first, episodes, same=False, **more):
    """Fitness of each network, played alone."""
    return [np.mean([alone(net, env, start, **more)
                     for start in seeds(seed, generation, 0 if same else first + i, episodes)])
            for i, net in enumerate(nets)]


# One environment per network


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("same", [False, True])
def test_walks(recurrent, same):
    problem = Gym(WALK, episodes=3, same_episodes=same, noise=0.05)
    nets = networks(problem, 9, recurrent)
    fitness = problem.evaluate(Genomes.pack(nets), 5, 2, 7)
    assert fitness.dtype == np.float64 and fitness.shape == (9,)
    assert np.ptp(fitness) > 0.1
    env = gymnasium.make(WALK, noise=0.05)
    np.testing.assert_allclose(fitness, expected(nets, env, 5, 2, 7, 3, same), rtol=1e-12)


@pytest.mark.parametrize("observe", [name for name in SPACES if name != "long"])
def test_observations(observe):
    check_rooms(observe, "discrete", "linear")


@pytest.mark.parametrize("scaling", ["linear", "tanh", "clip"])
@pytest.mark.parametrize("action", [name for name in SPACES if name != "mixed"])
def test_actions(action, scaling):
    check_rooms("box", action, scaling)


def check_rooms(observe, action, scaling):
    problem = Gym(f"{PREFIX}/Rooms-v0", episodes=2, scaling=scaling, observe=observe, act=action)
    nets = networks(problem, 4, recurrent=True, activation="identity")
    fitness = problem.evaluate(Genomes.pack(nets), 1, 0, 0)
    env = gymnasium.make(f"{PREFIX}/Rooms-v0", observe=observe, act=action)
    np.testing.assert_allclose(fitness, expected(nets, env, 1, 0, 0, 2, scaling=scaling), rtol=1e-9)


@pytest.mark.parametrize("recurrent", [False, True])
def test_more_networks_than_environments(monkeypatch, recurrent):
    problem = Gym(WALK, episodes=2)
    genomes = Genomes.pack(networks(problem, 11, recurrent))
    whole = problem.evaluate(genomes, 3, 0, 0)
    monkeypatch.setattr(module, "ENVIRONMENTS", 3)
    few = Gym(WALK, episodes=2)
    assert few.evaluate(genomes, 3, 0, 0).tolist() == whole.tolist()
    assert len(few._singles) == 3


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_chunks_give_the_same(data):
    n = data.draw(st.integers(1, 8))
    same = data.draw(st.booleans())
    seed, generation = data.draw(st.integers(0, 2**63 - 1)), data.draw(st.integers(0, 1000))
    with Gym(WALK, episodes=data.draw(st.sampled_from([1, 2, 9])), max_steps=6, same_episodes=same) as problem:
        genomes = Genomes.pack(networks(problem, n, data.draw(st.booleans())))
        whole = problem.evaluate(genomes, seed, generation, 0)
        cuts = [0, *sorted(data.draw(st.lists(st.integers(0, n), max_size=3))), n]
        parts = [problem.evaluate(genomes[i:j], seed, generation, i) for i, j in zip(cuts[:-1], cuts[1:], strict=True)]
        assert np.concatenate(parts).tolist() == whole.tolist()


def test_same_episodes_are_the_same_for_all():
    same, own = Gym(WALK, same_episodes=True), Gym(WALK)
    genomes = Genomes.pack(networks(same, 1) * 4)
    assert np.ptp(same.evaluate(genomes, 0, 0, 0)) == 0.0
    assert np.ptp(own.evaluate(genomes, 0, 0, 0)) > 0.0
    assert same.evaluate(genomes, 0, 1, 0)[0] != same.evaluate(genomes, 0, 0, 0)[0]


def test_threads_share_a_problem():
    problem = Gym(WALK, episodes=2)
    genomes = Genomes.pack(networks(problem, 12))
    whole = problem.evaluate(genomes, 0, 0, 0)
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda i: problem.evaluate(genomes[i:i + 1], 0, 0, i), range(12)))
    assert np.concatenate(parts).tolist() == whole.tolist()


def test_max_steps():
    problem = Gym(WALK, max_steps=4, episodes=2)
    nets = networks(problem, 5)
    want = expected(nets, gymnasium.make(WALK), 0, 0, 0, 2, limit=4)
    np.testing.assert_allclose(problem.evaluate(Genomes.pack(nets), 0, 0, 0), want, rtol=1e-12)
    longer = Gym("CartPole-v1", max_episode_steps=700)
    assert longer.play(balancer(), 2, seed=0).tolist() == [700.0, 700.0]
    assert Gym("CartPole-v1", vectorization="sync", max_episode_steps=600).play(balancer(), seed=0).tolist() == [600.0]


def test_no_networks():
    for env_id in (WALK, "CartPole-v1"):
        problem = Gym(env_id)
        genomes = Genomes.pack(networks(problem, 1))
        assert problem.evaluate(genomes[:0], 0, 0, 0).shape == (0,)


# The environment's own vector form


def starts(count, seed):
    env = WalkVector(count)
    env.reset(seed=seed)
    return env.x.tolist()


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("mode", [mode.name for mode in AutoresetMode])
def test_vector_form(mode, recurrent):
    problem = Gym(f"{PREFIX}/Walk{mode}-v0", episodes=3)
    assert problem.whole
    nets = networks(problem, 12, recurrent)
    fitness = problem.evaluate(Genomes.pack(nets), 5, 2, 0)
    env = gymnasium.make(WALK)
    begin = starts(36, seeds(5, 2, 0, 1)[0])
    want = [np.mean([alone(net, env, options={"start": begin[3 * i + k]}) for k in range(3)])
            for i, net in enumerate(nets)]
    np.testing.assert_allclose(fitness, want, rtol=1e-12)
    assert np.ptp(fitness) > 0.1
    assert problem.evaluate(Genomes.pack(nets), 5, 2, 0).tolist() == fitness.tolist()
    assert problem.evaluate(Genomes.pack(nets), 5, 3, 0).tolist() != fitness.tolist()


def test_vector_form_max_steps():
    problem = Gym(f"{PREFIX}/Pack-v0", max_steps=5)
    nets = networks(problem, 6)
    begin = starts(6, seeds(0, 0, 0, 1)[0])
    want = [alone(net, gymnasium.make(WALK), options={"start": start}, limit=5)
            for net, start in zip(nets, begin, strict=True)]
    np.testing.assert_allclose(problem.evaluate(Genomes.pack(nets), 0, 0, 0), want, rtol=1e-12)


def test_vector_form_is_a_choice():
    env_id = f"{PREFIX}/WalkSAME_STEP-v0"
    assert not Gym("CartPole-v1", vectorization="sync").whole
    assert not Gym("CartPole-v1", same_episodes=True).whole
    assert Gym(env_id, vectorization="vector_entry_point").whole
    with pytest.raises(ValueError, match="same_episodes must be False .* pass vectorization='sync'"):
        Gym(env_id, vectorization="vector_entry_point", same_episodes=True)
    with pytest.raises(ValueError, match="'sync' for .*Walk-v0, which has no vector entry point"):
        Gym(WALK, vectorization="vector_entry_point")


def balancer(recurrent=False):
    net = npr.Network.from_connections(4, 2, [(1, 5, 1.0), (2, 5, 2.0), (3, 5, 2.0)], activation="identity")
    return net.as_recurrent() if recurrent else net


@pytest.mark.parametrize("vectorization", ["auto", "sync"])
def test_cartpole(vectorization):
    problem = Gym("CartPole-v1", episodes=2, vectorization=vectorization)
    assert (problem.n_inputs, problem.n_outputs, problem.recurrent, problem.solved_at) == (4, 2, False, 475.0)
    pusher = npr.Network.from_connections(4, 2, [(0, 5, 0.0)], bias={5: 1.0}, activation="identity")
    fitness = problem.evaluate(Genomes.pack([pusher, balancer(), pusher]), 0, 0, 0)
    assert fitness[1] == 500.0
    assert 8 <= fitness[0] <= 11 and 8 <= fitness[2] <= 11
    assert problem.play(balancer(recurrent=True), 3, seed=4).tolist() == [500.0] * 3


# Outputs that are not numbers


@pytest.mark.parametrize("mode", ["", "SAME_STEP", "DISABLED"])
def test_outputs_that_are_not_numbers(mode):
    problem = Gym(f"{PREFIX}/Walk{mode}-v0", episodes=2)
    genomes = Genomes.pack(networks(problem, 3, activation="identity"))
    genomes._block(1)[:] = np.nan  # as an overflow leaves it
    fitness = problem.evaluate(genomes, 0, 0, 0)
    assert np.isnan(fitness).tolist() == [False, True, False]


def test_rows_that_have_ended_keep_their_total():
    sums = np.zeros(3)
    out = np.array([[np.nan, 1.0], [0.0, 1.0], [np.nan, np.nan]])
    module._refuse_nan(out, sums, np.array([True, True, False]))
    assert np.isnan(sums).tolist() == [True, False, False]
    assert out.tolist() == [[0.0, 1.0], [0.0, 1.0], [0.0, 0.0]]


# Playing and pictures


def test_play_leaves_the_network_alone():
    problem = Gym(WALK)
    net = networks(problem, 1, recurrent=True)[0]
    net([0.5, 0.5])
    before = net.copy()
    returns = problem.play(net, 4, seed=3)
    env = gymnasium.make(WALK)
    np.testing.assert_allclose(returns, [alone(net, env, start) for start in seeds(3, 0, 0, 4)], rtol=1e-12)
    assert problem.play(net, seed=3).tolist() == returns[:1].tolist()
    assert net.equals(before) and net([0.1, 0.1]).tolist() == before([0.1, 0.1]).tolist()
    assert problem.play(net, 2, seed=np.random.default_rng(0)).shape == problem.play(net, 2).shape == (2,)


def test_render():
    problem = Gym(WALK)
    net = networks(problem, 1)[0]
    frames = problem.render(net, seed=3)
    assert all(frame.shape == (2, 3, 3) and frame.dtype == np.uint8 for frame in frames)
    env = gymnasium.make(WALK)
    observation, _ = env.reset(seed=seeds(3, 0, 0, 1)[0])
    steps, ended = 0, False
    while not ended:
        assert frames[steps][0, 0, 0] == int(100 + 50 * env.unwrapped.x)
        _, _, terminated, truncated, _ = env.step(act(env.action_space, net(env.unwrapped.observe())))
        steps, ended = steps + 1, terminated or truncated
    assert len(frames) == steps + 1


def test_render_refuses():
    net = npr.Network.dense([2, 3], seed=0)
    with pytest.raises(ImportError, match="needs a package that is missing: pencil is not installed"):
        Gym(WALK, draws_with="pencil").render(net)
    with pytest.raises(ValueError, match="must have a single form to be rendered"):
        Gym(f"{PREFIX}/Pack-v0").render(net)
    problem = Gym(f"{PREFIX}/Rooms-v0", observe="box", act="box")
    with pytest.raises(ValueError, match=r"must support the render mode 'rgb_array', has \[\]"):
        problem.render(networks(problem, 1)[0])


# Life of the environments


@pytest.mark.parametrize("env_id", [WALK, f"{PREFIX}/Pack-v0"])
def test_pickle_and_close(env_id):
    with Gym(env_id, episodes=2, max_steps=9) as problem:
        genomes = Genomes.pack(networks(problem, 3))
        fitness = problem.evaluate(genomes, 0, 0, 0)
        copy = pickle.loads(pickle.dumps(problem))
        assert copy._singles == copy._vectors == []
        assert repr(copy) == repr(problem)
        assert problem._singles or problem._vectors
    assert problem._singles == problem._vectors == []
    for each in (copy, problem):
        assert each.evaluate(genomes, 0, 0, 0).tolist() == fitness.tolist()


def test_environments_are_kept():
    problem = Gym(WALK)
    genomes = Genomes.pack(networks(problem, 4))
    problem.evaluate(genomes, 0, 0, 0)
    kept = set(map(id, problem._singles))
    problem.evaluate(genomes[:2], 0, 1, 0)
    assert set(map(id, problem._singles)) == kept and len(kept) == 4


def test_an_error_of_the_environment_comes_through():
    problem = Gym(f"{PREFIX}/Breaks-v0")
    Breaks.closed = 0
    still = npr.Network.from_connections(2, 3, [(0, 3, 0.0)], bias={4: 1.0})
    with pytest.raises(RuntimeError, match="broken"):
        problem.evaluate(Genomes.pack([still] * 3), 0, 0, 0)
    assert Breaks.closed == 3 and problem._singles == []


def test_a_module_that_registers(tmp_path, monkeypatch):
    (tmp_path / "maze_of_tests.py").write_text(
        "import gymnasium\n"
        "gymnasium.register('neuroprune-tests/Maze-v0', entry_point='gymnasium.envs.classic_control:CartPoleEnv')\n")
    monkeypatch.syspath_prepend(tmp_path)
    problem = Gym("maze_of_tests:neuroprune-tests/Maze-v0", max_steps=5)
    assert problem.play(balancer(), seed=0).tolist() == [5.0]


# What is refused


@pytest.mark.parametrize(("env_id", "options", "error", "message"), [
    ("Nowhere-v0", {}, ValueError, "env_id must name a registered environment .* got 'Nowhere-v0'$"),
    (3, {}, TypeError, "env_id must be the name of a registered environment, got int"),
    (WALK, {"episodes": 0}, ValueError, "episodes must be at least 1, got 0"),
    (WALK, {"episodes": True}, TypeError, "episodes must be an integer"),
    (WALK, {"max_steps": 1.5}, TypeError, "max_steps must be an integer, got 1.5"),
    (WALK, {"vectorization": "async"}, ValueError, "vectorization must be one of 'auto', .* got 'async'"),
    (WALK, {"scaling": "wide"}, ValueError, "scaling must be one of 'linear', 'tanh', 'clip', got 'wide'"),
    (WALK, {"same_episodes": 1}, TypeError, "same_episodes must be True or False, got 1"),
    (f"{PREFIX}/Words-v0", {}, ValueError, r"observation space of .*Words-v0 must be made of Box.* got Text\("),
    (f"{PREFIX}/Words-v0", {"talks": True}, ValueError, r"action space of .*Words-v0 must be Box.* got Text\("),
])
def test_refusals(env_id, options, error, message):
    with pytest.raises(error, match=message) as raised:
        Gym(env_id, **options)
    assert_one_sentence(raised)


def test_counts_of_numpy_are_counts():
    net = npr.Network.dense([2, 3], seed=0)
    counted, plain = Gym(WALK, episodes=np.int64(2), max_steps=np.uint8(5)), Gym(WALK, episodes=2, max_steps=5)
    assert type(counted.episodes) is type(counted.max_steps) is int
    genomes = Genomes.pack([net] * 3)
    assert counted.evaluate(genomes, 1, 2, 0).tolist() == plain.evaluate(genomes, 1, 2, 0).tolist()
    assert counted.play(net, np.int32(4), seed=0).tolist() == plain.play(net, 4, seed=0).tolist()


def test_networks_must_fit():
    wrong = npr.Network.dense([3, 2], seed=0)
    for env_id in (WALK, "CartPole-v1"):
        with pytest.raises(ValueError, match="must have . inputs and . outputs, got 3 and 2"):
            Gym(env_id).evaluate(Genomes.pack([wrong]), 0, 0, 0)
    with pytest.raises(ValueError, match="episodes must be at least 1, got 0"):
        Gym(WALK).play(npr.Network.dense([2, 3], seed=0), episodes=0)


def test_without_gymnasium(monkeypatch):
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    with pytest.raises(ImportError, match=r'run pip install "neuroprune\[gym\]"'):
        Gym("CartPole-v1")


# In an evolution


def evolve(population, problem, workers, **more):
    """The best network, evolved here or in threads."""
    if workers is None:
        return population.evolve(problem, **more)
    with ThreadPoolExecutor(workers) as pool:
        return population.evolve(problem, executor=pool, **more)


@pytest.mark.compiled_only
def test_evolution_solves_cartpole():
    with Gym("CartPole-v1", episodes=5) as problem:
        runs = []
        for workers in (None, 2):
            population = npr.Population(4, 2, seed=0)
            best = evolve(population, problem, workers, generations=20, target=500)
            runs.append(population.history.best.tolist())
        assert runs[0][-1] == 500.0 and runs[0] == runs[1]
        assert problem.play(best, 3, seed=1).mean() > 100.0


def test_evolution_in_pieces():
    with Gym(WALK, episodes=2, max_steps=6) as problem:
        runs = []
        for workers in (None, 2):
            population = npr.Population(2, 3, size=10, seed=0)
            evolve(population, problem, workers, generations=3, target=1e9)
            runs.append([net.parameters.tolist() for net in population.ask()])
        assert runs[0] == runs[1]
