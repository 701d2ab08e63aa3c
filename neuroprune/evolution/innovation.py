"""Who was named already: the same split gets the same node id everywhere in a run."""

import numpy as np

from neuroprune.network.create import count_of


class Innovations:
    """Ids of the nodes that splits made, by (source id, target id, occurrence).

    The occurrence counts the splits of one pair within a genome: a genome that has the node of the first split gets
    that of the second, so equal ids always mean equal origins (Stanley & Miikkulainen 2002, section 3.2).

    Parameters
    ----------
    next_id : int
        The first id to give; ids that genomes already have are passed over.

    Examples
    --------
    >>> import neuroprune as npr
    >>> innovations = npr.Innovations()
    >>> split = npr.mutation.AddNode(innovations)
    >>> a, b = (npr.Network.from_connections(1, 1, [(0, 1, 0.5)]) for _ in range(2))
    >>> split(a, 0)
    >>> split(b, 1)
    >>> a.nodes.id.tolist() == b.nodes.id.tolist()
    True
    """

    def __init__(self, next_id: int = 0) -> None:
        self.next_id = count_of(next_id, "next_id", 0)
        self._ids: dict[tuple[int, int], list[int]] = {}

    def name(self, source: int, target: int, present: np.ndarray) -> int:
        """The id of the node that splits source -> target in a genome with the ids `present`."""
        known = self._ids.setdefault((source, target), [])
        for node_id in known:
            if not (present == node_id).any():
                return node_id
        node_id = max(self.next_id, int(present.max()) + 1)
        if node_id > np.iinfo(np.int64).max:
            raise ValueError(f"node ids must fit in 64 bits, got {node_id} for the new one: renumber the network")
        self.next_id = node_id + 1
        known.append(node_id)
        return node_id

    def names(self, splits: np.ndarray, present: np.ndarray) -> np.ndarray:
        """Ids for the splits (k, 2) of one genome in order; an id -1 - i in them stands for that of split i."""
        names = np.zeros(len(splits), np.int64)
        for i, (source, target) in enumerate(splits.tolist()):
            ends = [int(names[-1 - end]) if end < 0 else end for end in (source, target)]
            names[i] = self.name(*ends, present)
            present = np.append(present, names[i])
        return names

    def __len__(self) -> int:
        return sum(map(len, self._ids.values()))

    def to_array(self) -> np.ndarray:
        """Rows (source id, target id, node id), int64, occurrences in order."""
        rows = [(*pair, node_id) for pair, ids in self._ids.items() for node_id in ids]
        return np.array(rows, np.int64).reshape(-1, 3)

    @classmethod
    def from_array(cls, rows: np.ndarray, next_id: int) -> "Innovations":
        """The inverse of `to_array`."""
        result = cls(next_id)
        for source, target, node_id in rows.tolist():
            result._ids.setdefault((source, target), []).append(node_id)
        return result

    def __repr__(self) -> str:
        return f"<Innovations: {len(self)} nodes, next id {self.next_id}>"
