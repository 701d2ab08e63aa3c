"""One drop-and-grow update over named arrays: exact against the oracle, alike in every library, nothing in place."""

import copy
import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import oracle_rewiring as oracle
from libraries import LIBRARIES, assert_same_place, back, to
from neuroprune.pruning import decay, distribution
from neuroprune.pruning.rewire import Rewire

UNIT = (0, 1)  # one kernel per output and input channel


@st.composite
def layers(draw, kinds=("distinct", "ties", "zeros"), min_rank=1, max_rank=4, least=0):
    """(weights, masks, signals): some arrays without elements, some fully on or off, weights of any kind."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shapes = draw(st.lists(st.lists(st.integers(least, 5), min_size=min_rank, max_size=max_rank).map(tuple),
                           min_size=1, max_size=4))  # fmt: skip
    weights, masks, signals = {}, {}, {}
    for number, shape in enumerate(shapes):
        name, kind = f"layer{7 - number}", draw(st.sampled_from(kinds))
        weight = np.asarray(rng.normal(size=shape), np.float64)
        if kind == "ties":
            weight = np.asarray(rng.integers(-2, 3, shape) / 2.0)
        elif kind == "zeros":
            weight = np.asarray(np.where(rng.random(shape) < 0.5, np.copysign(0.0, weight), weight))
        weights[name] = weight
        masks[name] = np.asarray(rng.random(shape) < draw(st.sampled_from((0.0, 0.1, 0.5, 0.9, 1.0))))
        signals[name] = {key: np.asarray(rng.normal(size=shape)) for key in ("gradient", "momentum")}
        if draw(st.booleans()):
            signals[name]["gradient"] = np.asarray(rng.integers(-1, 2, shape) * 0.5)  # ties
    return weights, masks, signals


def flat(arrays):
    return [array.ravel().tolist() for array in arrays.values()]


def sizes(signals, key):
    return [abs(signal[key]).ravel().tolist() for signal in signals.values()]


def dropped_by_rate(weights, masks, rate):
    """What the oracle drops in each array by magnitude."""
    pairs = zip(flat(weights), flat(masks), strict=True)
    return [oracle.drop_lowest([abs(w) for w in weight], mask, round(rate * sum(mask))) for weight, mask in pairs]


def run(rewire, weights, masks, signals, rng=3, **options):
    """The update on numpy, after checking that every library gives it too, and that nothing was changed."""
    before = copy.deepcopy((weights, masks, signals))
    wanted = rewire.update(weights, masks, 5, signals=signals, rng=rng, **options)
    for was, now in zip(before, (weights, masks, signals), strict=True):
        for name in was:
            pair = (was[name], now[name]) if not isinstance(was[name], dict) else (None, None)
            pairs = [pair] if pair[0] is not None else [(was[name][key], now[name][key]) for key in was[name]]
            assert all(a.tobytes() == b.tobytes() for a, b in pairs)
    for library in LIBRARIES:
        there = {name: to(library, weight) for name, weight in weights.items()}
        update = rewire.update(
            there,
            {name: to(library, mask) for name, mask in masks.items()},
            5,
            signals={name: {key: to(library, v) for key, v in group.items()} for name, group in signals.items()},
            rng=rng,
            **options,
        )
        for field in ("masks", "dropped", "grown"):
            ours, theirs = getattr(wanted, field), getattr(update, field)
            assert list(ours) == list(theirs) == list(weights)
            for name in ours:
                assert_same_place(theirs[name], there[name])
                assert back(theirs[name]).dtype == np.bool_
                assert np.array_equal(back(theirs[name]), ours[name]), (library, field, name)
    check(wanted, weights, masks)
    return wanted


def check(update, weights, masks):
    """What holds for every update."""
    for name, old in masks.items():
        new, dropped, grown = update.masks[name], update.dropped[name], update.grown[name]
        for mask in (new, dropped, grown):
            assert mask.dtype == np.bool_ and mask.shape == old.shape
        assert not (dropped & ~old).any()  # only what was there is dropped
        assert not (grown & old & ~dropped).any()  # only what is not there grows
        assert np.array_equal(new, (old & ~dropped) | grown)
        assert not np.shares_memory(new, old)


def total(masks):
    return sum(int(mask.sum()) for mask in masks.values())


# ---------------------------------------------------------------- when and how much


@given(every=st.integers(1, 20), start=st.integers(0, 60), until=st.none() | st.integers(1, 100))
def test_fires(every: int, start: int, until: int | None) -> None:
    rewire = Rewire(every=every, start=start, until=until)
    for step in range(1, 120):
        assert rewire.fires(step) is oracle.fires(step, every, start, until)


@given(fraction=st.floats(0, 1), until=st.integers(1, 400), step=st.integers(1, 500))
def test_rate(fraction: float, until: int, step: int) -> None:
    assert Rewire(fraction=fraction).rate(step) == fraction
    assert Rewire(fraction=fraction, until=until).rate(step) == pytest.approx(
        oracle.cosine(fraction, until, step), abs=1e-15
    )
    assert Rewire(fraction=decay.Linear(fraction, until), until=7).rate(step) == decay.Linear(
        fraction, until
    ).rate(step)  # fmt: skip
    assert Rewire(fraction=lambda t: fraction / t).rate(step) == fraction / step
    assert Rewire(drop=fraction, until=until).rate(step) == Rewire(fraction=fraction, until=until).rate(step)
    assert Rewire(drop=decay.Constant(fraction)).rate(step) == fraction


def test_needs() -> None:
    assert Rewire().needs == set() and Rewire(grow=None).needs == set()
    assert Rewire(grow="gradient").needs == {"gradient"} and Rewire(grow="momentum").needs == {"momentum"}
    assert Rewire(redistribute="momentum").needs == {"momentum"} and Rewire(redistribute="nonzero").needs == set()
    assert Rewire(grow="gradient", redistribute="momentum").needs == {"gradient", "momentum"}
    assert Rewire(drop=lambda weight, *, gradient: abs(weight * gradient)).needs == {"gradient"}


def test_presets() -> None:
    assert Rewire.set().drop == "set" and Rewire.set().grow == "random" and Rewire.set().redistribute is None
    rigl = Rewire.rigl(every=50, until=900, fraction=0.5)
    assert (rigl.drop, rigl.grow, rigl.redistribute) == ("magnitude", "gradient", None)
    assert (rigl.every, rigl.until, rigl.rate(450)) == (50, 900, pytest.approx(0.25)) and rigl.replaces_step
    snfs = Rewire.snfs(every=10)
    assert (snfs.drop, snfs.grow, snfs.redistribute, snfs.every) == ("magnitude", "momentum", "momentum", 10)
    assert Rewire.rigl(grow="random") == Rewire() and not Rewire.rigl(replaces_step=False).replaces_step


def test_frozen() -> None:
    rewire = Rewire(grow="gradient")
    assert rewire == Rewire(grow="gradient") != Rewire() and hash(rewire) == hash(Rewire(grow="gradient"))
    with pytest.raises(dataclasses.FrozenInstanceError):
        rewire.every = 3


# ---------------------------------------------------------------- drop


@given(case=layers(), rate=st.floats(0, 1))
def test_drop_by_magnitude(case: tuple, rate: float) -> None:
    weights, masks, signals = case
    update = run(Rewire(grow=None, fraction=rate), weights, masks, signals)
    assert flat(update.dropped) == dropped_by_rate(weights, masks, rate)
    assert total(update.grown) == 0


@given(case=layers(), rate=st.floats(0, 1))
def test_drop_by_sign(case: tuple, rate: float) -> None:
    weights, masks, signals = case
    update = run(Rewire(drop="set", grow=None, fraction=rate), weights, masks, signals)
    wanted = [oracle.drop_set(w, m, rate) for w, m in zip(flat(weights), flat(masks), strict=True)]
    assert flat(update.dropped) == wanted


def test_zeros_are_the_first_to_go() -> None:
    """What has just grown is 0, and counts among those that are not negative."""
    weights, masks = {"w": np.array([2.0, -0.5, 0.0, 1.0, -0.0, -3.0])}, {"w": np.ones(6, bool)}
    update = Rewire(drop="set", grow=None, fraction=0.5).update(weights, masks, 1)
    assert update.dropped["w"].tolist() == [False, True, True, False, True, False]


@given(case=layers(), rate=st.floats(0, 1))
def test_drop_jointly(case: tuple, rate: float) -> None:
    weights, masks, signals = case
    update = run(Rewire(grow=None, scope="global", fraction=rate), weights, masks, signals)
    scores = [abs(weight).ravel().tolist() for weight in weights.values()]
    assert flat(update.dropped) == oracle.drop_jointly(scores, flat(masks), round(rate * total(masks)))


@given(case=layers(), rate=st.floats(0, 1))
def test_drop_by_a_function(case: tuple, rate: float) -> None:
    weights, masks, signals = case

    def saliency(weight, *, gradient):
        return abs(weight * gradient)

    update = run(Rewire(drop=saliency, grow=None, fraction=rate), weights, masks, signals)
    for name, weight in weights.items():
        scores = abs(weight * signals[name]["gradient"]).ravel().tolist()
        mask = masks[name].ravel().tolist()
        wanted = oracle.drop_lowest(scores, mask, round(rate * sum(mask)))
        assert update.dropped[name].ravel().tolist() == wanted


@given(data=st.data(), case=layers(), drop=st.sampled_from(("magnitude", "set")))
def test_explicit_drops(data: st.DataObject, case: tuple, drop: str) -> None:
    weights, masks, signals = case
    drops = {name: data.draw(st.integers(0, int(mask.sum()))) for name, mask in masks.items()}
    update = run(Rewire(drop=drop, fraction=0.9), weights, masks, signals, drops=drops)
    assert {name: int(mask.sum()) for name, mask in update.dropped.items()} == drops
    if drop == "magnitude":
        scores = [abs(weight).ravel().tolist() for weight in weights.values()]
        wanted = [oracle.drop_lowest(*group) for group in zip(scores, flat(masks), drops.values(), strict=True)]
        assert flat(update.dropped) == wanted


# ---------------------------------------------------------------- grow


@given(case=layers(), rate=st.floats(0, 1), key=st.sampled_from(("gradient", "momentum")))
def test_grow_the_best(case: tuple, rate: float, key: str) -> None:
    weights, masks, signals = case
    update = run(Rewire(grow=key, fraction=rate), weights, masks, signals)
    gone = dropped_by_rate(weights, masks, rate)
    wanted, grown = oracle.update(flat(masks), gone, sizes(signals, key))
    assert (flat(update.masks), flat(update.grown), flat(update.dropped)) == (wanted, grown, gone)
    assert all(update.masks[name].sum() == mask.sum() for name, mask in masks.items())


@given(case=layers(), rate=st.floats(0, 1), scope=st.sampled_from(("layer", "global")))
def test_grow_by_a_function(case: tuple, rate: float, scope: str) -> None:
    weights, masks, signals = case
    rewire = Rewire(grow=lambda weight, *, gradient: gradient - weight, fraction=rate, scope=scope)
    update = run(rewire, weights, masks, signals)
    scores = [(signals[name]["gradient"] - weight).ravel().tolist() for name, weight in weights.items()]
    wanted, grown = oracle.update(flat(masks), flat(update.dropped), scores)
    assert (flat(update.masks), flat(update.grown)) == (wanted, grown)


@given(case=layers(), rate=st.floats(0, 1), drop=st.sampled_from(("magnitude", "set")), seed=st.integers(0, 2**32),
       scope=st.sampled_from(("layer", "global")))  # fmt: skip
def test_grow_at_random(case: tuple, rate: float, drop: str, seed: int, scope: str) -> None:
    weights, masks, signals = case
    rewire = Rewire(drop=drop, fraction=rate, scope=scope if drop == "magnitude" else "layer")
    update = run(rewire, weights, masks, signals, rng=seed)
    again = rewire.update(weights, masks, 5, signals=signals, rng=np.random.default_rng(seed))
    for name, mask in masks.items():
        assert update.masks[name].sum() == mask.sum()
        assert update.grown[name].sum() == update.dropped[name].sum()
        assert again.masks[name].tobytes() == update.masks[name].tobytes()


def test_random_growth_is_uniform() -> None:
    """Each of the 28 pairs of the 8 free places comes equally often: chi-square with 27 degrees of freedom."""
    weights, masks = {"w": np.arange(1.0, 13.0).reshape(3, 4)}, {"w": np.arange(12).reshape(3, 4) < 6}
    rewire, rng, draws, found = Rewire(), np.random.default_rng(8), 5600, {}
    for _ in range(draws):
        grown = rewire.update(weights, masks, 100, rng=rng, drops={"w": 2}).grown["w"]
        pair = tuple(np.flatnonzero(grown).tolist())
        found[pair] = found.get(pair, 0) + 1
    assert len(found) == 28 and not {place for pair in found for place in pair} & {2, 3, 4, 5}
    assert sum((count - 200) ** 2 / 200 for count in found.values()) < 55.5  # exceeded once in 1000 seeds


def test_random_growth_goes_on_and_differs_between_arrays() -> None:
    weights = {name: np.ones((30, 30)) for name in "ab"}
    masks = {name: np.arange(900).reshape(30, 30) < 450 for name in "ab"}
    rng = np.random.default_rng(0)
    first, second = (Rewire(fraction=0.5).update(weights, masks, 1, rng=rng).masks for _ in range(2))
    assert not np.array_equal(first["a"], first["b"]) and not np.array_equal(first["a"], second["a"])


def test_what_was_dropped_may_come_back() -> None:
    weights, masks = {"w": np.array([1.0, 2.0, 3.0])}, {"w": np.array([True, True, False])}
    signals = {"w": {"gradient": np.array([-9.0, 0.0, 1.0])}}
    update = Rewire(grow="gradient").update(weights, masks, 1, signals=signals, drops={"w": 1})
    assert update.dropped["w"].tolist() == update.grown["w"].tolist() == [True, False, False]
    assert update.masks["w"].tolist() == [True, True, False]


def test_ties() -> None:
    """Among equals the earlier is dropped first, and of equally good candidates the later one grows."""
    weights, masks = {"w": np.ones(6)}, {"w": np.array([True, True, True, False, False, False])}
    signals = {"w": {"gradient": np.array([0.0, 0.0, 0.0, 2.0, -2.0, 2.0])}}
    update = Rewire(grow="gradient").update(weights, masks, 1, signals=signals, drops={"w": 2})
    assert update.dropped["w"].tolist() == [True, True, False, False, False, False]
    assert update.grown["w"].tolist() == [False, False, False, False, True, True]


# ---------------------------------------------------------------- redistribution


@given(case=layers(), rate=st.floats(0, 1), by=st.sampled_from(("momentum", "nonzero", "gradient", "function")))
def test_redistribution(case: tuple, rate: float, by: str) -> None:
    weights, masks, signals = case
    rng = np.random.default_rng(4)
    for signal in signals.values():
        signal["gradient"] = np.asarray(rng.normal(size=signal["gradient"].shape))
    if by == "nonzero":
        shares = [oracle.nonzero(*pair) for pair in zip(flat(weights), flat(masks), strict=True)]
    elif by == "function":
        shares = [weight.ndim + 1 for weight in weights.values()]
    else:
        shares = [oracle.mean_size(signal[by].ravel().tolist(), masks[name].ravel().tolist())
                  for name, signal in signals.items()]  # fmt: skip
    rule = (lambda weight, mask, **signals: len(weight.shape) + 1) if by == "function" else by
    update = run(Rewire(grow="momentum", redistribute=rule, fraction=rate), weights, masks, signals)
    gone = dropped_by_rate(weights, masks, rate)
    assert flat(update.dropped) == gone
    assert total(update.masks) == total(masks)
    room = [len(mask) - sum(mask) + sum(went) for mask, went in zip(flat(masks), gone, strict=True)]
    numbers = distribution.apportion(shares, sum(map(sum, gone)), room)
    wanted, grown = oracle.update(flat(masks), gone, sizes(signals, "momentum"), numbers)
    assert (flat(update.masks), flat(update.grown)) == (wanted, grown)


def test_an_emptied_array_grows_from_a_share_of_its_own() -> None:
    """An array with nothing left has no momentum and gets nothing; no NaN comes of it."""
    weights = {"full": np.arange(1.0, 9.0), "empty": np.zeros(8)}
    masks = {"full": np.arange(8) < 4, "empty": np.zeros(8, bool)}
    signals = {name: {"momentum": np.ones(8)} for name in weights}
    update = Rewire.snfs().update(weights, masks, 1, signals=signals, drops={"full": 2, "empty": 0})
    assert update.masks["full"].sum() == 4 and update.masks["empty"].sum() == 0


def test_what_does_not_fit_goes_where_there_is_room() -> None:
    weights = {"narrow": np.arange(1.0, 5.0), "wide": np.arange(1.0, 101.0)}
    masks = {"narrow": np.array([True, True, True, False]), "wide": np.arange(100) < 50}
    signals = {"narrow": {"momentum": np.full(4, 1e3)}, "wide": {"momentum": np.ones(100)}}
    update = Rewire.snfs().update(weights, masks, 1, signals=signals, drops={"narrow": 1, "wide": 20})
    assert update.masks["narrow"].all() and update.masks["wide"].sum() == 49


def test_statistics_do_not_overflow_in_half_precision(torch) -> None:
    """70 000 times 2 is more than float16 holds, their mean is not."""
    weights = {name: torch.ones(70_000, dtype=torch.float16) for name in "ab"}
    masks = {name: torch.ones(70_000, dtype=torch.bool) for name in "ab"}
    masks["b"][35_000:] = False
    signals = {name: {"momentum": torch.full((70_000,), 2.0, dtype=torch.float16)} for name in "ab"}
    update = Rewire.snfs().update(weights, masks, 1, signals=signals, drops={"a": 30_000, "b": 10_000})
    assert [int(update.grown[name].sum()) for name in "ab"] == [20_000, 20_000]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_dtypes(torch, dtype: str) -> None:
    rng = np.random.default_rng(2)
    kind = getattr(torch, dtype)
    weights, gradients = (torch.from_numpy(rng.normal(size=(20, 30))).to(kind) for _ in range(2))
    mask = torch.from_numpy(rng.random((20, 30)) < 0.3)
    there = Rewire.rigl().update({"w": weights}, {"w": mask}, 1, signals={"w": {"gradient": gradients}})
    here = Rewire.rigl().update(
        {"w": weights.double().numpy()}, {"w": mask.numpy()}, 1, signals={"w": {"gradient": gradients.double().numpy()}}
    )
    assert np.array_equal(there.masks["w"].numpy(), here.masks["w"])


def test_automatic_differentiation_sees_nothing(torch) -> None:
    weight = torch.nn.Parameter(torch.tensor([1.0, -2.0, 3.0, 0.5]))
    mask = torch.tensor([True, True, False, False])
    gradient = torch.ones(4, requires_grad=True)
    update = Rewire.rigl().update({"w": weight}, {"w": mask}, 1, signals={"w": {"gradient": gradient}}, drops={"w": 1})
    assert update.masks["w"].tolist() == [False, True, False, True] and not update.masks["w"].requires_grad


# ---------------------------------------------------------------- whole units


@given(data=st.data(), rate=st.floats(0, 1), key=st.sampled_from(("gradient", "momentum")))
def test_units(data: st.DataObject, rate: float, key: str) -> None:
    weights, masks, signals = data.draw(layers(min_rank=3, max_rank=4, least=1))
    weights = {name: np.asarray(weight, np.float64) for name, weight in weights.items()}
    rng, wanted = np.random.default_rng(6), {}
    for name, weight in weights.items():
        places = oracle.units(weight.shape, UNIT)
        on = (rng.random(len(places)) < 0.6).tolist()
        masks[name] = np.array(oracle.spread(on, places, weight.size)).reshape(weight.shape)
        weights[name] = weight = np.asarray(rng.normal(size=weight.shape))
        signals[name] = {key: np.asarray(rng.normal(size=weight.shape))}
        gone = oracle.drop_lowest(oracle.unit_scores(weight.ravel().tolist(), places), on, round(rate * sum(on)))
        scores = oracle.unit_scores(signals[name][key].ravel().tolist(), places)
        (new,), (grown,) = oracle.update([on], [gone], [scores])
        wanted[name] = [oracle.spread(flags, places, weight.size) for flags in (new, gone, grown)]
    update = run(Rewire(grow=key, unit=UNIT, fraction=rate), weights, masks, signals)
    for name in weights:
        fields = (update.masks[name], update.dropped[name], update.grown[name])
        assert [field.ravel().tolist() for field in fields] == wanted[name]


def test_explicit_drops_count_units() -> None:
    weights, masks = {"conv": np.arange(1.0, 49.0).reshape(2, 3, 2, 4)}, {"conv": np.ones((2, 3, 2, 4), bool)}
    update = Rewire(unit=UNIT, grow=None).update(weights, masks, 1, drops={"conv": 2})
    assert update.dropped["conv"].ravel().tolist() == [True] * 16 + [False] * 32
    with pytest.raises(ValueError, match="conv.*got 7"):
        Rewire(unit=UNIT, grow=None).update(weights, masks, 1, drops={"conv": 7})


@pytest.mark.parametrize("unit", [(0,), (1,), (0, 1), (2, 3), (0, 1, 2), (1, 3)])
def test_units_of_any_axes(unit: tuple) -> None:
    rng = np.random.default_rng(3)
    weight, gradient = rng.normal(size=(4, 3, 2, 5)), rng.normal(size=(4, 3, 2, 5))
    places = oracle.units(weight.shape, unit)
    on = [i % 3 != 0 for i in range(len(places))]
    mask = np.array(oracle.spread(on, places, 120)).reshape(weight.shape)
    gone = oracle.drop_lowest(oracle.unit_scores(weight.ravel().tolist(), places), on, round(0.5 * sum(on)))
    (new,), _ = oracle.update([on], [gone], [oracle.unit_scores(gradient.ravel().tolist(), places)])
    rewire = Rewire.rigl(unit=unit, fraction=0.5)
    update = run(rewire, {"w": weight}, {"w": mask}, {"w": {"gradient": gradient}})
    assert update.masks["w"].ravel().tolist() == oracle.spread(new, places, 120)


def test_units_grow_at_random() -> None:
    rng = np.random.default_rng(1)
    weights = {"conv": rng.normal(size=(6, 5, 3, 3))}
    masks = {"conv": np.broadcast_to((np.arange(30) % 2 == 0).reshape(6, 5, 1, 1), (6, 5, 3, 3)).copy()}
    update = run(Rewire(unit=UNIT, fraction=0.5), weights, masks, {"conv": {}}, rng=9)
    per_kernel = update.masks["conv"].reshape(30, 9).sum(axis=1)
    assert set(per_kernel.tolist()) == {0, 9} and (per_kernel == 9).sum() == 15
    assert (update.dropped["conv"].reshape(30, 9).sum(axis=1) == 9).sum() == round(0.5 * 15)


# ---------------------------------------------------------------- nothing to do


def test_no_arrays() -> None:
    update = Rewire().update({}, {}, 1, rng=0)
    assert (update.masks, update.dropped, update.grown) == ({}, {}, {})


def test_what_goes_may_be_drawn():
    weights, masks = {"a": np.arange(1.0, 21.0)}, {"a": np.arange(20) % 2 == 0}
    once, again, other = (Rewire(drop="random", fraction=0.5).update(weights, masks, 1, rng=seed) for seed in (3, 3, 4))
    assert once.dropped["a"].sum() == once.grown["a"].sum() == 5 and not once.dropped["a"][~masks["a"]].any()
    assert once.masks["a"].tolist() == again.masks["a"].tolist() != other.masks["a"].tolist()
    with pytest.raises(ValueError, match="needs the signal 'rng'"):
        Rewire(drop="random", grow=None).update(weights, masks, 1)
