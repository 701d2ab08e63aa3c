"""Golden numbers of NeatapticTS under our rules.

Each step starts from the reference's previous survivors. What goes is decided by our rules, spelled out in the oracles;
where the two count differently, the largest surviving scores are compared over the smaller of the two counts.
"""

import math

import numpy as np
import pytest

import oracles
from bridge import network
from neuroprune import AdaptivePruning, GenerationPruning, PruningSchedule
from neuroprune.activations import ACTIVATIONS

PRUNING = ("prune_to_sparsity", "maybe_prune", "evolution_pruning", "adaptive_pruning")
NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


# ---------------------------------------------------------------- which cases have a counterpart


def networks_of(case):
    return case.get("population") or [case["net"]]


def exemption(case):
    """Why there is nothing to compare a case with, or None."""
    settings = case.get("config") or case.get("options") or {}
    if any(net.get("self") for net in networks_of(case)):
        return "self connections count and rank here like all others"
    if not all(net["edges"] for net in networks_of(case)):
        return "a network without edges has nothing to prune"
    if case.get("direct"):
        return "settings put in place past all checks: here there is no such way"
    if "frequency" in settings and settings["frequency"] not in (None, *range(1, 10**6)):
        return "a frequency is a whole number of at least 1 here"
    if "targetSparsity" in settings and settings["targetSparsity"] is None and "enabled" not in settings:
        return "a schedule has no default target here (an adaptive one, with its own default, gives its levels)"
    if settings.get("metric") == "nodes":
        return "pruning cannot move the number of nodes: there is no such metric here"
    return None


def cases(name):
    return [case for case in oracles.golden(name)["cases"] if exemption(case) is None]


def every(name):
    """Parametrization over the cases of a file that have a counterpart."""
    found = cases(name)
    return pytest.mark.parametrize("case", found, ids=[f"{case['id']}_{case['tag']}" for case in found])


def test_most_cases_have_a_counterpart():
    for name in PRUNING:
        everything = oracles.golden(name)["cases"]
        exempt = [case["tag"] for case in everything if exemption(case)]
        assert 3 * len(exempt) < len(everything), exempt


def number(value):
    return NON_FINITE[value] if isinstance(value, str) else value


# ---------------------------------------------------------------- one network beside its reference


class Twin:
    """Our network beside one of the reference: it is led back to the reference's survivors after every step."""

    def __init__(self, golden):
        plain, self.ids = oracles.from_golden(golden)
        self.net = network(plain)
        self.plain = plain
        self.edges = {i: (self.ids[source], self.ids[target]) for i, (source, target, _) in enumerate(golden["edges"])}
        self.weight = {i: weight for i, (_, _, weight) in enumerate(golden["edges"])}
        self.delta = golden.get("total_delta") or golden.get("previous_delta")
        self.restore(list(self.edges))

    def restore(self, survivors):
        """Lead the network to these edges, with their weights and the recorded gradient."""
        self.numbers = {self.edges[i]: i for i in survivors}
        surplus = [pair for pair in self.pairs() if pair not in self.numbers]
        missing = [pair for pair in self.numbers if pair not in set(self.pairs())]
        if surplus:
            self.net.disconnect(*map(np.array, zip(*surplus, strict=True)))
        if missing:
            self.net.connect(*map(np.array, zip(*missing, strict=True)), weight=0.0)
        self.net.connections.weight = [self.weight[i] for i in self.order()]
        self.net.connections.accumulated_gradient = self.gradient()

    def pairs(self):
        connections = self.net.connections
        return list(zip(connections.source.tolist(), connections.target.tolist(), strict=True))

    def order(self):
        """Edge ids in storage order."""
        return [self.numbers[pair] for pair in self.pairs()]

    def gradient(self):
        """Recorded change of each edge in storage order (0 for one added since), None when nothing was recorded."""
        known = self.delta
        return None if known is None else [known[i] if i < len(known) else 0.0 for i in self.order()]

    def scores(self, method):
        """Our score of each edge id, in storage order."""
        weights = [self.weight[i] for i in self.order()]
        values = oracles.snip(weights, self.gradient() if method == "snip" else None)
        return dict(zip(self.order(), values, strict=True))

    def comparable(self, method):
        """Whether the reference ranks on one scale: it mixes |w g| and |w| where some recorded changes are 0."""
        gradient = self.gradient()
        return method != "snip" or gradient is None or len({value == 0 for value in gradient}) < 2

    def apply(self, op):
        """What happens to the reference's network between two prunings."""
        if op["op"] == "connect":
            source, target, place = self.ids[op["from"]], self.ids[op["to"]], oracles.positions(self.plain)
            if place[source] >= place[target] or source in self.plain.outputs:
                self.net.as_recurrent()
            i = len(self.edges)
            self.edges[i], self.weight[i] = (source, target), op["weight"]
            self.restore([*self.order(), i])
        elif op["op"] == "disconnect":
            gone = self.ids[op["from"]], self.ids[op["to"]]
            self.restore([i for i in self.order() if self.edges[i] != gone])
        elif op["op"] == "set":
            self.weight.update({i: weight for i, weight in op["weights"]})
            self.restore(self.order())
        else:
            raise AssertionError(f"unknown op {op['op']!r}")

    def look(self, method):
        """Remember what the next pruning starts from."""
        self.before, self.one_scale = self.scores(method), self.comparable(method)

    def check(self, result, desired, survivors, grown=0):
        """Our count and our mask by the oracles, then the best scores over the smaller count; ends at `survivors`."""
        scores = self.before
        gone = max(0, len(scores) - desired) + grown
        kept = oracles.prune_lowest(list(scores.values()), gone)
        assert (np.ones(len(scores), bool) if result is None else result.kept).tolist() == kept
        assert len(self.net.connections) == len(scores) - gone + grown
        if self.one_scale:
            ours = sorted((score for score, stays in zip(scores.values(), kept, strict=True) if stays), reverse=True)
            theirs = sorted((scores[i] for i in survivors), reverse=True)
            shorter = min(len(ours), len(theirs))
            assert shorter and ours[:shorter] == theirs[:shorter]
        self.restore(survivors)


# ---------------------------------------------------------------- generation-level pruning


def prune_generation(twin, target, method, survivors):
    """One prune_to_sparsity under our rules, then on from the reference's survivors."""
    twin.look(method)
    count, baseline = len(twin.net.connections), twin.net.evolution_baseline
    excess, baseline = oracles.prune_to_sparsity(count, baseline, target)
    result = twin.net.prune_to_sparsity(target, method=method)
    assert twin.net.evolution_baseline == baseline
    twin.check(result, count - excess, survivors)


@every("prune_to_sparsity")
def test_prune_to_sparsity(case):
    twin, refused = Twin(case["net"]), False
    for step in case["steps"]:
        if step["op"] != "prune":
            twin.apply(step)
            continue
        target = number(step["target"])
        if math.isnan(target):  # the reference takes its baseline and removes nothing
            with pytest.raises(ValueError, match="target_sparsity must be a number"):
                twin.net.prune_to_sparsity(target, method=step["method"] or "magnitude")
            assert twin.order() == sorted(step["survivors"], key=twin.order().index)
            refused = True
            continue
        prune_generation(twin, target, step["method"] or "magnitude", step["survivors"])
        assert refused or twin.net.evolution_baseline == step["baseline"]


def generation_pruning(options):
    """Ours from the reference's settings; null is the default, and interval 0 counts as 1 there."""
    given = {"start_generation": options["startGeneration"], "interval": options["interval"] or None,
             "ramp_generations": options["rampGenerations"], "method": options["method"]}
    return GenerationPruning(options["targetSparsity"],
                             **{key: value for key, value in given.items() if value is not None})


@every("evolution_pruning")
def test_evolution_pruning(case):
    twins, pruning = [Twin(net) for net in case["population"]], generation_pruning(case["options"])
    for step in case["generations"]:
        for op in step["ops"]:
            twins[op["genome"]].apply(op)
        fires, target = pruning.fires(step["generation"]), pruning.sparsity(step["generation"])
        if step["applied"]:
            assert fires and target == pytest.approx(step["target"], rel=1e-15)
        for twin, survivors in zip(twins, step["survivors"], strict=True):
            if not fires:
                assert sorted(twin.order()) == sorted(survivors)
            else:
                prune_generation(twin, target, pruning.method, survivors)
        if step["applied"]:
            assert [twin.net.evolution_baseline for twin in twins] == step["baselines"]


def adaptive_pruning(options):
    """Ours from the reference's settings; null is the default, that of the target 0.5 there."""
    target = 0.5 if options["targetSparsity"] is None else options["targetSparsity"]
    given = {"tolerance": options["tolerance"], "adjust_rate": options["adjustRate"]}
    return AdaptivePruning(target, **{key: value for key, value in given.items() if value is not None})


@every("adaptive_pruning")
def test_adaptive_pruning(case):
    twins, pruning, level = [Twin(net) for net in case["population"]], adaptive_pruning(case["options"]), 0.0
    for step in case["steps"]:
        moved = pruning.next_level(level, step["metric"], step["baseline"])
        assert (moved is not None) == bool(step["applied"])
        level = level if moved is None else moved
        assert level == pytest.approx(step["level"], abs=1e-12)
        for op in step["ops"]:
            twins[op["genome"]].apply(op)
        for twin, survivors in zip(twins, step["survivors"], strict=True):
            if step["applied"]:
                prune_generation(twin, step["level"], "magnitude", survivors)
            else:
                assert sorted(twin.order()) == sorted(survivors)


# ---------------------------------------------------------------- scheduled pruning


def schedule(config):
    """Ours from the reference's settings; null is the default."""
    given = {"frequency": config.get("frequency"), "method": config.get("method"),
             "regrow_fraction": config.get("regrowFraction")}
    return PruningSchedule(config["targetSparsity"], config["start"], config["end"],
                           **{key: value for key, value in given.items() if value is not None})


@every("maybe_prune")
def test_maybe_prune(case):
    twin, last = Twin(case["net"]), None
    net, plan, extra = twin.net, schedule(case["config"]), case["baseline"] - len(case["net"]["edges"])
    if extra > 0:  # the reference's baseline was put in place by hand
        net.regrow(extra)
    net.keep(np.arange(len(net.connections)) < case["baseline"])
    net.pruning = plan
    twin.restore(list(twin.edges))
    for step in case["steps"]:
        if step["op"] == "configure":
            net.pruning = plan = schedule(step["config"])
            last = None
            continue
        if step["op"] != "prune":
            twin.apply(step)
            continue
        iteration, count, baseline = step["iter"], len(net.connections), net.initial_connection_count
        twin.look(plan.method)
        result = net.maybe_prune(iteration)
        fired = oracles.fires(iteration, last, plan.start, plan.end, plan.frequency)
        assert (result is not None) == fired
        desired, grown = count, 0
        if fired:
            last = iteration
            wanted = oracles.ramp("linear", plan.target_sparsity, plan.start, plan.end, iteration)
            desired = min(count, oracles.desired_count(wanted, baseline))
            free = len(oracles.legal_slots(twin.plain)) - count
            grown = oracles.regrow_count(plan.regrow_fraction, count - desired, desired, lambda n, free=free: free + n)
            assert len(result.regrown) == grown
        assert net.last_prune_iteration == last
        assert net.sparsity == oracles.sparsity(desired, baseline)
        twin.check(result, desired, step["survivors"], grown)
        assert net.sparsity == max(0.0, step["sparsity"])


# ---------------------------------------------------------------- values


@every("forward_acyclic")
def test_forward(case):
    twin = Twin(case["net"])
    net, states = twin.net, twin.net.copy().as_recurrent()  # a recurrent network keeps the value of every node
    place = oracles.positions(twin.plain)
    for sample in case["samples"]:
        np.testing.assert_allclose(net(sample["input"]), sample["output"], rtol=1e-12, atol=1e-12)
        states(sample["input"])
        values = states._state[0][[place[twin.ids[i]] for i in range(len(place))]]
        np.testing.assert_allclose(values, sample["activations"], rtol=1e-12, atol=1e-12)
    rows = net([sample["input"] for sample in case["samples"]])
    np.testing.assert_allclose(rows, [sample["output"] for sample in case["samples"]], rtol=1e-12, atol=1e-12)


GOLDEN = oracles.golden("activations")


@pytest.mark.parametrize("name", GOLDEN["functions"])
def test_activation(name):
    function, golden = ACTIVATIONS[oracles.golden_name(name)], GOLDEN["functions"][name]
    x = np.array(GOLDEN["x"], float)
    np.testing.assert_allclose(function.f(x), [number(y) for y in golden["y"]], rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(function.df(x), [number(slope) for slope in golden["dy"]], rtol=1e-12, atol=1e-14)
