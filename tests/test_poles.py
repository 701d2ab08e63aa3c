"""Balancing poles: the physics, the fitness, and that neither depends on who else is evaluated."""

import copy
import json
import math
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import neuroprune as npr
import oracle_poles as oracle
from neuroprune import kernels
from neuroprune.evolution import genomes as packed
from neuroprune.evolution.genomes import Genomes
from neuroprune.evolution.poles import DoublePole, PoleBalancing

poles = kernels.poles
WISE = np.array([-0.33, -0.34, -2.34, -2.39, 1.98, 0.64])  # a linear-quadratic regulator, for the scaled inputs
SEEDS = st.integers(0, 2**32 - 1)
TASKS = [PoleBalancing(), DoublePole(), DoublePole(velocities=False)]
OBSERVED = {4: [0, 1, 2, 3], 6: [0, 1, 2, 3, 4, 5], 3: [0, 2, 4]}
TILT = {4: 12.0, 6: 36.0, 3: 36.0}


def seeing(weights: np.ndarray = WISE, activation: str = "identity") -> npr.Network:
    """A linear controller that sees the velocities."""
    return npr.Network.from_connections(6, 1, [(i, 6, w) for i, w in enumerate(weights)], activation=activation)


def remembering(weights: np.ndarray = WISE) -> npr.Network:
    """The same without velocities: hidden nodes remember the inputs, and differences take the place of velocities."""
    rates = weights[1::2] * np.array([4.8, 0.52, 0.52]) / 2.0 / 0.02
    connections, delayed = [], []
    for i in range(3):
        connections += [(i, 3, weights[2 * i] + rates[i]), (i, 4 + i, 1.0), (4 + i, 3, -rates[i])]
        delayed += [False, True, False]
    return npr.Network.from_connections(3, 1, connections, activation="identity", delayed=delayed)


def plain(net: npr.Network) -> tuple:
    """A network as the oracle wants it."""
    graph = net.graph
    nodes = [(float(node.bias), node.activation) for node in list(net.nodes)[graph.n_inputs:]]
    delayed = graph.delayed if graph.recurrent else np.zeros(graph.n_connections, bool)
    connections = zip(graph.source.tolist(), graph.target.tolist(), net.connections.weight.tolist(), delayed.tolist(),
                      strict=True)
    return graph.n_inputs, nodes, list(connections)


def expected(problem: PoleBalancing, net: npr.Network, limit: int) -> list:
    """States of the oracle's run."""
    start = np.zeros(4 if net.graph.n_inputs == 4 else 6)
    start[2] = math.radians(problem.angle)
    return oracle.track(plain(net), start, OBSERVED[net.graph.n_inputs], limit, TILT[net.graph.n_inputs],
                        problem.output)


def random_nets(n_inputs: int, recurrent: bool, seed: int, count: int) -> list[npr.Network]:
    """Networks of all sizes and activations, some of which balance for a while."""
    rng = np.random.default_rng(seed)
    nets = []
    for _ in range(count):
        hidden = int(rng.integers(0, 4))
        most = sum(n_inputs + i for i in range(hidden + 1))
        net = npr.Network.random(n_inputs, 1, hidden, int(rng.integers(1, most + 1)), recurrent, rng)
        scale = rng.choice([0.3, 0.6 if recurrent else 3.0])  # strong loops would be chaotic, and ulps count
        net.parameters = rng.normal(0.0, scale, net.parameters.size)
        for node in list(net.nodes)[n_inputs:]:
            node.activation = str(rng.choice(list(oracle.ACT)))
        nets.append(net)
    return nets


def small_state(rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(-1.0, 1.0, 6) * [2.4, 3.0, 0.62, 4.0, 0.62, 8.0]


@settings(max_examples=200, deadline=None)
@given(seed=SEEDS, count=st.sampled_from([1, 2]))
def test_accelerations_are_those_of_lagrange(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    state, force = small_state(rng), rng.uniform(-10.0, 10.0)
    if count == 1:
        state[4:] = 0.0
    slope = oracle.derivative(state[:2 + 2 * count], force)
    ours = poles.accelerations(*state[1:], force, float(count - 1))
    np.testing.assert_allclose(ours[:1 + count], slope[1::2], rtol=1e-12, atol=1e-11)
    assert count == 2 or ours[2] == 0.0


@settings(max_examples=200, deadline=None)
@given(seed=SEEDS)
def test_lanes_and_single_carts_go_to_the_same_bits(seed: int) -> None:
    rng = np.random.default_rng(seed)
    states = np.array([small_state(rng) for _ in range(poles.LANES)])
    force = rng.uniform(-10.0, 10.0, poles.LANES)
    flat = np.ascontiguousarray(states.T).ravel()
    poles.advance_lanes(flat, np.empty(flat.size), np.empty(flat.size), force, 0.01, 1.0)
    for lane in range(poles.LANES):
        assert tuple(flat[lane::poles.LANES]) == poles.advance(*states[lane], force[lane], 0.01, 1.0)
        mirrored = poles.advance(*-states[lane], -force[lane], 0.01, 1.0)
        assert tuple(-flat[lane::poles.LANES]) == mirrored


def follow(state: np.ndarray, force: float, tau: float, seconds: float) -> np.ndarray:
    for _ in range(round(seconds / tau)):
        state = np.array(poles.advance(*state, force, tau, 1.0))
    return state


def test_halving_the_step_divides_the_error_by_sixteen() -> None:
    start = np.array([-0.1, 1.0, 0.05, -0.2, -0.02, 0.1])  # the cart never turns, so friction stays smooth
    exact = follow(start, 2.0, 0.16 / 1024, 0.16)
    errors = [np.abs(follow(start, 2.0, tau, 0.16) - exact).max() for tau in (0.02, 0.01, 0.005)]
    assert 12.0 < errors[0] / errors[1] < 20.0
    assert 14.0 < errors[1] / errors[2] < 18.0


def test_energy_is_the_work_of_force_and_friction() -> None:
    state, tau, work = np.array([0.0, 0.5, 0.1, 0.0, -0.05, 0.2]), 1e-4, 0.0
    before = oracle.energy(state)

    def power(s: np.ndarray) -> float:
        return 3.0 * s[1] - 5e-4 * abs(s[1]) - 2e-6 * (s[3] ** 2 + s[5] ** 2)

    for _ in range(2000):
        new = np.array(poles.advance(*state, 3.0, tau, 1.0))
        work += 0.5 * tau * (power(state) + power(new))
        state = new
    assert work > 0.1
    assert oracle.energy(state) - before == pytest.approx(work, rel=1e-7)


@settings(max_examples=200, deadline=None)
@given(seed=SEEDS, problem=st.sampled_from(TASKS), recurrent=st.booleans(), output=st.sampled_from(["auto", "unit"]))
def test_networks_last_as_long_as_with_the_oracle(seed: int, problem: PoleBalancing, recurrent: bool,
                                                  output: str) -> None:
    limit = 40
    kind = type(problem)
    more = {"velocities": problem.velocities} if kind is DoublePole else {}
    problem = kind(limit=limit, angle=problem.angle, output=output, **more)
    nets = random_nets(problem.n_inputs, recurrent, seed, 3)
    fitness = problem.evaluate(Genomes.pack(nets), seed=0, generation=0, first=0)
    steps = [len(expected(problem, net, limit)) for net in nets]
    assert [problem.steps(net, limit) for net in nets] == steps
    scale = 1.0 if problem.recurrent is False else 0.1 / limit
    assert fitness.dtype == np.float64
    np.testing.assert_allclose(fitness, np.array(steps) * scale, rtol=1e-15)


@pytest.mark.parametrize("factor", [1.0, 0.7, 0.5, 0.3, 1.5])
def test_fitness_of_gruau(factor: float) -> None:
    problem, net = DoublePole(velocities=False, limit=250), remembering(factor * WISE)
    states = expected(problem, net, 250)
    assert problem.evaluate(Genomes.pack([net]))[0] == pytest.approx(oracle.gruau(states, 250), rel=1e-9)


def test_fitness_of_gruau_counts_movement_from_100_actions_on() -> None:
    net = remembering()
    for limit, wanted in ((99, 0.1), (100, None)):
        fitness = DoublePole(velocities=False, limit=limit).evaluate(Genomes.pack([net]))[0]
        states = expected(DoublePole(velocities=False), net, limit)
        assert fitness == pytest.approx(wanted or oracle.gruau(states, limit), rel=1e-12)
        assert (fitness > 0.1) == (limit == 100)


def test_fitness_is_finite_when_nothing_moves() -> None:
    net = npr.Network.from_connections(3, 1, [(0, 3, 0.0)]).as_recurrent()
    fitness = DoublePole(velocities=False, angle=0.0, limit=120).evaluate(Genomes.pack([net]))
    assert np.isfinite(fitness).all() and fitness[0] > 1.0


def test_mirrored_start_and_odd_network_last_equally_long() -> None:
    rng = np.random.default_rng(5)
    nets = [seeing(rng.normal(0.0, 2.0, 6)) for _ in range(30)]
    left, right = (DoublePole(angle=angle, limit=200).evaluate(Genomes.pack(nets)) for angle in (-4.0, 4.0))
    assert np.array_equal(left, right)
    assert len(set(left)) > 5


@pytest.mark.parametrize("problem", TASKS)
def test_nobody_depends_on_the_company(problem: PoleBalancing, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = DoublePole if isinstance(problem, DoublePole) else PoleBalancing
    more = {"velocities": problem.velocities} if kind is DoublePole else {}
    problem = kind(limit=60, **more)
    for recurrent in (False, True):
        nets = random_nets(problem.n_inputs, recurrent, 1, 41)
        together = problem.evaluate(Genomes.pack(nets))
        assert len(set(together)) > 5
        alone = [problem.evaluate(Genomes.pack([net]))[0] for net in nets]
        assert together.tolist() == alone
        everyone = Genomes.pack(nets)
        parts = [problem.evaluate(everyone.take(part), 0, 3, int(part[0])) for part in np.split(np.arange(41), [7, 23])]
        assert np.array_equal(np.concatenate(parts), together)
        assert np.array_equal(problem.evaluate(Genomes.pack(nets[::-1])), together[::-1])
        with monkeypatch.context() as patch:
            patch.setattr(packed, "threads", lambda: 3)
            patch.setattr(packed, "THREADED_EDGES", 0)
            assert np.array_equal(problem.evaluate(everyone), together)


def test_nobody_is_nothing() -> None:
    nobody = Genomes.pack([seeing()]).take([])
    assert DoublePole().evaluate(nobody).shape == (0,)


def test_the_state_of_a_network_is_neither_used_nor_changed() -> None:
    net, problem = remembering(), DoublePole(velocities=False, limit=150)
    fresh = problem.evaluate(Genomes.pack([net]))
    net.activate([0.5, 0.1, -0.1])
    state = net._state.copy()
    assert problem.evaluate(Genomes.pack([net])) == fresh
    assert problem.steps(net, 150) == 150
    assert np.array_equal(net._state, state)


def test_memory_counts() -> None:
    problem = DoublePole(velocities=False, limit=150)
    forgetful = remembering()
    forgetful.connections.weight[forgetful.connections.source >= 4] = 0.0
    assert problem.steps(remembering(), 150) == 150
    assert problem.steps(forgetful, 150) < 100


def test_a_network_whose_output_is_not_a_number_fails() -> None:
    wild = npr.Network.from_connections(6, 1, [(0, 7, 1.0), (0, 8, 1.0), (7, 6, 10.0), (8, 6, -10.0)],
                                        bias={7: 1e200, 8: 1e200}, activation={6: "identity", 7: "square", 8: "square"})
    with np.errstate(over="ignore", invalid="ignore"):
        assert np.isnan(wild(np.zeros(6)))[0]
        fitness = DoublePole(limit=50).evaluate(Genomes.pack([wild, seeing()]))
        assert fitness.tolist() == [0.0, 50.0]


def test_an_infinite_output_is_cut() -> None:
    wild = npr.Network.from_connections(6, 1, [(0, 7, 1.0), (7, 6, 10.0)], bias={7: 1e200},
                                        activation={6: "identity", 7: "square"})
    strong = npr.Network.from_connections(6, 1, [(0, 6, 0.0)], bias={6: 1.0}, activation="identity")
    with np.errstate(over="ignore"):
        fitness = DoublePole().evaluate(Genomes.pack([wild, strong]).take([0, 1]))
    assert fitness[0] == fitness[1] > 0


def test_ranges_of_outputs() -> None:
    kick = WISE * 0.8
    tanh, sigmoid = seeing(kick, "tanh"), seeing(2.0 * kick, "sigmoid")  # tanh u = 2 sigmoid 2u - 1
    both = Genomes.pack([tanh, sigmoid])
    fitness = DoublePole(limit=150).evaluate(both)
    assert fitness.tolist() == [150.0, 150.0]
    assert DoublePole(limit=150, output="signed").evaluate(both)[0] == 150
    assert DoublePole(limit=150, output="signed").evaluate(both)[1] < 100  # pushes to the right only
    assert DoublePole(limit=150, output="unit").evaluate(both)[1] == 150
    assert DoublePole(limit=150, output="unit").evaluate(both)[0] < 100


def test_generalization_counts_the_starts_that_are_balanced() -> None:
    widths, places = [2.16, 1.35, math.radians(3.6), math.radians(8.6)], [-0.9, -0.5, 0.0, 0.5, 0.9]
    net = seeing(-WISE)  # the wrong way round, so that many fall soon
    count = 0
    for x in places:
        for v in places:
            for a in places:
                for w in places:
                    start = np.array([x, v, a, w, 0.0, 0.0]) * [*widths, 1.0, 1.0]
                    count += len(oracle.track(plain(net), start, OBSERVED[6], 6, 36.0)) == 6
    assert 100 < count < 625
    assert DoublePole().generalization(net, limit=6) == count


@pytest.mark.compiled_only
def test_a_solution_with_velocities() -> None:
    problem, net = DoublePole(), seeing()
    fitness = problem.evaluate(Genomes.pack([net]))[0]
    assert fitness == problem.solved_at == 100_000
    assert problem.solved(net, fitness) and not problem.solved(net, fitness - 1)
    assert 500 < problem.generalization(net) < 625


@pytest.mark.compiled_only
def test_a_solution_without_velocities() -> None:
    problem, net = DoublePole(velocities=False), remembering()
    fitness = problem.evaluate(Genomes.pack([net]))[0]
    assert fitness > 1.0 and problem.solved_at is None
    assert problem.steps(net) == 100_000 and problem.generalization(net) >= 200
    assert problem.solved(net, fitness) is True
    assert problem.solved(net, 0.1) is False  # such a network fell before the end of its run
    weak = remembering(0.5 * WISE)
    assert problem.solved(weak, fitness) is False  # it falls in the long run
    drifting = remembering(WISE * [0.0, 0.0, 1.0, 1.0, 1.0, 1.0])
    assert problem.solved(drifting, fitness) is False


@pytest.mark.compiled_only
def test_a_solution_that_does_not_generalize_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    problem, net = DoublePole(velocities=False), remembering()
    monkeypatch.setattr(DoublePole, "generalization", lambda self, net, limit=1000: 199)
    assert not problem.solved(net, 1.0)


@pytest.mark.compiled_only
def test_a_champion_is_tested_once(monkeypatch: pytest.MonkeyPatch) -> None:
    problem, net = DoublePole(velocities=False), remembering()
    counted = []
    monkeypatch.setattr(DoublePole, "generalization", lambda self, net, limit=1000: counted.append(net) or 0)
    assert not problem.solved(net, 1.0) and not problem.solved(net.copy(), 1.0)
    assert len(counted) == 1
    net.connections.weight[0] += 1.0
    assert not problem.solved(net, 1.0)
    assert len(counted) == 2
    assert pickle.loads(pickle.dumps(problem)) == problem


def test_solved_single_pole() -> None:
    problem = PoleBalancing(limit=20)
    assert (problem.n_inputs, problem.n_outputs, problem.recurrent, problem.solved_at) == (4, 1, False, 20.0)
    assert problem.solved(None, 20.0) and not problem.solved(None, 19.0) and not problem.solved(None, math.nan)


def test_defaults() -> None:
    with_velocities, without = DoublePole(), DoublePole(False)
    assert (with_velocities.n_inputs, with_velocities.limit, with_velocities.angle) == (6, 100_000, 1.0)
    assert (without.n_inputs, without.limit, without.angle) == (3, 1000, 4.5)
    assert (with_velocities.recurrent, without.recurrent) == (False, True)
    assert with_velocities.n_outputs == without.n_outputs == 1


@pytest.mark.parametrize("problem", [*TASKS, DoublePole(velocities=False, limit=7, angle=-2.0, output="unit")])
def test_problems_travel(problem: PoleBalancing) -> None:
    assert pickle.loads(pickle.dumps(problem)) == problem
    assert "limit" in repr(problem)


def test_a_problem_that_tested_a_champion_travels_as_one_that_did_not() -> None:
    """Its bytes tell workers whether they have it already."""
    problem, champion = DoublePole(velocities=False), remembering()
    fresh = pickle.dumps(problem)
    verdict = problem.solved(champion, 1.0)
    assert problem._tested and pickle.dumps(problem) == fresh
    for other in (pickle.loads(fresh), copy.deepcopy(problem)):
        assert other == problem and other._tested == [] and other.solved(champion, 1.0) is verdict


def test_numbers_of_numpy_are_numbers() -> None:
    problem = DoublePole(limit=np.int64(30), angle=np.float32(0.5))
    assert problem == DoublePole(limit=30, angle=0.5) and type(problem.limit) is int and type(problem.angle) is float
    assert problem.steps(seeing(), np.uint8(9)) == 9
    assert problem.generalization(seeing(), np.int32(5)) == problem.generalization(seeing(), 5)


@pytest.mark.parametrize(("make", "kind", "words"), [
    (lambda: PoleBalancing(limit=0), ValueError, "at least 1, got 0"),
    (lambda: PoleBalancing(limit=True), TypeError, "limit must be an integer, got True"),
    (lambda: DoublePole(limit=2.5), TypeError, "limit must be an integer, got 2.5"),
    (lambda: PoleBalancing(angle=13.0), ValueError, "within 12 degrees"),
    (lambda: DoublePole(angle=-36.1), ValueError, "within 36 degrees"),
    (lambda: DoublePole(angle=math.nan), ValueError, "angle must be finite, got nan"),
    (lambda: DoublePole(angle="1"), TypeError, "angle must be a number, got '1'"),
    (lambda: DoublePole(output="tanh"), ValueError, "'auto', 'signed', 'unit', got 'tanh'"),
    (lambda: DoublePole(velocities=1), TypeError, "True or False, got 1"),
    (lambda: DoublePole().evaluate(Genomes.pack([remembering()])), ValueError, "6 inputs and 1 output .* got 3 and 1"),
    (lambda: DoublePole(False).steps(seeing()), ValueError, "3 inputs and 1 output .* got 6 and 1"),
    (lambda: DoublePole().steps(seeing(), 0), ValueError, "got 0"),
    (lambda: DoublePole().generalization(seeing(), -5), ValueError, "got -5"),
])
def test_bad_input(make: object, kind: type, words: str) -> None:
    with pytest.raises(kind, match=words):
        make()


SHORT_RUN = """
import json
import sys
sys.path.insert(0, "tests")
from test_poles import DoublePole, Genomes, PoleBalancing, random_nets, remembering
result = []
for problem in (PoleBalancing(limit=25), DoublePole(limit=25), DoublePole(False, limit=105)):
    nets = random_nets(problem.n_inputs, problem.recurrent, 3, 4) + [remembering()] * problem.recurrent
    result.append(problem.evaluate(Genomes.pack(nets)).tolist())
print(json.dumps(result))
"""


@pytest.mark.compiled_only
def test_plain_python_agrees() -> None:
    compiled, slow = (json.loads(subprocess.run(
        [sys.executable, "-c", SHORT_RUN], check=True, capture_output=True, text=True,
        env={**os.environ, "NUMBA_DISABLE_JIT": plain_python}).stdout) for plain_python in ("0", "1"))
    assert [len(part) for part in compiled] == [4, 4, 5]
    for ours, theirs in zip(compiled, slow, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    assert compiled[2][-1] > 0.1
