"""What a Rewire and its update refuse: one sentence that names the array, the value and the place."""

import math
import os
import subprocess
import sys

import numpy as np
import pytest

from bridge import assert_one_sentence
from neuroprune.pruning import decay
from neuroprune.pruning.rewire import Rewire

UNIT = (0, 1)  # one kernel per output and input channel
WEIGHTS = {"conv": np.ones((2, 3)), "head": np.ones((3, 2))}
MASKS = {"conv": np.eye(2, 3, dtype=bool), "head": np.eye(3, 2, dtype=bool)}
SIGNALS = {name: {"gradient": np.ones(w.shape), "momentum": np.ones(w.shape)} for name, w in WEIGHTS.items()}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"drop": "magnitud"}, "drop must be .*got 'magnitud'.*'magnitude'"),
        ({"grow": "gradiant"}, "grow must be .*got 'gradiant'.*'gradient'"),
        ({"redistribute": "moment"}, "redistribute must be .*got 'moment'.*'momentum'"),
        ({"scope": "glbal"}, "scope must be .*got 'glbal'.*global"),
        ({"every": 0}, "every must be .*got 0"),
        ({"every": -5}, "every must be .*got -5"),
        ({"until": 0}, "until must be .*got 0"),
        ({"start": -1}, "start must be .*got -1"),
        ({"fraction": 1.5}, r"must be .*got 1.5"),
        ({"fraction": -0.1}, r"must be .*got -0.1"),
        ({"fraction": math.nan}, "must be .*got nan"),
        ({"drop": 1.5}, "must be .*got 1.5"),
    ],
)
def test_settings_that_cannot_be(options: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words) as error:
        Rewire(**options)
    assert_one_sentence(error)


@pytest.mark.parametrize("options", [{"every": 1.5}, {"grow": 3}, {"redistribute": 3},
                                     {"fraction": "much"}, {"until": "end"}, {"replaces_step": "yes"}])  # fmt: skip
def test_settings_of_another_type(options: dict) -> None:
    with pytest.raises((TypeError, ValueError), match=f"{next(iter(options))} must be .*got") as error:
        Rewire(**options)
    assert_one_sentence(error)


def refused(words, weights=WEIGHTS, masks=MASKS, signals=SIGNALS, kind=ValueError, rewire=None, **options):
    rewire = rewire or Rewire(grow="gradient", redistribute="momentum")
    with pytest.raises(kind, match=words) as error:
        rewire.update(weights, masks, 1, signals=signals, rng=0, **options)
    assert_one_sentence(error)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_is_named(bad: float) -> None:
    wrong = np.ones((3, 2))
    wrong[1, 1] = bad
    place = rf"must be finite, got {bad} at index \(1, 1\)"
    refused(f"weight.*head.*{place}", weights=WEIGHTS | {"head": wrong})
    for key in ("gradient", "momentum"):
        signals = SIGNALS | {"head": SIGNALS["head"] | {key: wrong}}
        refused(f"(head.*{key}|{key}.*head).*{place}", signals=signals)


def test_names_that_do_not_match() -> None:
    refused("'haed'.*'head'", masks={"conv": MASKS["conv"], "haed": MASKS["head"]})
    refused("'head'", masks={"conv": MASKS["conv"]})
    refused("'haed'.*'head'", signals=SIGNALS | {"haed": {}})


def test_signals_that_are_missing() -> None:
    refused("gradient|momentum", signals=None)
    refused("head.*momentum|momentum.*head", signals=SIGNALS | {"head": {"gradient": np.ones((3, 2))}})
    refused("head", signals={"conv": SIGNALS["conv"]})


def test_shapes_that_do_not_match(torch) -> None:
    refused(r"head.*\(3, 2\)", masks=MASKS | {"head": np.ones((2, 3), bool)})
    refused("head.*float64", masks=MASKS | {"head": np.ones((3, 2))})
    refused(r"head.*\(2, 3\)", signals=SIGNALS | {"head": SIGNALS["conv"]})
    refused("head.*torch", masks=MASKS | {"head": torch.ones(3, 2, dtype=torch.bool)}, kind=TypeError)
    refused("head.*torch", weights=WEIGHTS | {"head": torch.ones(3, 2)}, kind=TypeError)


def test_one_library_for_all(torch) -> None:
    weights, masks = WEIGHTS | {"head": torch.ones(3, 2)}, MASKS | {"head": torch.ones(3, 2, dtype=torch.bool)}
    for scope in ("layer", "global"):
        refused("'head' must be an array of numpy like the others, got one of torch", rewire=Rewire(scope=scope),
                weights=weights, masks=masks, signals={}, kind=TypeError)
    refused("'head' must be a boolean array of the weight's shape", masks=MASKS | {"head": np.ones(2, bool)})


def test_counts_out_of_range() -> None:
    for count in (3, -1):
        refused(f"head.*{count}", drops={"conv": 1, "head": count})
    with pytest.raises((TypeError, ValueError), match="head"):
        Rewire().update(WEIGHTS, MASKS, 1, rng=0, drops={"conv": 1, "head": 1.5})
    refused("1.5", rewire=Rewire(fraction=lambda step: 1.5))
    refused("nan", rewire=Rewire(grow="gradient", redistribute=lambda weight, mask, **signals: math.nan))
    refused("-1.0", rewire=Rewire(grow="gradient", redistribute=lambda weight, mask, **signals: -1.0))


def test_units_of_axes_that_are_not_there() -> None:
    with pytest.raises(ValueError, match=r"(head.*unit|unit.*head)") as error:
        Rewire(unit=(0, 2)).update({"head": np.ones((3, 4))}, {"head": np.ones((3, 4), bool)}, 1, rng=0)
    assert_one_sentence(error)


def test_units_that_are_half_on() -> None:
    mask = np.ones((2, 2, 3, 3), bool)
    mask[1, 0, 2, 2] = False
    with pytest.raises(ValueError, match="conv") as error:
        Rewire(unit=UNIT).update({"conv": np.ones((2, 2, 3, 3))}, {"conv": mask}, 1, rng=0)
    assert_one_sentence(error)


def test_shares_of_the_whole_array_are_refused():
    with pytest.raises(TypeError, match="share of what is present.*schedule") as error:
        Rewire(grow=None, fraction=decay.Magnitude(0.9, 0, 100, 10), every=10)
    assert_one_sentence(error)


def test_the_message_does_not_depend_on_hashes():
    code = ("import numpy as np; from neuroprune.pruning.rewire import Rewire\n"
            "rewire = Rewire(grow='gradient', redistribute='momentum')\n"
            "try: rewire.update({'a': np.ones(3)}, {'a': np.ones(3, bool)}, 1)\n"
            "except ValueError as e: print(e)")
    said = {subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONHASHSEED": str(seed)}, text=True,
                           capture_output=True, check=True).stdout for seed in range(8)}
    assert len(said) == 1


def test_rank_0_update_gives_arrays():
    update = Rewire(grow=None).update({"a": np.array(1.0)}, {"a": np.array(True)}, 1)
    assert isinstance(update.masks["a"], np.ndarray) and isinstance(update.dropped["a"], np.ndarray)


@pytest.mark.parametrize("drops", [{"conf": 1}, {"conv": 1}, {"conv": 1, "head": 1, "x": 0}])
def test_drops_of_other_names(drops):
    with pytest.raises(ValueError) as error:
        Rewire().update(WEIGHTS, MASKS, 1, rng=0, drops=drops)
    assert_one_sentence(error)


@pytest.mark.parametrize(("options", "kind", "words"), [
    ({"fraction": 1.5}, ValueError, "fraction must be .*got 1.5"), ({"drop": 1.5}, ValueError, "(drop|fraction) must"),
    ({"unit": 1.5}, TypeError, "unit must be .*got 1.5"), ({"unit": 2}, TypeError, "unit must be .*got 2"),
    ({"unit": (0, 0)}, ValueError, "unit must be .*"), ({"unit": ()}, ValueError, "unit must be .*"),
    ({"drop": None}, TypeError, "drop must be .*got None"),
])
def test_settings(options, kind, words):
    with pytest.raises(kind, match=words) as error:
        Rewire(**options)
    assert_one_sentence(error)


@pytest.mark.parametrize("value", [math.nan, -1.0, "x"])
def test_shares_of_a_function_name_the_array(value):
    rewire = Rewire(redistribute=lambda weight, mask, **signals: value)
    with pytest.raises((TypeError, ValueError), match="conv") as error:
        rewire.update(WEIGHTS, MASKS, 1, rng=0)
    assert_one_sentence(error)


def test_the_fraction_of_a_function_is_a_number():
    with pytest.raises((TypeError, ValueError), match="fraction must .*got 'x'"):
        Rewire(fraction=lambda step: "x").rate(3)


@pytest.mark.parametrize(("weights", "masks"), [([np.ones(3)], MASKS), (WEIGHTS, np.ones(3, bool))])
def test_what_is_no_mapping(weights, masks):
    with pytest.raises(TypeError, match="(weights|masks) must be") as error:
        Rewire().update(weights, masks, 1, rng=0)
    assert_one_sentence(error)


def test_signals_that_no_rule_asks_for_are_not_looked_at():
    signals = {"conv": {"momentum": np.full((2, 3), math.nan)}, "head": {}}
    Rewire().update(WEIGHTS, MASKS, 1, signals=signals, rng=0)
