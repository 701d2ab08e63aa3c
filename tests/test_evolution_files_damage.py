"""Files that are no populations: refused in one sentence, quickly, with little memory, and never run."""

import io
import math
import os
import pickle
import zipfile

import numpy as np
import pytest

from neuroprune import Network, Population
from neuroprune.evolution import files
from stored_populations import KINDS, assert_equal, check_usable, content, parts, put, refused
from test_files_fuzz import STRANGE


@pytest.mark.parametrize("name", files.HEADER)
def test_every_entry_of_the_header_is_needed(name, tmp_path):
    header, columns = parts("told")
    del header[name]
    refused(put(tmp_path / "a.npz", header, columns))
    refused(put(tmp_path / "a.npz", header | {"more": 1}, columns))


@pytest.mark.parametrize("kind", ["told", "adaptive", "front"])
@pytest.mark.parametrize("name", files.HEADER)
@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")
def test_entries_of_another_kind_are_refused_or_fine(kind, name, tmp_path):
    header, columns = parts(kind)
    accepted = 0
    for value in STRANGE:
        if value == header[name] and type(value) is type(header[name]):
            continue
        path = put(tmp_path / "a.npz", header | {name: value}, columns)
        try:
            population = Population.load(path)
        except ValueError:
            refused(path)
        else:
            accepted += 1
            check_usable(population, tmp_path)
    assert accepted <= (len(STRANGE) if name in ("seed", "removed", "regrown") else 16)
    if name in ("format", "version", "n_inputs", "recurrent", "size", "generation", "evaluations", "pruning"):
        assert accepted <= (name in ("pruning", "version"))  # none, and a version that is True


def changed(name, **entries):
    return lambda header, columns: header[name].update(entries)


def entry(name, value):
    return lambda header, columns: header.__setitem__(name, value)


def number(name, place, value):
    return lambda header, columns: columns[name].__setitem__(place, value)


def column(name, function):
    return lambda header, columns: columns.__setitem__(name, function(columns[name]))


WRONG = {
    "another format": (entry("format", "neuroprune network"), "format must be 'neuroprune population'"),
    "a later version": (entry("version", 2), "version must be 1, got 2: use the neuroprune that wrote it"),
    "a version of letters": (entry("version", "1"), "version must be 1"),
    "an unknown activation": (lambda h, c: h["activations"].__setitem__(0, "tangens"), "got 'tangens'"),
    "an unknown default": (entry("default_activation", "tangens"), "got 'tangens'"),
    "activations of numbers": (entry("activations", [1]), "activations must be a list of names"),
    "no activations": (entry("activations", []), "activation must index 0 names"),
    "recurrent by name only": (entry("recurrent", True), "recurrent must be true or false, and the same"),
    "recurrent in the settings": (changed("settings", recurrent=True), "recurrent must be"),
    "an unknown setting": (changed("settings", colour=1), "known names, got 'colour'"),
    "a setting out of range": (changed("settings", add_node=2.0), "add_node must be in [0, 1]"),
    "a worded setting": (changed("settings", add_node="0.5"), "add_node must be a number"),
    "settings of a list": (entry("settings", [1]), "settings must be a mapping"),
    "one genome more": (entry("size", 13), "evaluations must be 13 for each"),
    "one generation more": (entry("generation", 5), "evaluations must be"),
    "no evaluations": (entry("evaluations", 0), "evaluations must be 12 for each of 4 generations"),
    "a size of one": (entry("size", 1), "size must be an integer of at least 2"),
    "a negative seed": (entry("seed", -1), "seed must be an integer of at least 0"),
    "a seed beyond 63 bits": (entry("seed", 2**63), "seed must be at most"),
    "an infinite threshold": (entry("threshold", math.inf), "threshold must be a finite number"),
    "a threshold of zero": (entry("threshold", 0.0), "threshold must be a finite number"),
    "a threshold that is none": (entry("threshold", math.nan), "threshold must be a finite number"),
    "a level above one": (entry("level", 1.5), "level must be a finite number in [0.0, 1.0]"),
    "a negative mean": (entry("mean_connections", -1.0), "mean_connections must be a finite number"),
    "an infinite best": (entry("best_fitness", math.inf), "best_fitness must be a finite number"),
    "a best of letters": (entry("best_fitness", "1"), "best_fitness must be a finite number"),
    "a best of the future": (entry("best_place", [4, 0]), "best_place must be at most 3"),
    "a best beyond the last": (entry("best_place", [0, 12]), "best_place must be at most 11"),
    "half a place": (entry("best_place", [0]), "best_place must be a generation and an index"),
    "old or not": (entry("best_is_old", 0), "best_is_old must be true or false"),
    "more removed than counts": (entry("removed", 2**53 + 1), "removed must be at most"),
    "one objective": (entry("objectives", ["fitness"]), "objectives must be"),
    "unknown objectives": (entry("objectives", ["fitness", "speed"]), "objectives must be"),
    "objectives with species": (entry("objectives", ["fitness", "nodes"]), "a species for each of 0 genomes"),
    "a pruning of no kind": (entry("pruning", {"target_sparsity": 0.5}), "pruning must be of the kind"),
    "a pruning of another kind": (entry("pruning", {"kind": "cosmic"}), "pruning must be of the kind"),
    "a pruning without a target": (entry("pruning", {"kind": "adaptive"}), "target_sparsity"),
    "a pruning with more": (entry("pruning", {"kind": "adaptive", "target_sparsity": 0.5, "colour": 1}), "colour"),
    "a pruning beyond all": (entry("pruning", {"kind": "adaptive", "target_sparsity": 2.0}), "in [0, 1]"),
    "a pruning that needs a signal": (entry("pruning", {"kind": "generation", "target_sparsity": 0.5,
                                                        "method": "gradient"}), "must need no signal"),
    "a pruning by a number": (entry("pruning", {"kind": "generation", "target_sparsity": 0.5, "method": 3}), "method"),
    "names that may come again": (entry("next_node", 2), "next_node must be above all ids"),
    "a species that may come again": (entry("next_species", 0), "stay below next_species"),
    "fewer species": (column("species_ids", lambda c: c[:-1]), "the columns of species must have one length"),
    "a species twice": (column("species_ids", lambda c: c * 0), "ids of species must ascend"),
    "a negative species": (column("species_ids", lambda c: c - 1 - c.max()), "ids of species must ascend"),
    "an improvement before": (column("species_improved", lambda c: c * 0 - 1), "created before they improve"),
    "an improvement to come": (number("species_improved", 0, 5), "created before they improve"),
    "a creation to come": (number("species_created", 0, 5), "created before they improve"),
    "a creation before all": (number("species_created", 0, -1), "created before they improve"),
    "a species of no best": (number("species_best", 0, math.nan), "a species for each"),
    "a species beyond all": (number("species_best", 0, math.inf), "created before they improve"),
    "a genome of no species": (number("assigned", 3, -1), "assigned must be rows"),
    "a genome of another species": (number("assigned", 3, 2**40), "assigned must be rows"),
    "fewer assigned": (column("assigned", lambda c: c[:-1]), "a species for each of 12 genomes"),
    "a fitness too few": (column("fitness", lambda c: c[:-1]), "fitness must be 12 numbers"),
    "a fitness beyond all": (number("fitness", 0, math.inf), "fitness must be 12 numbers"),
    "innovations of two": (column("innovations", lambda c: np.ones((4, 2), np.int64)), "rows of three ids"),
    "negative innovations": (column("innovations", lambda c: np.full((1, 3), -1)), "rows of three ids"),
    "one name for two": (column("innovations", lambda c: np.array([[0, 2, 3], [1, 2, 3]])), "is there once"),
    "a history too short": (column("history", lambda c: c[:-1]), "history must have a row for each of 4 generations"),
    "a history in disorder": (column("history", lambda c: c[::-1]), "history must have a row for each"),
    "a history too narrow": (column("history", lambda c: c[:, :-1]), "history must have 21 columns, got 20"),
    "half a generation": (number("history", (1, 1), 0.5), "history must have whole numbers"),
    "evaluations of no number": (number("history", (1, 1), math.nan), "history must have whole numbers"),
    "evaluations beyond all": (number("history", (1, 1), 1e300), "history must have whole numbers"),
    "half a member": (number("species_sizes", (0, 2), 0.5), "species_sizes must have whole numbers"),
    "a node too many": (number("genomes.n_nodes", 0, 4), "as many nodes and connections as its counts say"),
    "no nodes": (number("genomes.n_nodes", 0, 0), "at least one genome of from 1"),
    "negative edges": (number("genomes.n_edges", 0, -1), "at least one genome of from 1"),
    "huge genomes": (number("genomes.n_nodes", 0, 2**62), "at least one genome of from 1"),
    "exchanged counts": (lambda h, c: c["genomes.n_nodes"].__iadd__([1, -1, *[0] * 10]), "must"),
    "a strange input": (number("genomes.ids", 0, 1), "must be legal networks, got genome 0 that is not"),
    "a strange output": (number("best.ids", 2, 1), "best must be legal networks"),
    "no place to read": (number("genomes.source", 1, 2**30), "must be legal networks"),
    "a place before all": (number("representatives.source", 0, -1), "source must be positions"),
    "a slice beyond": (number("genomes.incoming", 3, 2**40), "must be legal networks"),
    "a weight of no number": (number("genomes.parameters", 0, math.nan), "genomes.parameters must be finite"),
    "an activation too far": (number("genomes.activation", 2, 9), "genomes.activation must index"),
    "a negative baseline": (number("genomes.baseline", 0, -1), "must be legal networks"),
    "a baseline too few": (column("genomes.baseline", lambda c: c[:-1]), "genomes.baseline must have shape"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_contents_that_do_not_fit_are_refused(name, tmp_path):
    header, columns = parts("told")
    change, words = WRONG[name]
    change(header, columns)
    refused(put(tmp_path / "a.npz", header, columns), words)


def test_the_parts_themselves_are_fine(tmp_path):
    for kind in KINDS:
        assert_equal(Population.load(put(tmp_path / "a.npz", *parts(kind))), KINDS[kind]())


@pytest.mark.parametrize("kind", ["told", "adaptive"])
def test_every_column_is_needed_whole_and_of_its_type(kind, tmp_path):
    header, columns = parts(kind)
    path = tmp_path / "a.npz"
    others = {"i": np.float64, "f": np.float32, "u": np.int64, "b": np.uint8}
    for name, whole in columns.items():
        rest = {other: one for other, one in columns.items() if other != name}
        if name == "fitness":
            Population.load(put(path, header, rest))  # not told yet
        else:
            refused(put(path, header, rest))
        refused(put(path, header, rest | {name: whole.astype(others[whole.dtype.kind])}), f"{name!r} must be an array")
        refused(put(path, header, rest | {name: whole.astype(whole.dtype.newbyteorder(">"))
                                          if whole.dtype.itemsize > 1 else whole.astype("S1")}), "must be an array")
        refused(put(path, header, rest | {name: whole[None] if whole.ndim == 1 else whole[:, 0]}), "axes, got shape")
        if whole.size and name not in ("innovations", "species_sizes"):
            refused(put(path, header, rest | {name: whole[:-1]}))
        if name not in ("innovations", "species_sizes"):
            refused(put(path, header, rest | {name: np.concatenate([whole, whole[-1:]])}))
    refused(put(path, header, columns | {"more": np.zeros(3)}), "a header and each known column once")
    if kind == "told":
        delayed = np.zeros(columns["genomes.source"].size, bool)
        refused(put(path, header, columns | {"genomes.delayed": delayed}), "delayed exactly when it is recurrent")


# ---------------------------------------------------------------- what claims too much, or would run


def npy(descr, shape, body=b""):
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + body


def with_member(path, name, *pieces):
    """Write the file of kind "told" with one member replaced by raw bytes."""
    with zipfile.ZipFile(io.BytesIO(content("told"))) as whole, zipfile.ZipFile(path, "w", 8) as archive:
        for info in whole.infolist():
            with archive.open(info.filename, "w") as member:
                member.writelines(pieces if info.filename == f"{name}.npy" else [whole.read(info)])
    return path


def test_bombs_are_refused_before_they_go_off(tmp_path):
    path, zeros = tmp_path / "a.npz", bytes(1_000_000)
    for name, descr in (("genomes.ids", "<i8"), ("fitness", "<f8"), ("header", "|u1")):
        count = 100_000_000 // int(descr[-1])
        with_member(path, name, npy(descr, (count,)), *[zeros] * 100)
        assert "the columns must have at most 67108864 bytes" in refused(path, most=3e6)
    for shape in ((10**15,), (10**17,), (2**62,), (0,), (11,), (), (-12,)):
        refused(with_member(path, "fitness", npy("<f8", shape, bytes(96))), "the column 'fitness' must", most=3e6)
    for shape in ((10**9, 10**9), (0, 10**17), (2**32, 2**32)):
        refused(with_member(path, "history", npy("<f8", shape, bytes(96))), "'history' must", most=3e6)


@pytest.mark.parametrize("name", ["size", "generation", "n_inputs", "n_outputs", "next_node", "evaluations"])
def test_huge_claims_of_the_header_are_refused(name, tmp_path):
    header, columns = parts("told")
    for value in (2**31 - 1, 2**40, 2**62, 2**63 - 1, 2**63, 10**40, "1" * 10**6, [[]] * 10**5):
        if name != "next_node" or value not in (2**31 - 1, 2**40, 2**62, 2**63 - 1, 2**63):
            refused(put(tmp_path / "a.npz", header | {name: value}, columns), most=3e7)


@pytest.mark.parametrize("text", [b"", b"[]", b"3", b"null", b"{}", b"{", b"\xff\xfe", b"[" * 10**5, b'{"a":' * 10**5,
                                  b'{"size": ' + b"9" * 5000 + b"}", b'{"format": 1, "format": 1}'])
def test_headers_that_are_no_object_are_refused(text, tmp_path):
    refused(put(tmp_path / "a.npz", text, parts("told")[1]), most=3e7)


class Evil:
    def __reduce__(self):
        return os.mkdir, ("executed",)


def test_pickles_are_refused_and_never_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    body = io.BytesIO()
    np.lib.format.write_array(body, np.array([Evil()] * 12, object), allow_pickle=True)
    path = tmp_path / "a.npz"
    refused(with_member(path, "fitness", body.getvalue()))
    refused(with_member(path, "fitness", pickle.dumps(Evil())))
    refused(with_member(path, "header", pickle.dumps(Evil())))
    path.write_bytes(pickle.dumps(Evil()))
    refused(path)
    assert not (tmp_path / "executed").exists()


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", ["fitness.npy", "more.npy", "../fitness.npy", "fitness", "folder/"])
def test_other_members_are_refused(name, tmp_path):
    (tmp_path / "a.npz").write_bytes(content("told"))
    with zipfile.ZipFile(tmp_path / "a.npz", "a") as archive:
        archive.writestr(name, b"")
    refused(tmp_path / "a.npz", "a header and each known column once")


def test_the_file_of_a_network_is_no_population_and_the_other_way_round(tmp_path):
    Network.dense([2, 1], seed=0).save(tmp_path / "a.npz")
    refused(tmp_path / "a.npz")
    (tmp_path / "a.npz").write_bytes(content("told"))
    with pytest.raises(ValueError, match="must be a network written by net.save"):
        Network.load(tmp_path / "a.npz")
