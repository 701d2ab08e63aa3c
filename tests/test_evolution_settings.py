"""Settings of an evolution: frozen, checked one by one, to JSON and back."""

import json
import math
import pickle
from dataclasses import FrozenInstanceError, asdict, fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge import assert_one_sentence
from neuroprune import Population, Settings, activations
from neuroprune.evolution.settings import COUNTS, POWERS, SHARES

NAMES = st.sampled_from(["tanh", "relu", "sigmoid", "identity"])
NUMBERS = ("activation", "output_activation", "activations", "recurrent", "species")
EVERY = [one.name for one in fields(Settings)]


@st.composite
def settings_of_any_kind(draw):
    values = {name: draw(st.floats(0, 1)) for name in SHARES}
    values |= {name: draw(st.floats(0, 1e300)) for name in POWERS if name != "threshold"}
    values |= {name: draw(st.integers(least, 10**6)) for name, least in COUNTS}
    values |= {"threshold": draw(st.floats(5e-324, 1e308)), "species": draw(st.none() | st.integers(1, 1000)),
               "recurrent": draw(st.booleans()), "activation": draw(NAMES), "output_activation": draw(NAMES),
               "activations": tuple(draw(st.lists(NAMES, max_size=3)))}
    return {name: values[name] for name in draw(st.lists(st.sampled_from(EVERY), unique=True))}


@given(settings_of_any_kind())
def test_there_and_back(values):
    settings = Settings(**values)
    again = Settings.from_json(settings.to_json())
    assert again == settings and hash(again) == hash(settings) and asdict(again) == asdict(settings)
    assert Settings.from_dict(json.loads(json.dumps(values))) == settings == pickle.loads(pickle.dumps(settings))
    for name, value in values.items():
        assert getattr(again, name) == value
    assert again.to_json() == settings.to_json() and settings.to_json().endswith("}\n")


def test_what_is_known():
    assert set(EVERY) == {*SHARES, *POWERS, *(name for name, _ in COUNTS), *NUMBERS}
    assert list(json.loads(Settings().to_json())) == EVERY
    assert Settings.from_json("{}") == Settings() == Settings.from_dict({})
    assert Settings.from_json('{"species": null, "activations": ["relu"]}').activations == ("relu",)
    for name in EVERY:
        assert name in Settings.__doc__, name


def test_frozen_and_hashable():
    settings = Settings()
    with pytest.raises(FrozenInstanceError):
        settings.add_node = 0.5
    assert {settings: 1}[Settings()] == 1 and replace(settings, add_node=0.5) != settings
    assert Settings(activations=["tanh", "relu"]) == Settings(activations=("tanh", "relu"))
    assert hash(Settings(activations=["tanh"])) == hash(Settings(activations=(name for name in ["tanh"])))


def test_numbers_of_any_library_become_those_of_python():
    settings = Settings(add_node=np.float32(0.5), threshold=np.int64(2), tournament=np.int32(3), species=np.int64(4),
                        weight_step=1)
    values = asdict(settings)
    assert [type(values[name]) for name in ("add_node", "threshold", "tournament", "species", "weight_step")] == [
        float, float, int, int, float]
    assert Settings.from_json(settings.to_json()) == settings
    assert settings == Settings(add_node=0.5, threshold=2.0, tournament=3, species=4, weight_step=1.0)


def refused(name, value, error):
    with pytest.raises(error, match=name) as caught:
        Settings(**{name: value})
    assert_one_sentence(caught)


@pytest.mark.parametrize("name", SHARES)
def test_shares(name):
    for value in (0, 1, 0.0, 1.0, 0.3):
        assert getattr(Settings(**{name: value}), name) == value
    for value in (-1e-9, 1 + 1e-9, 7, -3, math.nan, math.inf, -math.inf):
        refused(name, value, ValueError)
    for value in (None, "0.5", True, [0.5], {}, 1j, 10**400):
        refused(name, value, TypeError)


@pytest.mark.parametrize("name", POWERS)
def test_powers(name):
    for value in (1e-300, 1, 2.5, 1e300):
        assert getattr(Settings(**{name: value}), name) == value
    for value in (-1e-300, -3, math.nan, math.inf, *([0.0] if name == "threshold" else [])):
        refused(name, value, ValueError)
    for value in (None, "0.5", True, [0.5], {}, 1j, 10**400):
        refused(name, value, TypeError)


@pytest.mark.parametrize(("name", "least"), [*COUNTS, ("species", 1)])
def test_counts(name, least):
    for value in (least, least + 1, 10**6):
        assert getattr(Settings(**{name: value}), name) == value
    for value in (least - 1, -5, 2**31, 10**30):
        refused(name, value, ValueError)
    for value in (1.0, "3", True, [3], math.nan, *([None] if name != "species" else [])):
        refused(name, value, TypeError)


@pytest.mark.parametrize("name", ["activation", "output_activation"])
def test_names_of_activations(name):
    for known in activations.ACTIVATIONS:
        assert getattr(Settings(**{name: known}), name) == known
    for value, error in (("tangens", ValueError), ("", ValueError), (None, TypeError), (3, TypeError), ([], TypeError)):
        with pytest.raises(error) as caught:
            Settings(**{name: value})
        assert_one_sentence(caught)


def test_lists_of_activations():
    for value, error in (("tanh", TypeError), (None, TypeError), (3, TypeError), (["tangens"], ValueError),
                         ([3], TypeError), ([["tanh"]], TypeError)):
        with pytest.raises(error) as caught:
            Settings(activations=value)
        assert_one_sentence(caught)
    for value in (None, 1, "yes", np.True_):
        refused("recurrent", value, TypeError)


@pytest.mark.parametrize(("wrong", "near"), [
    ("ad_node", "add_node"), ("addnode", "add_node"), ("weight_powr", "weight_power"), ("recurent", "recurrent"),
    ("tournement", "tournament"), ("Species", "species"), ("elite", "elites"),
    ("remove_conection", "remove_connection"),
])  # fmt: skip
def test_unknown_names_have_a_nearest(wrong, near):
    with pytest.raises(ValueError, match=f"got '{wrong}': did you mean '{near}'") as caught:
        Settings.from_json(json.dumps({"add_node": 0.1, wrong: 1}))
    assert_one_sentence(caught)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", '"add_node"', "{'add_node': 1}", "[" * 10**5, '{"": 1}',
                                  '{"add_node": NaN}', '{"add_node": "0.1"}', '{"elites": 1.5}', '{"zzzz": 1}',
                                  '{"activations": "tanh"}', '{"activations": [[]]}', '{"species": {}}',
                                  '{"add_node": ' + "9" * 5000 + "}", '{"recurrent": 1}'])  # fmt: skip
def test_other_texts_are_refused(text):
    with pytest.raises((ValueError, TypeError)) as caught:
        Settings.from_json(text)
    assert_one_sentence(caught)


def test_other_things_are_refused():
    for value in (None, [], [("add_node", 1)], "add_node", 3, Settings()):
        with pytest.raises(ValueError, match="must be a mapping") as caught:
            Settings.from_dict(value)
        assert_one_sentence(caught)
    with pytest.raises(ValueError, match="known names, got 3") as caught:
        Settings.from_dict({3: 1})
    assert_one_sentence(caught)
    with pytest.raises(TypeError, match="settings must be a Settings") as caught:
        Population(2, 1, settings={"add_node": 1.0})
    assert_one_sentence(caught)


def test_settings_reach_the_networks():
    settings = Settings(activation="relu", output_activation="sigmoid", recurrent=True, add_node=1.0, crossover=0.0)
    population = Population(2, 1, size=10, seed=0, settings=settings)
    population.tell(np.zeros(10))
    kinds = {node.kind: node.activation for net in population.ask() for node in net.nodes}
    assert kinds["hidden"] == "relu" and kinds["output"] == "sigmoid"
    assert all(net.graph.recurrent for net in population.ask())


def test_an_unknown_keyword_is_named_with_the_nearest():
    with pytest.raises(ValueError, match="got 'add_nodes': did you mean 'add_node'"):
        Settings(add_nodes=0.1)
