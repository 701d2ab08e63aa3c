"""Files that are no networks: refused in one sentence, quickly, with little memory, and never run."""

import io
import json
import math
import os
import pickle
import tracemalloc
import zipfile

import numpy as np
import pytest

from bridge import assert_one_sentence
from neuroprune import Network
from neuroprune.network import files
from stored import FORMATS, VERSION_1, acyclic, assert_identical, example, written

# ---------------------------------------------------------------- contents that do not fit together


def parts(net):
    """Header and columns as JSON would hold them."""
    header, columns = files.describe(net)
    return header, {name: column.tolist() for name, column in columns.items()}


def put(path, header, columns):
    """Write a file of either format from possibly nonsensical parts."""
    if path.suffix == ".json":
        path.write_text(json.dumps(header | columns))
        return
    arrays = {name: np.array(column, files.COLUMNS[name]) for name, column in columns.items()}
    np.savez_compressed(path, header=np.frombuffer(json.dumps(header).encode(), np.uint8), **arrays)


def set_entry(name, value):
    return lambda header, columns: header.__setitem__(name, value)


def set_value(name, index, value):
    return lambda header, columns: columns[name].__setitem__(index, value)


def set_column(name, value):
    return lambda header, columns: columns.__setitem__(name, value)


def drop(name):
    return lambda header, columns: (header.pop(name, None), columns.pop(name, None))


def in_schedule(name, value):
    return lambda header, columns: header["schedule"].__setitem__(name, value)


def resorted(permutation):
    def change(header, columns):
        for name in ("source", "target", "weight", "delayed", "gradient"):
            columns[name] = [columns[name][i] for i in permutation]

    return change


INCONSISTENT = {  # stored order: 0->5 1->5 3->5(late) 5->6 6->6(late) 6->2 5->3
    "another format": (set_entry("format", "neural net"), "format must be 'neuroprune network', got 'neural net'"),
    "no format": (drop("format"), "format must be"),
    "a later version": (set_entry("version", 2), "version must be 1, got 2: use the neuroprune that wrote it"),
    "no version": (drop("version"), "version must be 1, got None"),
    "no entry": (drop("iteration"), "the entry 'iteration' is missing"),
    "a strange entry": (set_entry("colour", "red"), "there is no entry 'colour'"),
    "no column": (drop("bias"), "the column 'bias' is missing"),
    "against the order": (set_value("ids", 2, 6), "ids must be those of the inputs, different hidden ones"),
    "order swapped": (set_column("ids", [0, 1, 6, 5, 2, 3]), "connections must"),
    "an input renamed": (set_value("ids", 0, 9), "ids must be those of the inputs"),
    "an output renamed": (set_value("ids", 5, 9), "ids must be those of the inputs"),
    "a hidden id of an output": (set_value("ids", 2, 3), "ids must be those of the inputs"),
    "a negative id": (set_value("ids", 2, -5), "ids must be those of the inputs"),
    "too few ids": (set_column("ids", [0, 1, 2]), "ids must name at least 4 nodes, got 3"),
    "an unknown source": (set_value("source", 0, 77), "source and target must be ids of nodes"),
    "an unknown target": (set_value("target", 0, 77), "source and target must be ids of nodes"),
    "a second connection": (set_value("source", 1, 0), "sorted by target and source, each once"),
    "not sorted": (resorted([1, 0, 2, 3, 4, 5, 6]), "sorted by target and source, each once"),
    "a cycle": (set_value("delayed", 4, False), "connections must lead forward"),
    "backwards": (set_value("delayed", 2, False), "connections must lead forward"),
    "into an input": (set_value("target", 0, 1), "connections must lead forward"),
    "short weights": (lambda h, c: c["weight"].pop(), r"weight must have shape \(7,\), got \(6,\)"),
    "long weights": (lambda h, c: c["weight"].append(1.0), r"weight must have shape \(7,\), got \(8,\)"),
    "short targets": (lambda h, c: c["target"].pop(), r"target must have shape \(7,\)"),
    "short delays": (lambda h, c: c["delayed"].pop(), r"delayed must have shape \(7,\)"),
    "short biases": (lambda h, c: c["bias"].pop(), r"bias must have shape \(6,\)"),
    "short activations": (lambda h, c: c["activation"].pop(), r"activation must have shape \(6,\)"),
    "a short gradient": (lambda h, c: c["gradient"].pop(), r"gradient must have shape \(7,\)"),
    "a narrow state": (set_column("state", [[1.0] * 5]), r"state must have shape \(streams, 6\)"),
    "weight nan": (set_value("weight", 3, math.nan), "finite, got nan at index 3"),
    "weight infinite": (set_value("weight", 3, -math.inf), "finite, got -inf at index 3"),
    "bias nan": (set_value("bias", 3, math.nan), "finite, got nan at index 3"),
    "gradient nan": (set_value("gradient", 3, math.nan), "finite, got nan at index 3"),
    "state nan": (set_column("state", [[math.nan] * 6]), "finite, got nan at index 0"),
    "bias of an input": (set_value("bias", 1, 0.5), "bias must be 0 for inputs"),
    "an activation too far": (set_value("activation", 3, 9), "activation must index 2 names, got 9"),
    "an unknown activation": (set_entry("activations", ["identity", "tangens"]), "got 'tangens'.*register_activation"),
    "an unknown default": (set_entry("default_activation", "tangens"), "got 'tangens'"),
    "activations of numbers": (set_entry("activations", [1, 2]), "activations must be a list of names"),
    "no inputs": (set_entry("n_inputs", 0), "n_inputs must be an integer of at least 1, got 0"),
    "more inputs": (set_entry("n_inputs", 3), "ids must be those"),
    "a broken number": (set_entry("n_outputs", 2.0), "n_outputs must be an integer of at least 1, got 2.0"),
    "a boolean number": (set_entry("iteration", True), "iteration must be an integer"),
    "a negative iteration": (set_entry("iteration", -1), "iteration must be an integer of at least 0"),
    "a huge iteration": (set_entry("iteration", 10**300), "iteration must be at most"),
    "a negative baseline": (set_entry("evolution_baseline", -1), "evolution_baseline must be an integer"),
    "no baseline": (set_entry("training_baseline", None), "training_baseline must be there exactly when"),
    "a negative seed": (set_entry("seed", -1), "seed must be an integer"),
    "a worded truth": (set_entry("gradient_ends", "yes"), "gradient_ends must be true or false"),
    "layers that do not add up": (set_entry("layer_sizes", [2, 3]), "layer_sizes must add up to 6 nodes"),
    "layers of nothing": (set_entry("layer_sizes", [2, 0, 2, 2]), "a layer size must be an integer"),
    "layers of letters": (set_entry("layer_sizes", 5), "layer_sizes must be a list"),
    "a schedule of a target above 1": (in_schedule("target_sparsity", 1.5), "target must be"),
    "a schedule that ends early": (in_schedule("end", 0), "end must be at least start"),
    "a schedule with a strange entry": (in_schedule("colour", 1), "colour"),
    "a schedule without an end": (lambda h, c: h["schedule"].pop("end"), "end"),
    "a schedule of no method": (in_schedule("method", "magnitud"), "magnitude"),
    "a schedule of a worse ramp": (in_schedule("ramp", 3), "method and ramp of a schedule must be names"),
    "a schedule of other places": (in_schedule("candidates", "anywhere"), "candidates must be"),
    "a schedule of places not given": (in_schedule("candidates", "mask"), "candidates must be"),
    "a schedule that is a list": (set_entry("schedule", [1, 2]), "schedule must be"),
    "pairs without a schedule": (set_entry("schedule", None), "a column 'pairs' needs a schedule"),
    "pairs of three": (set_column("pairs", [[0, 1, 2]]), r"pairs of candidates must be integers of shape \(k, 2\)"),
    "another generator": (set_entry("rng_state", {"bit_generator": "MRG"}), "must name one of PCG64"),
    "half a generator": (set_entry("rng_state", {"bit_generator": "PCG64"}), "state of PCG64"),
    "a generator of letters": (set_entry("rng_state", "PCG64"), "must name one of PCG64"),
}


RECORDED = {
    "a short movement": (lambda h, c: c["movement"].pop(), r"movement must have shape \(9,\)"),
    "long squares": (lambda h, c: c["squared_gradient"].append(1.0), r"squared_gradient must have shape \(9,\)"),
    "movement nan": (set_value("movement", 3, math.nan), "movement must be finite, got nan at index 3"),
    "squares infinite": (set_value("squared_gradient", 3, math.inf), "squared_gradient must be finite, got inf at"),
    "movement alone": (lambda h, c: (c.pop("gradient"), c.pop("squared_gradient")), "there together.*got movement"),
    "squares alone": (lambda h, c: (c.pop("gradient"), c.pop("movement")), "there together.*got squared_gradient"),
    "no gradient": (drop("gradient"), "gradient, movement, squared_gradient must be there together or the first alone"),
    "no movement": (drop("movement"), "must be there together"),
    "no squares": (drop("squared_gradient"), "must be there together"),
}


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("name", RECORDED)
def test_inconsistent_records_of_training_are_refused(suffix, name, tmp_path):
    change, message = RECORDED[name]
    net = Network.random(2, 1, 2, 9, seed=0)
    net.train(np.ones((2, 2)), np.ones((2, 1)), iterations=1)
    header, columns = parts(net)
    change(header, columns)
    put(tmp_path / f"net.{suffix}", header, columns)
    with pytest.raises(ValueError, match=message) as error:
        Network.load(tmp_path / f"net.{suffix}")
    assert_one_sentence(error)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("name", INCONSISTENT)
def test_inconsistent_contents_are_refused(suffix, name, tmp_path):
    change, message = INCONSISTENT[name]
    header, columns = parts(example())
    change(header, columns)
    path = tmp_path / f"net.{suffix}"
    put(path, header, columns)
    with pytest.raises(ValueError, match=message) as error:
        Network.load(path)
    assert_one_sentence(error)
    assert str(path) in str(error.value) and "must be a network written by net.save" in str(error.value)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_column("state", [[1.0] * 6]), "state must have shape .* in a recurrent network"),
        (set_value("target", 0, 0), "connections must lead forward"),
        (set_value("source", 7, 2), "connections must lead forward in the order of the nodes, from no output"),
        (set_entry("training_baseline", 5), "training_baseline must be there exactly when there is a schedule"),
    ],
)
def test_inconsistent_contents_of_an_acyclic_network_are_refused(suffix, change, message, tmp_path):
    header, columns = parts(acyclic())
    change(header, columns)
    put(tmp_path / f"net.{suffix}", header, columns)
    with pytest.raises(ValueError, match=message) as error:
        Network.load(tmp_path / f"net.{suffix}")
    assert_one_sentence(error)


@pytest.mark.parametrize("suffix", FORMATS)
def test_the_example_itself_is_fine(suffix, tmp_path):
    for net in (example(), acyclic()):
        put(tmp_path / f"net.{suffix}", *parts(net))
        assert_identical(Network.load(tmp_path / f"net.{suffix}"), net)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ids", "abc"), ("ids", None), ("ids", {}), ("ids", 5), ("ids", [[0, 1]]), ("ids", [0, 1, 5.5, 6, 2, 3]),
        ("ids", [0, 1, 2**63, 6, 2, 3]), ("ids", [0, 1, 10**4000, 6, 2, 3]), ("ids", [0, True, 5, 6, 2, "3"]),
        ("weight", [None] * 7), ("weight", ["1"] * 7), ("weight", [True] * 7), ("weight", [1e999] * 7),
        ("weight", [[1.0]] * 7), ("delayed", [0] * 7), ("delayed", None), ("activation", [0, 0, 256, 1, 1, 1]),
        ("activation", [0, 0, -1, 1, 1, 1]), ("activation", [0, 0, 1.0, 1, 1, 1]), ("state", [1.0] * 6),
        ("state", [[1.0] * 6, [1.0]]), ("pairs", [[0.5, 6]]), ("pairs", 3), ("weight", [0, [1], 2, 3, 4, 5, 6]),
    ],
)  # fmt: skip
def test_json_columns_are_lists_of_numbers(name, value, tmp_path):
    header, columns = parts(example())
    columns[name] = value
    put(tmp_path / "net.json", header, columns)
    with pytest.raises(ValueError) as error:
        Network.load(tmp_path / "net.json")
    assert_one_sentence(error)


@pytest.mark.parametrize(
    "content",
    [b"", b" ", b"{", b"[]", b"3", b"null", b'"net"', b"{}", b"\xff\xfe{}", b"\xef\xbb\xbf{}", b"{'a': 1}", b"\0" * 99,
     b'{"format": "neuroprune network"}', b'{"format": NaN}', VERSION_1.replace("0.25", "-Infinity").encode(),
     VERSION_1.replace('"seed": 11', '"seed": 11, "seed": 11').encode(), VERSION_1.encode() + b"}"],
)  # fmt: skip
@pytest.mark.parametrize("suffix", FORMATS)
def test_anything_else_is_refused(suffix, content, tmp_path):
    path = tmp_path / f"net.{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="must be a network written by net.save") as error:
        Network.load(path)
    assert_one_sentence(error)


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_truncated_file_is_refused_at_every_length(suffix, tmp_path):
    path = written(example(), suffix, tmp_path)
    content = path.read_bytes().rstrip(b"\n")
    for length in range(0, len(content), max(1, len(content) // 150)):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match="must be a network written by net.save") as error:
            Network.load(path)
        assert_one_sentence(error)


# ---------------------------------------------------------------- what claims too much, or would run


def refused_quickly(path, most=2e6):
    """The error of loading, which must not have taken more memory than `most` and the file itself."""
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="must be a network written by net.save") as error:
            Network.load(path)
        used = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert used < most + 3 * path.stat().st_size
    assert_one_sentence(error)
    return str(error.value)


def npy(descr, shape, body=b""):
    """An npy file of format 1.0 with any header."""
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + body


def with_member(path, name, pieces):
    """Write the example as .npz with one member replaced by raw bytes, piece by piece."""
    header, columns = files.describe(example())
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for other, column in {"header": np.frombuffer(json.dumps(header).encode(), np.uint8), **columns}.items():
            with archive.open(f"{other}.npy", "w") as member:
                if other == name:
                    member.writelines(pieces)
                else:
                    np.lib.format.write_array(member, column)
    return path


def test_a_zip_bomb_is_refused_before_it_goes_off(tmp_path):
    zeros = bytes(1_000_000)
    for name, descr in (("weight", "<f8"), ("ids", "<i8"), ("header", "|u1")):
        count = 200_000_000 // int(descr[-1])
        path = with_member(tmp_path / "bomb.npz", name, [npy(descr, (count,)), *[zeros] * 200])
        assert path.stat().st_size < 1_000_000
        assert "the columns must have at most 67108864 bytes in a file of" in refused_quickly(path)


def test_few_columns_of_zeros_are_no_bomb(tmp_path):
    net = Network.dense([1700, 1700], seed=0)
    net.connections.weight = 0.0  # 69 MB of columns that would deflate to half of one
    assert Network.load(written(net, "npz", tmp_path)).equals(net)


@pytest.mark.parametrize("shape", [(10**15,), (10**17, 10), (0,), (6,), (8,), (7, 1), (), (-7,), (7.0,), "(7)"])
def test_shapes_that_do_not_fit_their_bytes_are_refused(shape, tmp_path):
    path = with_member(tmp_path / "net.npz", "weight", [npy("<f8", shape, np.ones(7).tobytes())])
    assert "the column 'weight' must" in refused_quickly(path)


@pytest.mark.parametrize("descr", ["<f4", ">f8", "<i8", "|O", "|S8", "<U2", [("a", "<f8")], "<c16", "f8\n"])
def test_other_types_of_columns_are_refused(descr, tmp_path):
    path = with_member(tmp_path / "net.npz", "weight", [npy(descr, (7,), np.ones(7).tobytes())])
    assert "the column 'weight' must be an array of float64" in refused_quickly(path)


def test_sizes_in_the_directory_that_are_not_true_are_refused(tmp_path):
    content = bytearray(written(example(), "npz", tmp_path).read_bytes())
    place = content.index(b"PK\x01\x02")  # the first entry of the central directory, of the header
    for size in (1, 2**31, 2**32 - 2):
        content[place + 24:place + 28] = size.to_bytes(4, "little")
        (tmp_path / "net.npz").write_bytes(content)
        refused_quickly(tmp_path / "net.npz")


@pytest.mark.parametrize(
    "content",
    [b"[" * 100_000, b'{"a":' * 100_000, b"[" * 100_000 + b"]" * 100_000, b'{"iteration": ' + b"9" * 5000 + b"}",
     VERSION_1.replace("17", "1" * 5000).encode(), VERSION_1.replace("17", "1" * 4000).encode(),
     VERSION_1.replace("[0, 1, 7, 2]", "[" * 500 + "]" * 500).encode(),
     VERSION_1.replace("1.5,", "1" * 4000 + ",").encode(), VERSION_1.replace("1.5,", "1e" + "9" * 4000 + ",").encode()],
    ids=["brackets", "objects", "closed", "digits", "digits_inside", "4000_digits", "list", "weight", "exponent"],
)  # fmt: skip
def test_monstrous_json_is_refused(content, tmp_path):
    path = tmp_path / "net.json"
    path.write_bytes(content)
    refused_quickly(path, 1e7)
    refused_quickly(with_member(tmp_path / "net.npz", "header", [npy("|u1", (len(content),), content)]), 1e7)


class Evil:
    def __reduce__(self):
        return os.mkdir, ("executed",)


def test_pickles_are_refused_and_never_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    body = io.BytesIO()
    np.lib.format.write_array(body, np.array([Evil()] * 7, object), allow_pickle=True)
    refused_quickly(with_member(tmp_path / "net.npz", "weight", [body.getvalue()]))
    refused_quickly(with_member(tmp_path / "net.npz", "weight", [pickle.dumps(Evil())]))
    refused_quickly(with_member(tmp_path / "net.npz", "header", [pickle.dumps(Evil())]))
    for suffix in FORMATS:
        (tmp_path / f"raw.{suffix}").write_bytes(pickle.dumps(Evil()))
        refused_quickly(tmp_path / f"raw.{suffix}")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda archive: archive.writestr("weight.npy", b""),
        lambda archive: archive.writestr("more.npy", b""),
        lambda archive: archive.writestr("../weight.npy", b""),
        lambda archive: archive.writestr("weight", b""),
        lambda archive: archive.writestr("folder/", b""),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_other_members_are_refused(change, tmp_path):
    path = written(example(), "npz", tmp_path)
    with zipfile.ZipFile(path, "a") as archive:
        change(archive)
    assert "a header and each known column once" in refused_quickly(path)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_are_refused(compression, tmp_path):
    path = tmp_path / "net.npz"
    with zipfile.ZipFile(written(example(), "npz", tmp_path)) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    assert "stored as they are or deflated" in refused_quickly(path)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("MT19937", lambda state: state["state"].update(pos=10**6)),
        ("MT19937", lambda state: state["state"].update(pos=-5)),
        ("MT19937", lambda state: state["state"]["key"].pop()),
        ("MT19937", lambda state: state["state"]["key"].append(1)),
        ("MT19937", lambda state: state["state"]["key"].__setitem__(3, -1)),
        ("Philox", lambda state: state.update(buffer_pos=10**6)),
        ("Philox", lambda state: state.update(buffer_pos=-1)),
        ("Philox", lambda state: state["buffer"].pop()),
        ("SFC64", lambda state: state["state"].update(state=[1])),
        ("SFC64", lambda state: state.update(uinteger=2**40)),
        ("PCG64", lambda state: state["state"].update(state=2**200)),
        ("PCG64", lambda state: state["state"].update(state="1")),
        ("PCG64", lambda state: state.update(more=1)),
        ("PCG64DXSM", lambda state: state.pop("uinteger")),
    ],
)
def test_states_of_generators_that_numpy_would_take_apart_are_refused(name, change, tmp_path):
    """numpy checks neither lengths nor places: one beyond its buffer reads foreign memory."""
    net = Network.dense([1, 1], seed=0)
    net.rng = np.random.Generator(getattr(np.random, name)(7))
    net.save(tmp_path / "net.json")
    data = json.loads((tmp_path / "net.json").read_text())
    change(data["rng_state"])
    (tmp_path / "net.json").write_text(json.dumps(data))
    refused_quickly(tmp_path / "net.json")
