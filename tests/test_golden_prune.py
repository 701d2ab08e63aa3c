"""Allocation, drop rates, sparse training and scores against the numbers of reference programs.

Every case of a file is run. Where a reference rounds another way, its own counts are given to ours.
"""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from libraries import back, to
from neuroprune.pruning import decay, distribution, masks, saliency, schedules
from neuroprune.pruning.rewire import Rewire

GOLDEN = Path(__file__).parent / "golden" / "prune"
UNIT = (0, 1)  # one kernel per output and input channel
libraries = pytest.mark.parametrize("library", ["numpy", "torch"])


def golden(family):
    cases = json.loads((GOLDEN / f"{family}.json").read_text())["cases"]
    return pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in cases])


def flags(values):
    return np.asarray(values) > 0.5


def arrays(values):
    return np.asarray(values, np.float64)


# ---------------------------------------------------------------- densities


@golden("erk")
def test_erdos_renyi(case: dict) -> None:
    shapes = {f"layer{i}": tuple(shape) for i, shape in enumerate(case["inputs"]["shapes"])}
    sizes = [math.prod(shape) for shape in shapes.values()]
    density, expected, tol = case["params"]["density"], case["expected"], case["tol"]
    for name, kernel in (("ER", False), ("ERK", True)):
        dense = set(expected[f"{name}_dense_layers"])
        budgets = {  # each layer rounded by itself, which is not the rounding of the whole
            "google": sum(n - math.floor(n * (1 - density)) for n in sizes),
            "seed004": sum(
                n - int(n * (1 - density)) if i in dense else int(n * density) for i, n in enumerate(sizes)
            ),
        }
        for reference, budget in budgets.items():
            found = distribution.erdos_renyi(shapes, density, kernel=kernel, budget=budget)
            assert np.allclose(list(found.values()), expected[f"{name}_density_{reference}"], **tol)
            assert sum(distribution.counts(found, shapes, budget=budget).values()) == budget
        overall = budgets["google"] / sum(sizes)
        assert np.isclose(overall, expected[f"{name}_overall_density_google"], **tol)
        ours = distribution.erdos_renyi(shapes, density, kernel=kernel)
        assert {i for i, value in enumerate(ours.values()) if value == 1} >= dense
        exact = sum(sizes) - round((1 - density) * sum(sizes))
        assert sum(distribution.counts(ours, shapes).values()) == exact


# ---------------------------------------------------------------- rates


@golden("decay")
def test_decay(case: dict) -> None:
    params, expected, tol = case["params"], case["expected"], case["tol"]
    if "T_end" in params:
        curve = decay.Cosine(params["alpha"], params["T_end"])
        assert np.allclose([curve.rate(t) for t in case["inputs"]["t"]], expected["drop_fraction"], atol=1e-15, **tol)
        return
    rate, until, n = params["prune_rate"], params["T_max"], case["inputs"]["n_steps"]
    cosine = "cosine" in case["id"]
    curve = decay.Cosine(rate, until, params.get("eta_min", 0.0)) if cosine else decay.Linear(rate, until)
    steps = range(n + 1)
    assert np.allclose([curve.rate(t) for t in steps], expected["rate_before_any_step_then_after_each_step()"], **tol)
    # step(t) of the reference is one ahead in the linear decay, and stops one short of the end in the cosine one.
    as_set = [min(t, until - 1) if cosine else t + 1 for t in range(n)]
    assert np.allclose([curve.rate(t) for t in as_set], expected["rate_after_step(i)_for_i_from_0"], **tol)


@golden("zhu_gupta")
def test_zhu_gupta_amounts(case: dict) -> None:
    params, expected, tol = case["params"], case["expected"], case["tol"]
    if "power" in params:  # counts the step that is about to be taken, from the start on
        curve = decay.Magnitude(params["target"], params["start"], params["end"], params["freq"])
        levels = [curve.cumulative(t + 1) if t >= params["start"] else 0.0 for t in case["inputs"]["step"]]
        assert np.allclose(levels, expected["sparsity"], **tol)
        return
    curve = decay.Magnitude(params["final_sparsity"], params["T_start"], params["T_max"], params["interval"],
                            initial=params["initial_sparsity"])  # fmt: skip
    steps = case["inputs"]["steps"]
    assert np.allclose([curve.cumulative(t) for t in steps], expected["cumulative_sparsity"], **tol)
    assert np.allclose([curve.rate(t) for t in steps], expected["amount_to_prune_finite_difference"], **tol)
    for key, amounts in expected.items():
        if key.startswith("amount_to_prune_given_current_sparsity_"):
            current = float(key.rpartition("_")[2])
            assert np.allclose([curve.rate(t, current=current) for t in steps], amounts, **tol)


@golden("lth_counts")
def test_lottery_rounds(case: dict) -> None:
    n, target, rounds = case["inputs"]["n_weights"], case["params"]["target_sparsity"], case["params"]["rounds"]
    expected = case["expected"]
    schedule = schedules.Iterative(target, start=1, end=rounds, rounds=rounds)
    wanted = expected["kept_after_each_round_target_rule"]  # ends when one is left
    kept = [max(1, n - masks.count(schedule.sparsity(k), n)) for k in range(1, len(wanted) + 1)]
    assert all(schedule.fires(k) for k in range(1, rounds + 1))
    assert kept == wanted
    each = 1 - (1 - target) ** (1 / rounds)
    assert math.isclose(each, expected["p_per_round"], rel_tol=1e-12)
    left, compounding = n, []
    for _ in expected["kept_after_each_round_compounding_rule"]:
        left -= masks.count(each, left)
        compounding.append(left)
    assert compounding == expected["kept_after_each_round_compounding_rule"]


# ---------------------------------------------------------------- drop and grow


def update(library, rewire, weights, old, signals, drops):
    """Masks, dropped and grown as numpy."""
    there = {
        name: {key: to(library, value) for key, value in group.items()} for name, group in signals.items()
    }
    result = rewire.update(
        {name: to(library, value) for name, value in weights.items()},
        {name: to(library, value) for name, value in old.items()},
        1,
        signals=there,
        rng=0,
        drops=drops,
    )
    return [{name: back(mask) for name, mask in getattr(result, field).items()}
            for field in ("masks", "dropped", "grown")]  # fmt: skip


@libraries
@golden("rigl")
def test_rigl(case: dict, library: str) -> None:
    inputs, expected, rate = case["inputs"], case["expected"], case["params"]["drop_rate"]
    weight, gradient, old = arrays(inputs["W"]), arrays(inputs["grad"]), flags(inputs["mask"])
    structured = "unit" in case["params"]
    group = math.prod(weight.shape[2:]) if structured else 1
    unit = UNIT if structured else None

    def swapped(removed):
        rewire = Rewire.rigl(unit=unit)
        signals, drops = {"w": {"gradient": gradient}}, {"w": removed // group}
        found = update(library, rewire, {"w": weight}, {"w": old}, signals, drops)
        return [field["w"] for field in found]

    removed = expected["removed_weights" if structured else "removed_seed004"]
    new, dropped, grown = swapped(removed)
    assert np.array_equal(old & ~dropped, flags(expected["drop_mask_seed004"]))
    assert np.array_equal(new, flags(expected["new_mask_seed004"]))
    assert new.sum() == old.sum() and dropped.sum() == grown.sum() == removed
    if "weights_after_growth_seed004" in expected:
        after = np.where(new & ~grown, weight, 0.0)  # what grows starts at zero, also where it was just dropped
        assert np.array_equal(after, arrays(expected["weights_after_growth_seed004"]))
    if "n_prune_google" in expected:
        new, _, _ = swapped(expected["n_prune_google"])
        assert np.array_equal(new, flags(expected["new_mask_google_reexpressed"]))
        assert np.array_equal(new, flags(expected["new_mask_jaxpruner"]))
    ours = Rewire.rigl(unit=unit, fraction=rate).update(
        {"w": weight}, {"w": old}, 1, signals={"w": {"gradient": gradient}}
    )
    assert ours.dropped["w"].sum() == round(rate * (old.sum() // group)) * group  # our own count
    assert ours.masks["w"].sum() == old.sum()


@libraries
@golden("set_drop")
def test_set_drop(case: dict, library: str) -> None:
    """Their thresholds take one more or less per sign: asked for their share of a sign, ours takes the same ones."""
    weight, expected = arrays(case["inputs"]["weights"]), case["expected"]
    gone, zeta = ~flags(expected["keep"]), case["params"]["zeta"]
    assert gone.sum() == expected["removed"]

    def dropped(fraction):
        rewire = Rewire(drop="set", grow=None, fraction=fraction)
        old = to(library, np.ones(weight.shape, bool))
        return back(rewire.update({"w": to(library, weight)}, {"w": old}, 1, rng=0).dropped["w"])

    ours = dropped(zeta)
    for side, removed in ((weight > 0, expected["removed_positive"]), (weight < 0, expected["removed_negative"])):
        assert (ours & side).sum() == round(zeta * side.sum())
        assert not (ours & ~gone & side).any() or not (gone & ~ours & side).any()  # one holds the other
        same = dropped(removed / side.sum())
        assert np.array_equal(same & side, gone & side)
    contrast = flags(expected["keep_by_abs_value_for_contrast"])
    by_size = Rewire(grow=None).update({"w": weight}, {"w": weight != 0}, 1, drops={"w": int((~contrast).sum())})
    assert np.array_equal(by_size.masks["w"], contrast)


@libraries
@golden("snfs")
def test_snfs(case: dict, library: str) -> None:
    inputs, expected, tol = case["inputs"], case["expected"], case["tol"]
    names = [f"layer{i}" for i in range(len(inputs["W"]))]
    weights, old = (dict(zip(names, map(kind, inputs[key]), strict=True))
                    for kind, key in ((arrays, "W"), (flags, "masks")))  # fmt: skip
    momentum = [arrays(values) for values in inputs["momentum"]]
    if "exp_avg_sq" in inputs:  # Adam: the step it would take
        momentum = [m / (np.sqrt(arrays(v)) + 1e-8) for m, v in zip(momentum, inputs["exp_avg_sq"], strict=True)]
    gradients = [arrays(values) for values in inputs["grads"]]
    signals = {name: {"momentum": m, "gradient": g} for name, m, g in zip(names, momentum, gradients, strict=True)}
    drops = dict(zip(names, expected["removed_per_layer"], strict=True))
    new, dropped, grown = update(library, Rewire.snfs(), weights, old, signals, drops)
    total = sum(drops.values())
    assert sum(mask.sum() for mask in new.values()) == sum(mask.sum() for mask in old.values())  # theirs loses some
    shares = np.array(expected["layer_share_of_mean_abs_momentum_on_kept"])
    measured = np.array([abs(signals[name]["momentum"])[old[name]].mean() for name in names])
    assert np.allclose(measured / measured.sum(), shares, **tol)
    room = [int((~mask).sum()) + drops[name] for name, mask in old.items()]
    assert [int(grown[name].sum()) for name in names] == distribution.apportion(measured.tolist(), total, room)
    capped = case["params"]["adjusted_growth_before"] or any(
        wanted > 0.98 * free
        for wanted, free in zip(expected["regrowth_per_layer_before_truncation_to_int"], room, strict=True)
    )
    for i, name in enumerate(names):
        reference = flags(expected["new_masks"][i])
        left = old[name] & ~dropped[name]
        theirs, ours = reference & ~left, grown[name]
        assert dropped[name].sum() == drops[name]
        assert not (left & ~reference).any()  # the same ones were dropped
        wanted = expected["regrowth_per_layer_before_truncation_to_int"][i]
        assert theirs.sum() == int(wanted)
        if not capped:  # theirs rounds each by itself, and spreads what is too much for one evenly over all
            assert abs(ours.sum() - theirs.sum()) <= 1
        if ours.sum() == theirs.sum():
            assert np.array_equal(ours, theirs)
        else:  # the best by momentum, one more or one less
            assert not (ours & ~theirs).any() or not (theirs & ~ours).any()


# ---------------------------------------------------------------- scores and what survives by them


@libraries
@golden("movement")
def test_movement(case: dict, library: str) -> None:
    params, expected, tol = case["params"], case["expected"], case["tol"]
    steps = zip(case["inputs"]["W_each_step"], case["inputs"]["masked_forward_grad_each_step"], strict=True)
    moved, snip = 0.0, 0.0
    for weight, gradient in ((arrays(w), arrays(g)) for w, g in steps):
        moved = moved - params["score_lr"] * weight * gradient
        snip = snip + back(saliency.score("snip", to(library, weight), gradient=to(library, gradient)))
    scores = saliency.score("movement", to(library, weight), movement=to(library, moved))
    assert np.allclose(back(scores), expected["score"], **tol)
    assert np.allclose(snip, expected["taylor_abs_sum"], **tol)
    wanted = flags(expected["keep_mask_top_v"])
    assert np.array_equal(back(masks.top(scores, int(wanted.sum()))), wanted)
    assert wanted.sum() == wanted.size - masks.count(1 - params["keep_fraction"], wanted.size)


@libraries
@golden("wanda")
def test_wanda(case: dict, library: str) -> None:
    inputs, expected, tol = case["inputs"], case["expected"], case["tol"]
    weight = arrays(inputs["W"])
    batches = [arrays(batch) for batch in inputs.get("X_batches", [inputs.get("X")])]
    rows = np.concatenate([batch.reshape(-1, weight.shape[1]) for batch in batches])
    norm = np.sqrt((rows**2).sum(axis=0))

    def score(norm):
        return saliency.score("wanda", to(library, weight), input_norm=to(library, norm))

    def row_mask(scores, drop):
        sparsity = drop / weight.shape[1]
        return back(masks.sparse(scores, sparsity, groups=saliency.SCORERS["wanda"].scope))

    scores = score(norm)
    if "score_right" in expected:  # the paper's rule next to two that are not
        assert np.allclose(back(scores), expected["score_right"], **tol)
        sparsity = case["params"]["sparsity"]
        right = masks.sparse(scores, sparsity, groups="row")
        assert np.array_equal(back(right), flags(expected["keep_mask_right_per_row"]))
        whole = masks.sparse(scores, sparsity)
        assert np.array_equal(back(whole), flags(expected["keep_mask_right_score_but_whole_layer"]))
        for key in ("score_aprender", "score_torchao_0.18"):
            assert not np.allclose(back(scores), expected[key], **tol)
        return
    assert np.allclose(norm, expected["input_norm_l2_all_tokens"], **tol)
    per_sequence = norm / math.sqrt(sum(len(batch) for batch in batches))  # theirs; a factor moves no rank
    assert np.allclose(per_sequence**2, expected["scaler_row_sumsq_per_sequence"], **tol)
    assert np.allclose(back(score(per_sequence)), expected["score_abs_w_times_sqrt_scaler_row"], **tol)
    columns = weight.shape[1]
    for ratio in case["params"]["ratios"]:
        reference = flags(expected[f"keep_mask_per_row_{round(100 * ratio)}"])
        assert np.array_equal(row_mask(scores, math.floor(columns * ratio)), reference)  # theirs floors
        ours = back(masks.sparse(scores, ratio, groups="row"))
        assert ((~ours).sum(axis=1) == masks.count(ratio, columns)).all()
        if masks.count(ratio, columns) == math.floor(columns * ratio):
            assert np.array_equal(ours, reference)
    for key in expected:
        if "_of_" in key:
            keep, group = (int(part) for part in key.removeprefix("keep_mask_").split("_of_"))
            found = masks.n_of_m(scores, keep, group)
            assert np.array_equal(back(found), flags(expected[key])), key
    # Its layer mask takes one more than asked.
    pruned = expected["layer_50_pruned_count"]
    assert pruned == masks.count(0.5, weight.size) + 1
    layer = masks.top(scores, weight.size - pruned)
    assert np.array_equal(back(layer), flags(expected["keep_mask_layer_50_reference_offbyone"]))
