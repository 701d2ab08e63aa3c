"""Where neuroprune differs from sparselearning: the rows of docs/names.md, shown."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import neuroprune as npr
import strategies as s
from differences import assert_shown, of
from neuroprune import Network, masks
from neuroprune.pruning import decay, distribution


def masks_left(density, size):
    return size - masks.count(1 - density, size)


# ---------------------------------------------------------------- decay, distributions


@of("sparselearning", "Decay")
def test_decay_is_a_function_of_the_step():
    cosine = decay.Cosine(0.3, 100)
    assert [cosine.rate(50) for _ in range(3)] == [pytest.approx(0.15)] * 3
    with pytest.raises(AttributeError):
        cosine.rate_now = 0.1


@of("sparselearning", "CosineDecay(prune_rate, T_max, eta_min)", "LinearDecay(prune_rate, T_max)")
def test_decay_ends_where_it_says():
    cosine, linear = decay.Cosine(0.3, 100, floor=0.05), decay.Linear(0.3, 100)
    assert cosine.rate(0) == pytest.approx(0.3) and cosine.rate(100) == cosine.rate(1000) == 0.05
    assert linear.rate(0) == 0.3 and linear.rate(50) == pytest.approx(0.15) and linear.rate(100) == 0.0
    assert linear.rate(500) == 0.0


@of("sparselearning", "get_erdos_renyi_dist(masking, is_kernel)")
@given(st.floats(0.01, 1.0))
def test_erdos_renyi_loses_no_weight(density):
    shapes = {"a": (7, 5), "b": (3, 7), "c": (11, 3)}
    counts = distribution.counts(distribution.erdos_renyi(shapes, density), shapes, masks_left(density, 89))
    assert sum(counts.values()) == masks_left(density, 89)
    assert set(distribution.erdos_renyi(shapes, 1.0).values()) == {1.0}


@of("sparselearning", "calc_growth_redistribution")
@given(st.lists(st.tuples(st.floats(0, 1), s.sizes(0, 20)), min_size=1, max_size=6), st.floats(0, 1))
def test_redistribution_adds_up(pairs, share):
    shares, room = [pair[0] + 1e-3 for pair in pairs], [pair[1] for pair in pairs]
    total = int(share * sum(room))
    given_out = distribution.apportion(shares, total, room)
    assert sum(given_out) == total and all(isinstance(one, int) for one in given_out)
    assert all(0 <= one <= most for one, most in zip(given_out, room, strict=True))


# ---------------------------------------------------------------- drop and grow


def update(weights, present, signals=None, step=1, seed=0, **rest):
    rewire = npr.Rewire(**{"every": 1, "fraction": decay.Constant(0.5), **rest})
    return rewire.update(weights, present, step, signals, rng=np.random.default_rng(seed))


@of("sparselearning", "prune_mode", "growth_mode", "redistribution_mode")
def test_scorers_drop_and_grow_and_functions_redistribute():
    assert npr.Rewire().grow == "random" and npr.Rewire().redistribute is None and npr.Rewire().drop == "magnitude"
    weights = {"a": np.array([1.0, 2.0, 0.0, 0.0])}
    present = {"a": np.array([True, True, False, False])}
    signals = {"a": {"gradient": np.array([9.0, 0.1, 1.0, 5.0])}}
    found = update(weights, present, signals, drop="snip", grow=lambda weight, *, gradient: -abs(gradient),
                   redistribute=lambda weight, mask, **signals: 1.0)  # fmt: skip
    assert found.dropped["a"].tolist() == [False, True, False, False]
    assert found.grown["a"].tolist() == [False, True, False, False]  # the smallest gradient, and it may return


@of("sparselearning", "magnitude, magnitude_prune")
def test_only_what_is_present_goes_and_by_a_rounded_count():
    weights = {"a": np.array([0.0, 0.0, 0.0, 3.0, 2.0, 1.0, 4.0])}
    present = {"a": np.array([False, True, False, True, True, True, True])}
    found = update(weights, present, grow=None)  # half of 5 rounds to 2
    assert found.dropped["a"].tolist() == [False, True, False, False, False, True, False]


@of("sparselearning", "global-magnitude")
@pytest.mark.parametrize("grow", [None, "random", "gradient", "momentum"])
def test_one_ranking_over_all_with_any_growth(grow):
    weights = {"a": np.array([0.1, 0.2, 0.3, 0.0]), "b": np.array([5.0, 6.0, 7.0, 0.0])}
    present = {name: weight != 0 for name, weight in weights.items()}
    signals = {name: {"gradient": np.ones(4), "momentum": np.ones(4)} for name in weights}
    found = update(weights, present, signals, scope="global", grow=grow, fraction=decay.Constant(1 / 3))
    assert found.dropped["a"].sum() == 2 and not found.dropped["b"].any()
    assert sum(mask.sum() for mask in found.masks.values()) == (4 if grow is None else 6)


@of("sparselearning", "absolute-gradient", "momentum, momentum_growth", "none")
def test_growth_takes_the_largest_and_counts():
    weights = {"a": np.array([1.0, 2.0, 0.0, 0.0, 0.7])}  # the last is off, and not zero
    present = {"a": np.array([True, True, False, False, False])}
    signals = {"a": {"gradient": np.array([0.0, 0.0, -3.0, 1.0, 2.0]),
                     "momentum": np.array([0.0, 0.0, 1.0, 0.0, -2.0])}}
    assert update(weights, present, signals, grow="gradient").masks["a"].tolist() == [False, True, True, False, False]
    assert update(weights, present, signals, grow="momentum").masks["a"].tolist() == [False, True, False, False, True]
    assert update(weights, present, signals, grow=None).masks["a"].tolist() == [False, True, False, False, False]


@of("sparselearning", "random, random_growth")
@given(s.SEEDS)
def test_random_growth_is_exact(seed):
    present = {"a": np.arange(40) < 10}
    found = update({"a": np.where(present["a"], np.arange(1.0, 41.0), 0.0)}, present, seed=seed)
    assert found.masks["a"].sum() == 10 and found.grown["a"].sum() == 5


@of("sparselearning", "struct-magnitude", "struct-absolute-gradient")
def test_kernels_rise_and_fall_together():
    weight = np.zeros((1, 3, 2, 2))
    weight[0, 0], weight[0, 1] = [[9.0, -9.0], [9.0, -9.0]], 1.0  # the mean of the first is 0
    present = np.zeros(weight.shape, bool)
    present[0, :2] = True
    gradient = np.zeros(weight.shape)
    gradient[0, 2] = -1.0
    found = update({"a": weight}, {"a": present}, {"a": {"gradient": gradient}}, grow="gradient", unit=(0, 1))
    assert found.masks["a"].all(axis=(2, 3)).tolist() == [[False, True, True]] and found.masks["a"].sum() == 8


@of("sparselearning", "momentum_redistribution", "grad_redistribution", "nonzero_redistribution")
@pytest.mark.parametrize("by", ["momentum", "gradient", "nonzero"])
def test_an_emptied_array_has_a_share_of_zero(by):
    weights = {"a": np.arange(1.0, 9.0), "b": np.zeros(8), "c": np.concatenate([np.arange(1.0, 5.0), np.zeros(4)])}
    present = {"a": np.arange(8) < 8, "b": np.zeros(8, bool), "c": np.arange(8) < 4}
    signals = {name: {"momentum": np.ones(8), "gradient": np.ones(8)} for name in weights}
    found = update(weights, present, signals, redistribute=by, grow="gradient")
    assert not found.masks["b"].any() and sum(mask.sum() for mask in found.masks.values()) == 12
    assert all(isinstance(int(mask.sum()), int) for mask in found.masks.values())


@of("sparselearning", "the interval and end of a script", "update_connections(), truncate_weights()")
def test_updates_count_steps_from_one():
    rewire = npr.Rewire.rigl(every=10, until=40)
    assert [step for step in range(100) if rewire.fires(step)] == [10, 20, 30]
    assert rewire.replaces_step and not npr.Rewire.set(every=10).replaces_step


# ---------------------------------------------------------------- Masking


def model(torch, conv=False):
    torch.manual_seed(0)
    layers = [torch.nn.Linear(6, 8), torch.nn.BatchNorm1d(8), torch.nn.ReLU(), torch.nn.Linear(8, 4)]
    if conv:
        layers = [torch.nn.Conv2d(2, 4, 3), torch.nn.Flatten(), torch.nn.Linear(16, 4)]
    return torch.nn.Sequential(*layers)


def masking(net, optimizer=None, **rest):
    from neuroprune.tensors.torch import Masking

    return Masking(net, optimizer, **{"seed": 0, **rest})


def train(torch, net, masked, optimizer, steps):
    x, y = torch.randn(16, 6), torch.randint(0, 4, (16,))
    changes = []
    for _ in range(steps):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(x), y).backward()
        changes.append(masked.step())
    return changes


@of("sparselearning", "Masking(optimizer, prune_rate_decay, ...)", "add_module(module)", "total_density", "masks")
def test_a_model_has_masks_of_its_own(torch):
    net = model(torch)
    masked = masking(net, init="random", density=0.25)
    assert list(masked.masks) == ["0.weight", "3.weight"] and masked.sparsity == 0.75
    assert net.state_dict()["0.weight_mask"].dtype == torch.bool and len(masked.report()) == 2
    assert (net[0].weight[~net[0].weight_mask] == 0).all()
    graph = Network.dense([4, 6, 2], seed=0)
    graph.keep(np.random.default_rng(0).random(len(graph.connections)) < 0.5)
    before = len(graph.connections)
    graph.train(np.ones((4, 4)), np.ones((4, 2)), iterations=6, rewire=npr.Rewire.rigl(every=2, until=6))
    assert len(graph.connections) == before


@of("sparselearning", "remove_weight(name)")
def test_what_has_no_mask_is_named(torch):
    assert list(masking(model(torch), exclude=["0"]).masks) == ["3.weight"]
    with pytest.raises(ValueError, match="'7'"):
        masking(model(torch), exclude=["7"])


@of("sparselearning", "density", "erdos-renyi, erdos_renyi_init", "erdos-renyi-kernel", "random, random_init")
@pytest.mark.parametrize("init", ["random", "er", "erk"])
def test_starts_have_exact_counts(torch, init):
    for conv in (False, True):
        masked = masking(model(torch, conv), init=init, density=0.3)
        size = sum(mask.numel() for mask in masked.masks.values())
        assert sum(int(mask.sum()) for mask in masked.masks.values()) == masks_left(0.3, size)
        assert next(iter(masked.masks)) == "0.weight"
    with pytest.raises((TypeError, ValueError), match="density"):
        masking(model(torch), init=init)


@of("sparselearning", "sparse_init", "resume")
def test_a_start_may_be_what_the_model_has(torch):
    net = model(torch)
    with torch.no_grad():
        net[0].weight[0] = 0.0
    assert masking(model(torch)).sparsity == 0.0
    assert int(masking(net, init="resume").masks["0.weight"].sum()) == 42


@of("sparselearning", "lottery-ticket, lottery_ticket_init", "lottery-ticket-dist")
def test_the_masks_given_are_the_masks_used(torch):
    given_masks = {name: mask.clone() for name, mask in masking(model(torch), init="er", density=0.3).masks.items()}
    same = masking(model(torch), init="lottery", masks=given_masks).masks
    assert all(bool((same[name] == given_masks[name]).all()) for name in given_masks)
    moved = masking(model(torch), init="lottery", masks=given_masks, shuffle=True).masks
    assert all(int(moved[name].sum()) == int(given_masks[name].sum()) for name in given_masks)
    assert any(bool((moved[name] != given_masks[name]).any()) for name in given_masks)


@of("sparselearning", "struct-random")
def test_whole_kernels_from_the_start(torch):
    masked = masking(model(torch, conv=True), init="random", density=0.5, unit=(0, 1))
    kernel = masked.masks["0.weight"].reshape(4, 2, 9)
    assert bool((kernel.all(dim=2) == kernel.any(dim=2)).all()) and list(masked.masks) == ["0.weight", "2.weight"]


@of("sparselearning", "step()", "apply_mask", "mask_step")
def test_step_masks_everything_and_decides_when(torch):
    net = model(torch)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    masked = masking(net, optimizer, init="er", density=0.3, grow="gradient", every=3, until=100)
    changes = train(torch, net, masked, optimizer, 7)
    assert [change is not None for change in changes] == [False, False, True, False, False, True, False]
    assert masked.step_number == 7
    for name, mask in masked.masks.items():
        weight = net.get_parameter(name)
        assert bool((weight[~mask] == 0).all()) and bool((optimizer.state[weight]["momentum_buffer"][~mask] == 0).all())


@of("sparselearning", "state_dict")
def test_masks_come_back_with_the_model(torch):
    net = model(torch)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    masked = masking(net, optimizer, init="er", density=0.3, every=2)
    train(torch, net, masked, optimizer, 3)
    twin = model(torch)
    other = masking(twin, torch.optim.SGD(twin.parameters(), lr=0.1), init="er", density=0.5, every=2)
    twin.load_state_dict(net.state_dict())
    other.load_state_dict(masked.state_dict())
    assert other.step_number == 3 and other.sparsity == masked.sparsity
    assert all(bool((other.masks[name] == mask).all()) for name, mask in masked.masks.items())


def test_every_difference_is_shown():
    assert_shown("sparselearning")
