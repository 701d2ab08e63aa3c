"""Thousands of mutated files: each is refused in one sentence, or is a sound network; nothing else ever happens."""

import copy
import io
import json
import re
import zipfile

import numpy as np
import pytest

from bridge import assert_one_sentence, assert_sound
from neuroprune import Network, PruningSchedule
from stored import FORMATS, acyclic, again, assert_identical, example

pytestmark = pytest.mark.slow

SEEDS = range(5)
MUTATIONS_PER_SEED = 700  # of each format, over all seed files
STRANGE = (
    None, True, False, -1, 0, 1, 2, 7, 255, 256, 2**31, 2**63, 2**64, 10**30, -(2**63) - 1, 0.5, -0.0, 1e308, 1e999,
    "", "a", "tanh", "mask", "order", "\u0000", [], [0], [[]], [[0, 1]], {}, {"a": 1},
)  # fmt: skip


def seed_networks():
    """Networks that fill a file in different ways."""
    mersenne = Network.random(3, 2, 4, 15, recurrent=True, seed=1)
    mersenne.rng = np.random.Generator(np.random.MT19937(2))
    mersenne([1.0, 2.0, 3.0])
    masked = Network.dense([1, 5, 1], seed=2)
    masked.pruning = PruningSchedule(0.7, 2, 8, 2, "snip", 0.3, "cubic", np.tri(7, k=-1, dtype=bool))
    masked.train(np.ones((3, 1)), np.ones((3, 1)), iterations=3)
    philox = Network.random(2, 1, 0, 0, seed=3)
    philox.rng = np.random.Generator(np.random.Philox(5))
    return [example(), acyclic(), mersenne, masked, philox]


# ---------------------------------------------------------------- mutations of bytes


def flip(content, rng):
    place = rng.integers(len(content))
    return content[:place] + bytes([content[place] ^ (1 << rng.integers(8))]) + content[place + 1:]


def overwrite(content, rng):
    place, length = rng.integers(len(content)), rng.integers(1, 9)
    return content[:place] + rng.bytes(length) + content[place + length:]


def truncate(content, rng):
    return content[:rng.integers(len(content))]


def insert(content, rng):
    place = rng.integers(len(content))
    return content[:place] + rng.bytes(rng.integers(1, 9)) + content[place:]


def cut(content, rng):
    first, last = sorted(rng.integers(len(content), size=2))
    return content[:first] + content[last:]


def repeat(content, rng):
    first, last = sorted(rng.integers(len(content), size=2))
    return content[:last] + content[first:last] + content[last:]


BYTES = (flip, overwrite, truncate, insert, cut, repeat)

# ---------------------------------------------------------------- mutations of the values of a JSON document


def places(value, path=()):
    """Paths of everything inside a document; of long lists only the ends and the middle."""
    if isinstance(value, dict):
        inner = list(value)
    elif isinstance(value, list):
        inner = sorted({i for i in (0, len(value) // 2, len(value) - 1) if 0 <= i < len(value)})
    else:
        inner = []
    for key in inner:
        yield (*path, key)
        yield from places(value[key], (*path, key))


def at(document, path):
    for key in path:
        document = document[key]
    return document


def mutate(document, rng):
    """Replace, drop, exchange, rename or change by one somewhere in a document, in place."""
    everywhere = list(places(document))
    path, other = (everywhere[i] for i in rng.integers(len(everywhere), size=2))
    home, key = at(document, path[:-1]), path[-1]
    action = rng.integers(6)
    if action == 0:
        home[key] = copy.deepcopy(STRANGE[rng.integers(len(STRANGE))])
    elif action == 1:
        del home[key]
    elif action == 2 and other[:len(path)] != path and path[:len(other)] != other:
        there = at(document, other[:-1])
        home[key], there[other[-1]] = there[other[-1]], home[key]
    elif action == 3 and isinstance(home, dict):
        home[str(rng.integers(100))] = home.pop(key)
    elif action == 4 and isinstance(home, list):
        home.insert(key, copy.deepcopy(home[rng.integers(len(home))]))
    elif isinstance(home[key], int | float):
        home[key] += [1, -1, 0.5, 10**6, -(10**6)][rng.integers(5)]
    elif isinstance(home[key], list):
        home[key].reverse()


def mutated_json(content, rng):
    document = json.loads(content)
    for _ in range(rng.integers(1, 4)):
        mutate(document, rng)
    return json.dumps(document).encode()


# ---------------------------------------------------------------- mutations of the members of an archive


def mutated_npz(content, rng):
    """Exchange, drop, rename, double, or change members; the archive itself stays whole."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    names = list(members)
    first, second = (names[i] for i in rng.integers(len(names), size=2))
    action = rng.integers(6)
    if action == 0:
        members[first], members[second] = members[second], members[first]
    elif action == 1:
        del members[first]
    elif action == 2:
        members[second + "x"[:rng.integers(2)]] = members.pop(first)
    elif action == 3:  # the text before the numbers
        members[first] = re.sub(rb"\d+(?=,)", lambda _: b"%d" % rng.integers(12), members[first], count=1)
    elif action == 4:
        header = members["header.npy"]
        text = mutated_json(header[header.index(b"\n") + 1:], rng)
        stream = io.BytesIO()
        np.lib.format.write_array(stream, np.frombuffer(text, np.uint8))
        members["header.npy"] = stream.getvalue()
    else:
        members[first] = BYTES[rng.integers(len(BYTES))](members[first], rng)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return stream.getvalue()


# ---------------------------------------------------------------- all of them


def check_usable(net, folder, suffix):
    """A network that came out of a mutated file keeps every promise."""
    assert_sound(net)
    assert_identical(net, again(net, suffix, folder))
    net.rng.random()
    net.reset()
    assert np.shape(net(np.zeros(net.graph.n_inputs))) == (net.graph.n_outputs,)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")  # of huge weights, without compilation
def test_a_mutated_file_is_refused_or_sound(suffix, seed, tmp_path):
    rng = np.random.default_rng([seed, len(suffix)])
    originals = []
    for number, net in enumerate(seed_networks()):
        net.save(tmp_path / f"{number}.{suffix}")
        originals.append((tmp_path / f"{number}.{suffix}").read_bytes())
    structured = mutated_json if suffix == "json" else mutated_npz
    path, elsewhere, refused = tmp_path / f"mutated.{suffix}", tmp_path / "elsewhere", 0
    elsewhere.mkdir()
    before = {*tmp_path.iterdir(), path}
    for _ in range(MUTATIONS_PER_SEED):
        content = originals[rng.integers(len(originals))]
        mutation = structured if rng.random() < 0.6 else BYTES[rng.integers(len(BYTES))]
        path.write_bytes(mutation(content, rng))
        try:
            net = Network.load(path)
        except ValueError as error:
            refused += 1
            assert_one_sentence(pytest.ExceptionInfo.from_exception(error))
            assert str(path) in str(error)
        else:
            check_usable(net, elsewhere, suffix)
        assert set(tmp_path.iterdir()) == before
    assert MUTATIONS_PER_SEED / 2 < refused < MUTATIONS_PER_SEED  # both ends are met
