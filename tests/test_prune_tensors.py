"""Named weights, pruned in one call: every option against plain twins, in every library, and all that is refused."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import oracle_masks as oracle
from bridge import assert_one_sentence
from libraries import LIBRARIES, assert_same_place, back, to
from neuroprune.pruning import masks, saliency, selection
from neuroprune.pruning.masks import NM, Axis, Block
from neuroprune.tensors.prune import prune_tensors

SHAPES = {"fc1": (6, 8), "fc2": (4, 4), "conv": (2, 3, 2, 4), "head": (2, 8)}
OF = st.sampled_from(("all", "remaining"))


def weights_of(seed: int, levels: int = 3) -> dict[str, np.ndarray]:
    """Weights full of ties, of both signs."""
    rng = np.random.default_rng(seed)
    return {name: rng.integers(-levels, levels + 1, shape).astype(np.float32) for name, shape in SHAPES.items()}


def flags_of(seed: int, share: float) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.random(shape) < share for name, shape in SHAPES.items() if name != "fc2"}


def moved(library: str, mapping: dict) -> dict:
    return {name: to(library, value) for name, value in mapping.items()}


def check(wanted: dict, weights: dict, *arguments, libraries=LIBRARIES, **options) -> None:
    """Every library gives the wanted masks where its weights are, and zeros exactly what is off on request."""
    for library in libraries:
        there = moved(library, {name: weight.copy() for name, weight in weights.items()})
        given_ = {key: moved(library, value) if key in ("masks", "protect") else value
                  for key, value in options.items()}  # fmt: skip
        found = prune_tensors(there, *arguments, **given_)
        assert list(found) == [name for name in weights if name in wanted]
        for name, mask in found.items():
            assert_same_place(mask, there[name])
            assert back(mask).dtype == np.bool_ and back(mask).tolist() == wanted[name].tolist(), (library, name)
            assert back(there[name]).tobytes() == weights[name].tobytes()
        prune_tensors(there, *arguments, in_place=True, **given_)
        for name, weight in weights.items():
            left = np.where(wanted[name], weight, np.float32(0)) if name in wanted else weight
            assert back(there[name]).tobytes() == left.tobytes()


# ---------------------------------------------------------------- scopes


@given(seed=st.integers(0, 2**32), sparsity=st.floats(0, 0.9))
def test_layers(seed: int, sparsity: float) -> None:
    weights = weights_of(seed)
    check({name: oracle.sparse(abs(weight), sparsity) for name, weight in weights.items()}, weights, sparsity)


@given(seed=st.integers(0, 2**32), sparsity=st.floats(0, 0.9), least=st.integers(0, 6))
def test_global(seed: int, sparsity: float, least: int) -> None:
    weights = weights_of(seed)
    weights["fc1"] /= 8  # so that one layer runs short
    try:
        joint = oracle.sparse_jointly([abs(weight) for weight in weights.values()], sparsity, least)
    except ValueError:
        with pytest.raises(ValueError, match="^sparsity=.* with min_per_layer=.* may go: remove less or protect less$"):
            prune_tensors(weights, sparsity, scope="global", min_per_layer=least)
        return
    check(dict(zip(weights, joint, strict=True)), weights, sparsity, scope="global", min_per_layer=least)


@given(seed=st.integers(0, 2**32), sparsity=st.floats(0, 0.9))
def test_rows(seed: int, sparsity: float) -> None:
    weights = weights_of(seed)
    wanted = {name: oracle.sparse(abs(weight), sparsity, "row") for name, weight in weights.items()}
    check(wanted, weights, sparsity, scope="row", min_per_layer=0)


@given(seed=st.integers(0, 2**32), sparsity=st.floats(0, 1), of=OF, scope=st.sampled_from(("layer", "global", "row")))
def test_what_is_left_and_what_is_protected(seed: int, sparsity: float, of: str, scope: str) -> None:
    weights, there, held = weights_of(seed), flags_of(seed, 0.8), flags_of(seed + 1, 0.1)
    options = {"scope": scope, "masks": there, "protect": held, "of": of, "min_per_layer": 0}
    try:
        if scope == "global":
            joint = oracle.sparse_jointly([abs(weight) for weight in weights.values()], sparsity, 0,
                                          [held.get(name) for name in weights], [there.get(name) for name in weights],
                                          of)  # fmt: skip
            wanted = dict(zip(weights, joint, strict=True))
        else:
            groups = "row" if scope == "row" else None
            wanted = {name: oracle.sparse(abs(weight), sparsity, groups, held.get(name), there.get(name), of)
                      for name, weight in weights.items()}  # fmt: skip
    except ValueError:
        with pytest.raises(ValueError, match="remove less or protect less$|are off, but .* are already"):
            prune_tensors(weights, sparsity, **options)
        return
    check(wanted, weights, sparsity, **options)


def test_the_scorer_says_what_is_compared() -> None:
    weights = weights_of(3)
    signals = {name: {"input_norm": np.ones(weight.shape[-1], np.float32)} for name, weight in weights.items()}
    rows = {name: oracle.sparse(abs(weight), 0.5, "row") for name, weight in weights.items()}
    check(rows, weights, 0.5, "wanda", signals=signals, libraries=("numpy",))
    layers = {name: oracle.sparse(abs(weight), 0.5) for name, weight in weights.items()}
    check(layers, weights, 0.5, "wanda", "layer", signals=signals, libraries=("numpy",))
    units = {name: oracle.whole_units(abs(weight), 0.5, oracle.axis_unit(weight.ndim, 0))
             for name, weight in weights.items()}  # fmt: skip
    check(units, weights, 0.5, "wanda", None, Axis(0), signals=signals, libraries=("numpy",))


@pytest.mark.parametrize("method", ["magnitude", "magnitude_l2", saliency.magnitude, lambda weight: abs(weight) * 2])
def test_methods_with_the_order_of_magnitudes(method) -> None:
    weights = weights_of(5)
    joint = oracle.sparse_jointly([abs(weight) for weight in weights.values()], 0.6)
    check(dict(zip(weights, joint, strict=True)), weights, 0.6, method, "global")


def test_signals_by_name() -> None:
    weights = weights_of(6)
    rng = np.random.default_rng(0)
    gradients = {name: rng.standard_normal(weight.shape).astype(np.float32) for name, weight in weights.items()}
    for library in LIBRARIES:
        signals = {name: {"gradient": to(library, value)} for name, value in gradients.items()}
        found = prune_tensors(moved(library, weights), 0.5, "snip", signals=signals)
        for name, mask in found.items():
            assert np.array_equal(back(mask), masks.sparse(abs(weights[name] * gradients[name]), 0.5))


# ---------------------------------------------------------------- patterns


@pytest.mark.parametrize(("pattern", "sparsity"), [("2:4", None), ("2:4", 0.5), (NM(1, 4), None), (NM(1, 2, 0), 0.5)])
def test_n_of_m(pattern, sparsity) -> None:
    weights = weights_of(7)
    nm = masks.pattern(pattern)
    wanted = {name: oracle.n_of_m(abs(weight), nm.keep, nm.group, nm.axis) for name, weight in weights.items()}
    check(wanted, weights, sparsity, pattern=pattern)
    for scope in ("layer", "global", "row"):
        check(wanted, weights, sparsity, "magnitude", scope, pattern, libraries=("numpy",))
    there = flags_of(7, 0.7)
    wanted = {name: oracle.n_of_m(abs(weight), nm.keep, nm.group, nm.axis, None, there.get(name))
              for name, weight in weights.items()}  # fmt: skip
    check(wanted, weights, sparsity, pattern=pattern, masks=there, min_per_layer=0)


@pytest.mark.parametrize("reduce", ["sum", "mean", "max"])
@pytest.mark.parametrize("pattern", [Block, Axis])
def test_units(pattern: type, reduce: str) -> None:
    weights = weights_of(8)
    chosen = Block((2, 4), reduce) if pattern is Block else Axis(0, reduce)
    unit_of = {name: oracle.block_unit(weight.ndim, (2, 4)) if pattern is Block else oracle.axis_unit(weight.ndim, 0)
               for name, weight in weights.items()}  # fmt: skip
    wanted = {name: oracle.whole_units(abs(weight), 0.5, unit_of[name], reduce) for name, weight in weights.items()}
    check(wanted, weights, 0.5, pattern=chosen)
    rated = []  # jointly: the units of all weights are one sequence, a unit of each is reserved
    reduced = {"sum": np.sum, "mean": np.mean, "max": np.max}[reduce]
    for name, weight in weights.items():
        members = oracle.unit_members(weight.shape, unit_of[name])
        rated.append(np.array([reduced([abs(weight[place]) for place in unit]) for unit in members.values()]))
    kept = oracle.sparse_jointly(rated, 0.5, 1)
    for (name, weight), units in zip(weights.items(), kept, strict=True):
        members = oracle.unit_members(weight.shape, unit_of[name])
        for places, stays in zip(members.values(), units, strict=True):
            for place in places:
                wanted[name][place] = stays
    check(wanted, weights, 0.5, "magnitude", "global", chosen)


def test_units_again() -> None:
    """A unit with anything left is there; what is off in it stays off."""
    weights = {"fc": np.array([[1.0, 1.0], [5.0, 0.0], [3.0, 3.0], [9.0, 9.0]])}
    there = {"fc": np.array([[False, False], [True, False], [True, True], [True, True]])}
    wanted = {"fc": np.array([[False, False], [False, False], [True, True], [True, True]])}
    check(wanted, weights, 0.5, pattern=Axis(0), masks=there)
    held = {"fc": np.array([[True, True], [True, False], [False, False], [False, False]])}
    wanted = {"fc": np.array([[False, False], [True, False], [False, False], [True, True]])}
    check(wanted, weights, 0.5, pattern=Axis(0), masks=there, protect=held)


# ---------------------------------------------------------------- targets


def test_priority_of_targets() -> None:
    weights = weights_of(9)
    groups = {"dense": ["fc1", "fc2"], "other": ("conv",)}
    wanted = {name: oracle.sparse(abs(weights[name]), share)
              for name, share in {"fc1": 0.25, "fc2": 0.5, "conv": 0.75, "head": 0.125}.items()}  # fmt: skip
    targets = {"fc1": 0.25, "dense": 0.5, "conv": 0.75}
    check(wanted, weights, 0.125, targets=targets, groups=groups)
    check(wanted, weights, targets=targets | {"head": 0.125}, groups=groups)
    del wanted["head"]
    check(wanted, weights, targets=targets, groups=groups, exclude=["head"])


def test_targets_under_one_ranking() -> None:
    """A named weight is ranked for itself, a group among its own, the rest together."""
    weights = weights_of(10)
    wanted = {"head": oracle.sparse(abs(weights["head"]), 0.25)}
    for names, share in ((("fc1", "conv"), 0.5), (("fc2",), 0.75)):
        joint = oracle.sparse_jointly([abs(weights[name]) for name in names], share)
        wanted |= dict(zip(names, joint, strict=True))
    check({name: wanted[name] for name in weights}, weights, 0.75, scope="global", targets={"head": 0.25, "both": 0.5},
          groups={"both": ["fc1", "conv"]})  # fmt: skip


def test_excluded_are_left_alone() -> None:
    weights = weights_of(11)
    weights["fc2"][0, 0] = np.nan  # not looked at
    wanted = {name: oracle.sparse(abs(weights[name]), 0.5) for name in ("fc1", "conv")}
    check(wanted, weights, 0.5, groups={"last": ["head", "fc2"]}, exclude=["last"])
    check(wanted, weights, 0.5, exclude={"head", "fc2"})


# ---------------------------------------------------------------- libraries and memory


def test_parameters_and_half_precision(torch) -> None:
    weight = torch.nn.Parameter(torch.tensor([[3.0, -1.0], [2.0, -4.0]]))
    kept = prune_tensors({"w": weight}, 0.5, in_place=True)["w"]
    assert kept.tolist() == [[True, False], [False, True]] and not kept.requires_grad
    assert weight.tolist() == [[3.0, 0.0], [0.0, -4.0]] and weight.requires_grad
    for dtype in (torch.float16, torch.bfloat16):
        half = torch.tensor([[3.0, -1.0], [2.0, -4.0]], dtype=dtype)
        assert prune_tensors({"w": half}, 0.5, scope="global", in_place=True)["w"].tolist() == kept.tolist()
        assert half.tolist() == weight.tolist() and half.dtype is dtype


def test_layout_does_not_matter() -> None:
    weight = weights_of(12)["conv"]
    spaced = np.zeros((4, 3, 4, 4), np.float32)
    spaced[::2, :, ::2] = weight
    wanted = {"w": oracle.sparse(abs(weight), 0.5)}
    for view in (np.asfortranarray(weight), spaced[::2, :, ::2], weight[...]):
        assert prune_tensors({"w": view}, 0.5)["w"].tolist() == wanted["w"].tolist()


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_large_weights_take_the_compiled_loops(scope: str) -> None:
    rng = np.random.default_rng(13)
    weights = {name: rng.integers(-50, 50, (300, 300)).astype(np.float32) for name in "abc"}
    flat = {name: abs(weight) for name, weight in weights.items()}
    if scope == "layer":
        wanted = {name: masks.sparse(scores, 0.9) for name, scores in flat.items()}
    else:
        value, equals = selection.threshold(list(flat.values()), 243_000, small=10**9)
        whole = np.concatenate([scores.ravel() for scores in flat.values()])
        mask = whole > value
        mask[np.flatnonzero(whole == value)[equals:]] = True
        wanted = dict(zip(weights, mask.reshape(3, 300, 300), strict=True))
    found = prune_tensors(weights, 0.9, scope=scope)
    assert all(np.array_equal(found[name], wanted[name]) for name in weights)


@pytest.mark.compiled_only
@pytest.mark.parametrize(("method", "copies"), [("magnitude", 0), ("magnitude_l2", 1)])
def test_scores_are_copied_at_most_once(method: str, copies: int) -> None:
    rng = np.random.default_rng(0)
    weights = {str(i): rng.standard_normal((500, 600)).astype(np.float32) for i in range(4)}
    size = sum(weight.nbytes for weight in weights.values())
    prune_tensors(weights, 0.9, method, "global")
    tracemalloc.start()
    prune_tensors(weights, 0.9, method, "global")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < (copies + 0.6) * size  # a mask is a quarter, the bracket a few hundredths, and one array at a time


# ---------------------------------------------------------------- refused

NANS = np.array([[1.0, 2.0], [np.nan, 3.0]])
REFUSED = {
    "no mapping": (TypeError, "weights must be a mapping from name to array, got list", ([np.ones(2)], 0.5), {}),
    "nothing": (ValueError, "weights must hold at least one array, got none", ({}, 0.5), {}),
    "no array": (TypeError, r"weights\['fc'\] must be an array of numpy, torch .* got list", ({"fc": [1.0]}, 0.5), {}),
    "integers": (TypeError, r"weights\['fc'\] must be floating numbers, got int64", ({"fc": np.ones(3, int)}, 0.5), {}),
    "empty": (ValueError, r"weights\['fc'\] must have elements, got shape \(0, 3\)",
              ({"fc": np.ones((0, 3))}, 0.5), {}),
    "nan": (ValueError, r"weights\['b'\] must be finite, got nan at index \(1, 0\)",
            ({"a": np.ones((2, 2)), "b": NANS}, 0.5), {"scope": "global"}),
    "nan in scores": (ValueError, r"weights\['b'\]: weight must be finite, got nan at index \(1, 0\)",
                      ({"a": np.ones((2, 2)), "b": NANS}, 0.5, "magnitude_l2"), {}),
    "no sparsity": (ValueError, r"weights\['fc1'\] must have a target, got none: pass sparsity", (), {}),
    "too sparse": (ValueError, r"sparsity must be in \[0, 1\], got 1.5", (1.5,), {}),
    "nan sparse": (ValueError, r"sparsity must be in \[0, 1\], got nan", (float("nan"),), {}),
    "method": (ValueError, "got 'magnitud': did you mean 'magnitude'", (0.5, "magnitud"), {}),
    "scope": (ValueError, "scope must be .* got 'globl': did you mean 'global'", (0.5,), {"scope": "globl"}),
    "pattern": (ValueError, 'pattern must be "keep:group"', (0.5,), {"pattern": "four"}),
    "units in rows": (ValueError, 'scope must be "layer" or "global" with Axis', (0.5,),
                      {"scope": "row", "pattern": Axis(0)}),
    "no rows": (ValueError, r"weights\['b'\] must have rows for scope='row', got shape \(3,\): exclude it",
                ({"b": np.ones(3)}, 0.5), {"scope": "row"}),
    "no group of four": (ValueError, r"weights\['b'\]: scores must have a multiple of 4 along axis 1 .* got 6",
                         ({"b": np.ones((2, 6))},), {"pattern": "2:4"}),
    "no blocks": (ValueError, r"weights\['b'\] must have a multiple of 4 along axis 1 .* got 6",
                  ({"b": np.ones((2, 6))}, 0.5), {"pattern": Block((2, 4))}),
    "two sparsities": (ValueError, r"sparsity must be left out or 0.5 with NM\(.*\), got 0.9", (0.9,),
                       {"pattern": "2:4"}),
    "targets of a pattern": (ValueError, r"targets must be left out with NM", (),
                             {"pattern": "2:4", "targets": {"fc1": 0.5}}),
    "target": (ValueError, "targets must name weights that there are, got 'fc': did you mean 'fc2'|'fc1'", (0.5,),
               {"targets": {"fc": 0.5}}),
    "target too high": (ValueError, r"targets\['fc1'\] must be in \[0, 1\], got 2", (0.5,), {"targets": {"fc1": 2}}),
    "target of excluded": (ValueError, r"targets\['fc1'\] must name what is pruned, got what exclude leaves alone",
                           (0.5,), {"targets": {"fc1": 0.5}, "exclude": ["fc1"]}),
    "two targets": (ValueError, r"weights\['fc1'\] must have one target, got those of the groups 'a' and 'b'", (0.5,),
                    {"targets": {"a": 0.5, "b": 0.6}, "groups": {"a": ["fc1"], "b": ["fc1", "fc2"]}}),
    "group of unknown": (ValueError, r"groups\['a'\] must name weights that there are, got 'cov': did you mean 'conv'",
                         (0.5,), {"groups": {"a": ["cov"]}}),
    "group like a weight": (ValueError, "groups must not be called like a weight, got 'fc1'", (0.5,),
                            {"groups": {"fc1": ["fc2"]}}),
    "group of letters": (TypeError, r"groups\['a'\] must be a list of names, got 'fc1'", (0.5,),
                         {"groups": {"a": "fc1"}}),
    "groups in a list": (TypeError, "groups must be a mapping", (0.5,), {"groups": ["fc1"]}),
    "exclude unknown": (ValueError, "exclude must name weights that there are, got 'hed': did you mean 'head'", (0.5,),
                        {"exclude": ["hed"]}),
    "exclude a number": (TypeError, "exclude must be a list of names, got 5: put it in a list", (0.5,),
                         {"exclude": 5}),
    "exclude all": (ValueError, "exclude must leave at least one weight to prune", (0.5,), {"exclude": list(SHAPES)}),
    "signal": (ValueError, r"scorer 'snip' needs the signal 'gradient' of 'fc1', got none: pass signals=",
               (0.5, "snip"), {}),
    "signal of unknown": (ValueError, "signals must name weights that there are, got 'fc9'", (0.5,),
                          {"signals": {"fc9": {}}}),
    "signals by keyword": (TypeError, r"signals\['fc1'\] must be a mapping from keyword to array, got ndarray",
                           (0.5, "snip"), {"signals": {"fc1": np.ones((6, 8))}}),
    "signal that does not fit": (ValueError, r"weights\['fc1'\]: signal 'gradient' of shape \(3,\) must broadcast",
                                 ({"fc1": np.ones((6, 8))}, 0.5, "snip"),
                                 {"signals": {"fc1": {"gradient": np.ones(3)}}}),
    "mask of unknown": (ValueError, "masks must name weights that there are, got 'x'", (0.5,),
                        {"masks": {"x": np.ones(2, bool)}}),
    "mask of floats": (ValueError, r"masks\['fc2'\] must be a boolean array of the weight's shape \(4, 4\), got",
                       (0.5,), {"masks": {"fc2": np.ones((4, 4))}}),
    "protected": (ValueError, r"weights\['fc2'\]: sparsity=0.5 with min_per_layer=1 removes 8 of 16 elements, but",
                  (0.5,), {"protect": {"fc2": np.ones((4, 4), bool)}}),
    "emptied": (ValueError, r"weights\['fc1'\]: sparsity=1.0 with min_per_layer=1 removes 48 of 48 elements, but",
                (1.0,), {}),
    "emptied row by row": (ValueError, r"weights\['fc1'\]: min_per_layer=1 elements must stay, got 0", (1.0,),
                           {"scope": "row"}),
    "off already": (ValueError, r"weights\['fc1'\]: sparsity=0.25 means that 12 of 48 elements are off, but 48 are",
                    (0.25,), {"masks": {"fc1": np.zeros((6, 8), bool)}}),
    "of": (ValueError, "of must be 'all' or 'remaining', got 'rest'", (0.5,), {"of": "rest"}),
    "least": (ValueError, "min_per_layer must be an integer at least 0, got -1", (0.5,), {"min_per_layer": -1}),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_one_sentence(name: str) -> None:
    error, words, arguments, options = REFUSED[name]
    weights = weights_of(0)
    if arguments and not isinstance(arguments[0], float):
        weights, *arguments = arguments
    before = {key: np.array(weight, copy=True) for key, weight in dict(weights).items()} if weights and isinstance(
        weights, dict) else {}
    with pytest.raises(error, match=words) as caught:
        prune_tensors(weights, *arguments, in_place=True, **options)
    assert_one_sentence(caught)
    for key, weight in before.items():  # nothing was changed
        assert np.array_equal(weights[key], weight, equal_nan=np.asarray(weight).dtype.kind == "f")


def test_nothing_changes_when_one_cannot_be_written() -> None:
    weights = {"a": np.arange(4.0), "b": np.arange(4.0)}
    weights["b"].setflags(write=False)
    with pytest.raises(ValueError, match=r"weights\['b'\] must be writable to be changed in place, got a read-only"):
        prune_tensors(weights, 0.5, in_place=True)
    assert weights["a"].tolist() == [0.0, 1.0, 2.0, 3.0]
    assert prune_tensors(weights, 0.5)["b"].tolist() == [False, False, True, True]


def test_libraries_and_devices_do_not_mix(torch) -> None:
    with pytest.raises(TypeError, match=r"weights\['b'\] must be an array of numpy like the others, got one of torch"):
        prune_tensors({"a": np.ones(2), "b": torch.ones(2)}, 0.5)
    with pytest.raises(ValueError, match=r"weights\['b'\] must be on device .* like the others"):
        prune_tensors({"a": to("strict", np.ones(2)), "b": to("device", np.ones(2))}, 0.5)
    with pytest.raises(TypeError, match=r"protect\['a'\] must be an array of numpy like the others"):
        prune_tensors({"a": np.ones(2)}, 0.5, protect={"a": torch.ones(2, dtype=torch.bool)})
