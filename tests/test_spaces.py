"""Spaces: batches of observations are what gymnasium flattens one by one, actions are those of a plain loop."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroprune.evolution.spaces import SCALINGS, Choice, action_of, observation_of

gymnasium = pytest.importorskip("gymnasium", reason="gymnasium is not installed: pip install gymnasium")
from gymnasium import spaces  # noqa: E402
from gymnasium.vector.utils import concatenate, create_empty_array  # noqa: E402

from environments import SPACES, act  # noqa: E402

OBSERVED = [name for name in SPACES if name != "long"]  # its numbers are no floats
ACTED = [name for name in SPACES if name != "mixed"]


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(OBSERVED), st.integers(1, 6), st.data())
def test_batches_of_observations(name, n, data):
    space = SPACES[name]
    space.seed(data.draw(st.integers(0, 1000)))
    several = [space.sample() for _ in range(n)]
    batch = concatenate(space, several, create_empty_array(space, n))
    want = np.array([spaces.flatten(space, one) for one in several])
    rows = np.array(sorted(data.draw(st.sets(st.integers(0, n - 1), min_size=1))))
    observation = observation_of(space, "Any-v0")
    assert observation.width == spaces.flatdim(space)
    x = np.full((n, observation.width), np.nan)
    observation.write(batch, x)
    assert x.tolist() == want.tolist()
    some = np.full((rows.size, observation.width), np.nan)
    observation.write(batch, some, rows)
    assert some.tolist() == want[rows].tolist()
    one = np.full((1, observation.width), np.nan)
    observation.write(several[-1], one)
    assert one.tolist() == want[-1:].tolist()


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(ACTED), st.sampled_from(SCALINGS), st.integers(1, 4), st.data())
def test_actions(name, scaling, n, data):
    space = SPACES[name]
    action = action_of(space, "Any-v0", scaling)
    few = st.sampled_from([-np.inf, -1e300, -2.0, -1.0, -0.3, 0.0, 0.5, 1.0, 700.0, 1e300, np.inf])
    out = np.array(data.draw(st.lists(few, min_size=n * action.width, max_size=n * action.width)))
    out = out.reshape(n, action.width)
    got = action.read(out.copy())
    assert got.dtype == space.dtype and got.shape == (n, *space.shape)
    for mine, row in zip(got, out, strict=True):
        assert space.contains(mine)
        np.testing.assert_allclose(mine, act(space, row, scaling), rtol=1e-6)


def test_equal_outputs_choose_the_first():
    action = action_of(SPACES["multi_discrete"], "Any-v0", "linear")
    assert isinstance(action, Choice) and action.width == 9
    chosen = action.read(np.array([[0.0] * 9, [0, 1, 1, 2, 2, 3, 4, 4, 4]]))
    assert chosen.tolist() == [[0, 0, 0], [1, 0, 1]]


@pytest.mark.parametrize(("scaling", "want"), [("linear", [-2, -2, 0.5, 3, 3]), ("clip", [-2, -1, 0, 2, 3]),
                                               ("tanh", [-1.9997730, -1.4039854, 0.5, 2.9100689, 3])])
def test_box(scaling, want):
    action = action_of(SPACES["box"], "Any-v0", scaling)
    out = np.repeat([[-5.0], [-1.0], [0.0], [2.0], [np.inf]], 4, axis=1)
    np.testing.assert_allclose(action.read(out)[:, 0, 1], want, atol=1e-6)


@pytest.mark.parametrize("space", [spaces.Text(3), spaces.Sequence(spaces.Discrete(2)),
                                   spaces.Tuple([spaces.Discrete(2), spaces.Dict(a=spaces.Text(2))])])
def test_other_spaces_are_refused(space):
    with pytest.raises(ValueError, match=r"^the observation space of Any-v0 must be made of Box, .*, got .*: wrap the"):
        observation_of(space, "Any-v0")
    with pytest.raises(ValueError, match=r"^the action space of Any-v0 must be Box, .*, got .*: wrap the environment$"):
        action_of(space, "Any-v0", "linear")
