"""Pruning of networks: schedules, sparsities, baselines, results and undo, against the oracles."""

import json
import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import oracles as o
import strategies as s
from bridge import assert_one_sentence, assert_same, network, plain
from living import everything, living, pairs, star
from neuroprune import Network, PruningSchedule
from neuroprune.network import prune

# ---------------------------------------------------------------- prune_to_sparsity


@given(living(), st.one_of(s.sparsities(), st.sampled_from((-1.0, 1.5, math.inf, -math.inf, 0.9995))), st.data())
def test_prune_to_sparsity_as_the_oracle_says(net, target, data):
    before, count = plain(net), len(net.connections)
    if gradient := data.draw(st.booleans()):
        net.connections.accumulated_gradient = np.random.default_rng(count).integers(-1, 2, count)
    column = net.connections.accumulated_gradient.tolist() if gradient else None
    method = data.draw(st.sampled_from(("magnitude", "snip", "magnitude_l2")))
    excess, baseline = o.prune_to_sparsity(count, None, target)
    protect = np.random.default_rng(data.draw(s.SEEDS)).random(count) < 0.3 if data.draw(st.booleans()) else None
    weights = net.connections.weight.tolist()
    scores = o.snip(weights, column) if method == "snip" else [abs(weight) for weight in weights]
    try:
        kept = o.prune_lowest(scores, excess, None if protect is None else protect.tolist())
    except ValueError:
        unchanged = everything(net)
        with pytest.raises(ValueError, match="protect must mark at most") as error:
            net.prune_to_sparsity(target, method, protect=protect)
        assert_one_sentence(error)
        assert everything(net) == unchanged
        return
    result = net.prune_to_sparsity(target, method, protect=protect)
    assert result.kept.tolist() == kept
    assert_same(net, o.keep(before, kept))
    assert net.evolution_baseline == (baseline or None)
    assert net.sparsity == result.sparsity == o.sparsity(count - excess, None, baseline)
    filtered = net.connections.accumulated_gradient
    assert (filtered is None) == (column is None)
    assert column is None or filtered.tolist() == np.array(column)[result.kept].tolist()


@given(st.integers(0, 80), st.lists(s.sparsities(), min_size=1, max_size=6))
def test_repeated_calls_and_copies_do_not_compound(count, targets):
    net, baseline = star(np.arange(count) + 1.0) if count else Network.from_connections(1, 1, []), None
    for target in targets:
        left = len(net.connections)
        excess, baseline = o.prune_to_sparsity(left, baseline, target)
        net.prune_to_sparsity(target)
        assert len(net.connections) == left - excess and (net.evolution_baseline or None) == (baseline or None)
        net = net.copy()
    if count and max(targets) > 0:
        assert len(net.connections) == max(1, count - round(min(0.999, max(targets)) * count))


def test_the_two_baselines_are_separate():
    net = star(np.arange(20) + 1.0)
    net.prune_to_sparsity(0.5)
    net.pruning = PruningSchedule(0.4, 1, 1)
    assert (net.initial_connection_count, net.evolution_baseline, net.sparsity) == (10, 20, 0.0)
    net.maybe_prune(1)
    assert (len(net.connections), net.sparsity) == (6, 0.4)
    net.prune_to_sparsity(0.6)
    assert len(net.connections) == 6 and net.evolution_baseline == 20
    net.prune_to_sparsity(0.8)
    assert (len(net.connections), net.sparsity) == (4, 0.6)
    net.pruning = None
    assert net.sparsity == 0.8
    net.connect([0, 1, 2], [20] * 3, 1.0)
    assert net.sparsity == pytest.approx(0.65) and net.evolution_baseline == 20


def test_sparsity_stays_in_0_to_1():
    net = star([1.0, 2.0])
    assert net.sparsity == 0.0
    net.pruning = PruningSchedule(0.5, 1, 1)
    net.as_recurrent().regrow(1)
    assert net.sparsity == 0.0  # more than the baseline
    net.keep(np.zeros(3, bool))
    assert net.sparsity == 1.0


def test_at_least_one_connection_stays():
    for count in (1, 2, 3):
        net = star(np.arange(count) + 1.0)
        net.prune_to_sparsity(1.0)
        assert net.connections.weight.tolist() == [count]
        net.pruning = PruningSchedule(1.0, 1, 1, regrow_fraction=1.0)
        net.maybe_prune(1)
        assert len(net.connections) == 1


@pytest.mark.parametrize(("target", "left"), [(0.999, 3), (0.9995, 3), (1.0, 3), (7.0, 3), (math.inf, 3), (0.998, 6)])
def test_more_than_the_cap_is_the_cap(target, left):
    net = star(np.arange(3000) + 1.0)
    net.prune_to_sparsity(target)
    assert len(net.connections) == left


@pytest.mark.parametrize("recurrent", [False, True])
def test_a_network_without_connections_can_be_pruned(recurrent):
    net = Network.random(2, 2, 1, 0, recurrent=recurrent, seed=0)
    result = net.prune_to_sparsity(0.5)
    assert result.kept.size == len(result.removed) == len(net.connections) == 0
    net.pruning = PruningSchedule(0.5, 1, 1, regrow_fraction=1.0)
    assert net.maybe_prune(1) is None and net.sparsity == 0.0
    result.undo(net)
    net.regrow(3)
    net.prune_to_sparsity(0.5)
    assert net.evolution_baseline == 3 and len(net.connections) == 1  # a baseline of 0 is captured again


def test_ties_and_signed_zeros_go_by_storage_order():
    net = Network.from_connections(3, 2, [(2, 4, 0.0), (0, 4, 1.0), (1, 3, -0.0), (0, 3, -1.0), (2, 3, 0.0)], seed=0)
    assert pairs(net.connections) == [(0, 3), (1, 3), (2, 3), (0, 4), (2, 4)]
    for left in ([(0, 3), (2, 3), (0, 4), (2, 4)], [(0, 3), (0, 4), (2, 4)], [(0, 3), (0, 4)], [(0, 4)]):
        net.prune_to_sparsity(1 - len(left) / 5)
        assert pairs(net.connections) == left


def test_protected_connections_stay():
    net = star([0.1, 0.2, 0.3, 0.4, 0.5])
    protect = np.array([True, False, True, False, False])
    result = net.prune_to_sparsity(0.6, protect=protect)
    assert net.connections.weight.tolist() == [0.1, 0.3] and result.kept.tolist() == protect.tolist()


@pytest.mark.parametrize("target", [-1.0, 0.0, 1e-9, 0.5])
@pytest.mark.parametrize(
    ("wrong", "error", "named"),
    [
        ({"protect": [True, False]}, ValueError, r"protect must be boolean with shape \(4,\)"),
        ({"protect": np.ones(4)}, ValueError, "protect must be boolean"),
        ({"method": "magnitud"}, ValueError, "magnitude"),
        ({"method": None}, TypeError, "method"),
    ],
)
def test_wrong_arguments_are_refused_even_when_nothing_has_to_go(target, wrong, error, named):
    net = star([1.0, 2.0, 3.0, 4.0])
    before = everything(net)
    with pytest.raises(error, match=named) as raised:
        net.prune_to_sparsity(target, **wrong)
    assert_one_sentence(raised)
    assert everything(net) == before


# ---------------------------------------------------------------- scorers and signals


def test_a_function_is_a_method():
    net = star([1.0, 2.0, 3.0, 4.0])
    result = net.prune_to_sparsity(0.5, method=lambda weight: -weight)
    assert net.connections.weight.tolist() == [1.0, 2.0] and result.scores.tolist() == [-1.0, -2.0, -3.0, -4.0]


def test_signals_reach_the_scorer():
    def by_age(weight, *, age, power=1.0):
        return -(age**power) + 0 * weight

    net = star([1.0, 2.0, 3.0, 4.0])
    net.prune_to_sparsity(0.25, method=by_age, age=np.array([0.0, 5.0, 1.0, 2.0]))
    assert net.connections.weight.tolist() == [1.0, 3.0, 4.0]
    net.pruning = PruningSchedule(0.3, 1, 1, method=by_age, signals=lambda net: {"age": np.arange(3.0)})
    net.maybe_prune(1)
    assert net.connections.weight.tolist() == [1.0, 3.0]


def test_signals_are_asked_for_only_when_the_schedule_fires():
    asked = []
    net = star([1.0, 2.0, 3.0, 4.0])
    net.pruning = PruningSchedule(0.5, 2, 4, frequency=2, signals=lambda given: asked.append(given) or {})
    for iteration in range(7):
        net.maybe_prune(iteration)
    assert asked == [net, net]


def test_the_accumulated_gradient_is_a_signal_and_can_be_overruled():
    net = star([1.0, 1.0, 1.0, 1.0])
    net.connections.accumulated_gradient = [4.0, -3.0, 2.0, -1.0]
    assert net.copy().prune_to_sparsity(0.25, method="gradient").removed.source.tolist() == [3]
    assert net.copy().prune_to_sparsity(0.25, "snip", gradient=np.array([0, 1, 1, 1.0])).removed.source.tolist() == [0]
    assert net.copy().prune_to_sparsity(0.25, method="taylor").scores.tolist() == [16.0, 9.0, 4.0, 1.0]


def test_a_missing_signal_is_named():
    net = star([1.0, 2.0, 3.0, 4.0])
    before = everything(net)
    for method, signal in (("gradient", "gradient"), ("taylor", "gradient"), ("movement", "movement")):
        with pytest.raises(ValueError, match=f"needs the signal '{signal}'"):
            net.prune_to_sparsity(0.5, method=method)
        net.pruning = PruningSchedule(0.5, 1, 1, method=method)
        with pytest.raises(ValueError, match=f"needs the signal '{signal}'"):
            net.maybe_prune(1)
        assert net.last_prune_iteration is None  # it has not fired
        net.pruning = None
    with pytest.raises(ValueError, match="needs the signal 'age'"):
        net.prune_to_sparsity(0.5, method=lambda w, *, age: age)
    assert everything(net) == before


@pytest.mark.parametrize(("method", "signal"), [(lambda w, *, age: age, "age"), ("wanda", "input_norm")])
def test_a_schedule_that_can_never_score_is_refused(method, signal):
    with pytest.raises(ValueError, match=f"signals must give .*, '{signal}', got none: pass signals=") as error:
        PruningSchedule(0.5, 1, 1, method=method)
    assert_one_sentence(error)
    PruningSchedule(0.5, 1, 1, method=method, signals=lambda net: {signal: np.ones(len(net.connections))})


def test_snip_falls_back_for_the_whole_column_only_when_nothing_is_recorded():
    net = star([0.5, 4.0, 3.0, 2.0])
    assert net.copy().prune_to_sparsity(0.5, method="snip").scores.tolist() == [0.5, 4.0, 3.0, 2.0]
    net.connections.accumulated_gradient = [0.0, 0.0, -0.1, 0.1]
    assert net.copy().prune_to_sparsity(0.5, method="snip").scores.tolist() == pytest.approx([0, 0, 0.3, 0.2])
    net.connections.accumulated_gradient = np.zeros(4)  # recorded zeros are scores like others
    assert net.copy().prune_to_sparsity(0.5, method="snip").kept.tolist() == [False, False, True, True]
    net.pruning = PruningSchedule(0.5, 1, 1, method="snip")
    assert net.copy().maybe_prune(1).kept.tolist() == [False, False, True, True]
    net.connections.accumulated_gradient = None
    assert net.maybe_prune(1).kept.tolist() == [False, True, True, False]


def test_the_first_step_after_a_pruning_restarts_the_accumulated_gradient():
    x, y = np.array([[1.0, 2.0, 3.0]]), np.array([[1.0]])
    net = star([0.1, 0.2, 0.3])
    first = net.gradient(x, y)[0]
    net.train(x, y, iterations=1, optimizer="sgd")
    assert net.connections.accumulated_gradient.tolist() == first.tolist()
    second = net.gradient(x, y)[0]
    net.train(x, y, iterations=1, optimizer="sgd")
    assert net.connections.accumulated_gradient.tolist() == (first + second).tolist()
    result = net.prune_to_sparsity(0.34)
    assert net.connections.accumulated_gradient.tolist() == (first + second)[result.kept].tolist()
    third = net.gradient(x, y)[0]
    net.train(x, y, iterations=1, optimizer="sgd")
    assert net.connections.accumulated_gradient.tolist() == third.tolist()
    net.regrow(1)
    assert net.connections.accumulated_gradient is None


def trained(seed=0):
    """A star of four whose sums are set by hand, as training would have left them."""
    net = star([1.0, 2.0, 3.0, 4.0], seed)
    net.train(np.ones((2, 4)), np.ones((2, 1)), iterations=1, learning_rate=1e-9)
    net.connections.weight = [1.0, 2.0, 3.0, 4.0]
    net.connections.accumulated_gradient[:] = [4.0, -3.0, 2.0, -1.0]
    net.connections.accumulated_movement[:] = [0.5, -0.25, 0.125, -1.0]
    net.connections.accumulated_squared_gradient[:] = [9.0, 4.0, 1.0, 0.25]
    return net


def test_what_training_summed_up_is_the_signal_unless_another_is_given():
    assert trained().prune_to_sparsity(0.5, "movement").scores.tolist() == [0.5, -0.25, 0.125, -1.0]
    assert trained().prune_to_sparsity(0.5, "fisher").scores.tolist() == [9.0, 16.0, 9.0, 4.0]
    assert trained().prune_to_sparsity(0.5, "snip").scores.tolist() == [4.0, 6.0, 6.0, 4.0]
    assert trained().prune_to_sparsity(0.5, "movement").removed.source.tolist() == [1, 3]
    given = np.array([3.0, 2.0, 1.0, 0.0])
    assert trained().prune_to_sparsity(0.5, "movement", movement=given).removed.source.tolist() == [2, 3]
    assert trained().prune_to_sparsity(0.5, "fisher", squared_gradient=given).scores.tolist() == [3.0, 8.0, 9.0, 0.0]

    def both(weight, *, movement, squared_gradient, gradient):
        return movement + squared_gradient + gradient

    assert trained().prune_to_sparsity(0.5, both).scores.tolist() == [13.5, 0.75, 3.125, -1.75]
    net = trained()
    net.pruning = PruningSchedule(0.25, 1, 1, method="movement")
    assert net.maybe_prune(1).removed.source.tolist() == [3]


@pytest.mark.parametrize(("method", "signal"), [("movement", "movement"), ("fisher", "squared_gradient")])
def test_a_gradient_alone_is_no_movement(method, signal):
    for recorded in (None, [1.0, 2.0, 3.0, 4.0]):
        net = star([1.0, 2.0, 3.0, 4.0])
        net.connections.accumulated_gradient = recorded
        before = everything(net)
        with pytest.raises(ValueError, match=f"needs the signal '{signal}'") as error:
            net.prune_to_sparsity(0.5, method)
        assert_one_sentence(error)
        assert everything(net) == before


def test_synflow_needs_nothing_and_takes_no_gradient_of_a_loss():
    net = Network.from_connections(2, 1, [(0, 3, 2.0), (1, 3, -1.0), (3, 2, 0.5), (1, 2, 4.0)])
    wanted = net.copy().prune_to_sparsity(0.5, "synflow", **net.signals("synflow"))
    net.connections.accumulated_gradient = [9.0, 8.0, 7.0, 6.0]
    result = net.prune_to_sparsity(0.5, "synflow")
    scores = dict(zip([(0, 3), (1, 3), (1, 2), (3, 2)], [1.0, 0.5, 4.0, 1.5], strict=True))
    assert result.scores.tolist() == wanted.scores.tolist() == [*scores.values()]
    assert pairs(net.connections) == [(1, 2), (3, 2)]
    given = net.copy()
    assert given.prune_to_sparsity(0.75, "synflow", gradient=np.array([0.0, 1.0])).removed.source.tolist() == [1]


@given(living(min_connections=2).filter(lambda net: len(net.connections) > 1), s.sparsities(), s.SEEDS)
def test_the_sums_follow_connections_copies_and_undo(net, target, seed):
    rng = np.random.default_rng(seed)
    net.connections.accumulated_gradient = 0.0
    net._record(tuple(rng.normal(size=(3, len(net.connections)))))
    columns = dict(zip(prune.RECORDED, net._signals, strict=True))
    before = {name: column.tolist() for name, column in columns.items()}
    twin, pickled = net.copy(), pickle.loads(pickle.dumps(net))
    result = net.prune_to_sparsity(target, rng.choice(["magnitude", "movement", "snip"]))
    for name, column in before.items():
        kept = [value for value, on in zip(column, result.kept, strict=True) if on]
        assert getattr(net.connections, f"accumulated_{name}").tolist() == kept
        for other in (twin, pickled):
            assert getattr(other.connections, f"accumulated_{name}").tolist() == column
            assert getattr(other.connections, f"accumulated_{name}") is not columns[name]
    assert net._signals_end == (not result.kept.all())
    result.undo(net)
    assert {name: getattr(net.connections, f"accumulated_{name}").tolist() for name in before} == before
    assert not net._signals_end and everything(net) == everything(twin) == everything(pickled)
    gone = rng.random(len(net.connections)) < 0.5
    net.keep(~gone)
    for name, column in before.items():
        assert getattr(net.connections, f"accumulated_{name}").tolist() == np.array(column)[~gone].tolist()


@pytest.mark.parametrize("method", ["magnitude", "snip", "random", lambda weight: 1.0 + 0 * weight])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("scheduled", [False, True])
def test_a_weight_that_is_not_finite_is_named_and_nothing_changes(bad, method, scheduled):
    net = Network.random(4, 3, 3, 20, seed=0)
    if scheduled:
        net.pruning = PruningSchedule(0.5, 1, 1, method=method, regrow_fraction=0.5)
    before, rng = plain(net), net.rng_state
    weight = net.connections.weight[7]
    net.connections.weight[7] = bad
    with pytest.raises(ValueError, match=rf"net\.connections\.weight must be finite, got {bad} at index 7") as error:
        net.maybe_prune(1) if scheduled else net.prune_to_sparsity(0.5, method=method)
    assert_one_sentence(error)
    assert math.isnan(net.connections.weight[7]) or net.connections.weight[7] == bad
    net.connections.weight[7] = weight
    assert_same(net, before)
    assert net.rng_state == rng and net.evolution_baseline is net.last_prune_iteration is None


@pytest.mark.parametrize("target", [math.nan, np.float64("nan")])
def test_a_target_that_is_not_a_number_is_refused(target):
    net = star([1.0, 2.0])
    before = everything(net)
    with pytest.raises(ValueError, match="target_sparsity must be a number, got nan") as error:
        net.prune_to_sparsity(target)
    assert_one_sentence(error)
    assert everything(net) == before


def test_scores_that_are_not_finite_are_named():
    net = star([1.0, 2.0, 3.0, 4.0])
    before = everything(net)
    with pytest.raises(ValueError, match=r"scores of <lambda> must be finite, got nan at index 2") as error:
        net.prune_to_sparsity(0.5, method=lambda weight: np.where(weight == 3, np.nan, weight))
    assert_one_sentence(error)
    with pytest.raises(ZeroDivisionError):
        net.prune_to_sparsity(0.5, method=lambda weight: 1 // 0)
    with pytest.raises(ValueError, match="shape"):
        net.prune_to_sparsity(0.5, method=lambda weight: weight[:2])
    assert everything(net) == before


# ---------------------------------------------------------------- what one pruning did, and undoing it


@given(living(min_connections=1).filter(lambda net: len(net.connections)), s.sparsities(), st.floats(0, 1),
       st.booleans(), s.SEEDS)
def test_a_result_explains_and_undoes(net, target, fraction, recorded, seed):
    rng = np.random.default_rng(seed)
    if recorded:
        net.connections.accumulated_gradient = rng.standard_normal(len(net.connections))
    net.connections.weight[rng.random(len(net.connections)) < 0.1] = -0.0
    if net.graph.recurrent:
        net(rng.standard_normal(net.graph.n_inputs))
    net.pruning = PruningSchedule(max(target, 0.001), 3, 3, regrow_fraction=fraction, method="snip")
    net.rng  # noqa: B018
    before, columns = plain(net), everything(net)[1]
    stored, weights = pairs(net.connections), net.connections.weight.copy()
    header = json.loads(everything(net)[0])
    result = net.maybe_prune(3)
    gone = ~result.kept
    assert pairs(result.removed) == [pair for pair, out in zip(stored, gone, strict=True) if out]
    assert result.removed.weight.tobytes() == weights[gone].tobytes()
    assert len(result.removed) == gone.sum() and len(result.regrown) == len(net.connections) - result.kept.sum()
    if gone.any():
        scores = np.abs(weights * (np.frombuffer(columns["gradient"]) if recorded else 1.0))
        assert result.scores.tolist() == scores.tolist()
        assert result.removed.score.tobytes() == result.scores[gone].tobytes()
        assert result.removed.score.max() <= result.scores[result.kept].min(initial=math.inf)
    else:
        assert result.scores is None and result.removed.score.size == 0
    result.undo(net)
    assert_same(net, before)
    assert everything(net)[1] == columns  # weights, biases, gradient and state, bit for bit
    after = json.loads(everything(net)[0])
    assert {**after, "rng_state": None} == {**header, "rng_state": None}


def test_undo_keeps_what_was_learned_since():
    net = star([0.1, 2.0, 3.0])
    result = net.prune_to_sparsity(0.34)
    net.connections.weight = [5.0, 6.0]
    net.node(3).bias = 7.0
    result.undo(net)
    assert net.connections.weight.tolist() == [0.1, 5.0, 6.0] and net.node(3).bias == 7.0
    assert net.evolution_baseline is None and net.sparsity == 0.0


def test_undo_refuses_after_another_rewiring():
    net = star([0.1, 2.0, 3.0, 4.0])
    first = net.prune_to_sparsity(0.25)
    twin = net.copy()
    second = net.prune_to_sparsity(0.5)
    after = everything(net)
    with pytest.raises(LookupError, match="undo the latest result first") as error:
        first.undo(net)
    assert_one_sentence(error)
    assert everything(net) == after
    second.undo(net)
    first.undo(net)
    assert net.connections.weight.tolist() == [0.1, 2.0, 3.0, 4.0]
    with pytest.raises(LookupError):
        first.undo(net)
    first.undo(twin)  # a copy has the same wiring
    assert twin.connections.weight.tolist() == [0.1, 2.0, 3.0, 4.0]


def test_undo_of_a_pruning_that_removed_nothing():
    net = star([1.0, 2.0])
    net.pruning = PruningSchedule(0.5, 1, 3)
    before = everything(net)
    result = net.maybe_prune(1)
    assert result.kept.all() and net.last_prune_iteration == 1
    result.undo(net)
    assert everything(net) == before


def test_undo_leaves_a_schedule_set_since_alone():
    net = star([0.1, 2.0, 3.0, 4.0])
    result = net.prune_to_sparsity(0.5)
    net.pruning = PruningSchedule(0.5, 1, 1)
    result.undo(net)
    assert (len(net.connections), net.initial_connection_count, net.evolution_baseline) == (4, 2, None)
    net.pruning = PruningSchedule(0.5, 1, 1)
    result = net.maybe_prune(1)
    net.pruning = None
    result.undo(net)
    assert len(net.connections) == 4 and net.initial_connection_count is net.last_prune_iteration is None


def test_a_result_tells_itself():
    net = Network.dense([4, 4], seed=0)
    net.pruning = PruningSchedule(0.5, 1, 1, regrow_fraction=0.25)
    result = net.maybe_prune(1)
    assert repr(result) == "<PruneResult: 10 removed, 2 regrown, 8 left, sparsity 0.5>"


# ---------------------------------------------------------------- names, determinism


def test_aliases_are_the_same_functions():
    assert Network.maybePrune is Network.maybe_prune is prune.maybe_prune
    assert Network.pruneToSparsity is Network.prune_to_sparsity is prune.prune_to_sparsity
    assert Network.getCurrentSparsity is Network.get_current_sparsity
    net = star([1.0, 2.0, 3.0, 4.0])
    net.pruneToSparsity(0.5)
    assert net.getCurrentSparsity() == net.sparsity == 0.5
    net.pruning = PruningSchedule(0.5, 1, 1)
    assert len(net.maybePrune(1).removed) == 1


@given(s.networks(min_connections=1), s.SEEDS)
def test_the_same_seed_gives_the_same_life(spelled, seed):
    def life():
        net = network(spelled, seed=seed)
        net.pruning = PruningSchedule(0.6, 1, 4, regrow_fraction=0.5)
        for iteration in range(1, 5):
            net.maybe_prune(iteration)
        net.prune_to_sparsity(0.2, method="random")
        return net

    first, second = life(), life()
    assert everything(first) == everything(second)


def test_pruning_draws_nothing_when_nothing_grows():
    net = Network.dense([4, 4], seed=0)
    state = net.rng_state
    net.pruning = PruningSchedule(0.5, 1, 2)
    net.maybe_prune(2)
    net.prune_to_sparsity(0.5)
    assert net.rng_state == state and len(net.connections) == 4
    net.prune_to_sparsity(0.75, method="random")
    assert net.rng_state != state
