"""Where the parts of a network stand in a picture, in any units, y upwards; the same for every kind of picture."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from neuroprune.network.graph import Graph
    from neuroprune.network.network import Network

MAX_BOXES = 7
MAX_BUNDLES = 18
FEW = 5  # boxes, up to which there is room for wide arrows and long words
SWEEPS = 8  # of ordering nodes by their neighbours; more change little
BEND = 0.16  # how far the middle of a bent curve stands off, as a share of its length


def dead(graph: "Graph") -> np.ndarray:
    """Hidden nodes that reach no output or that no input reaches, bool (N,)."""
    result = ~(graph.reaches_output & graph.reached_from_input)
    result[:graph.n_inputs] = result[graph.n_nodes - graph.n_outputs:] = False
    return result


def unused(graph: "Graph") -> np.ndarray:
    """Inputs that reach no output, bool (N,)."""
    result = ~graph.reaches_output
    result[graph.n_inputs:] = False
    return result


def captions(net: "Network") -> list[str]:
    """The counts of a network in words: size, then state."""
    graph = net.graph
    n_dead, n_unused = np.count_nonzero(dead(graph)), np.count_nonzero(unused(graph))
    size = (f"{counted(graph.n_inputs, 'input')}, {graph.n_hidden:,} hidden, {counted(graph.n_outputs, 'output')}, "
            f"{counted(graph.n_connections, 'connection')}")
    state = f"sparsity {100 * net.sparsity:.4g}%"
    if graph.recurrent:
        state += f", {np.count_nonzero(graph.delayed):,} delayed"
    state += f", {counted(n_dead, 'dead hidden node')}"
    return [size, state + (f", {counted(n_unused, 'unused input')}" if n_unused else "")]


def counted(number: int, word: str) -> str:
    """'1 input', '1,200 inputs'."""
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"


def columns(graph: "Graph") -> np.ndarray:
    """Column of each node, int64 (N,): 0 for inputs, the depth for hidden nodes, one more than theirs for outputs.

    A hidden node that nothing feeds has no depth of its own: it stands with the node before it in activation order,
    but left of what it feeds where that is possible.
    """
    column = graph.depth.copy()
    hidden = slice(graph.n_inputs, graph.n_nodes - graph.n_outputs)
    last = max(int(column[hidden].max(initial=0)), min(graph.n_hidden, 1)) + 1
    column[:graph.n_inputs] = 0
    column[hidden.stop:] = last
    idle = column == 0
    idle[:graph.n_inputs] = False
    if idle.any():
        before = column[np.maximum.accumulate(np.where(idle, 0, np.arange(column.size)))]
        first = np.full(column.size, last)
        feeds = idle[graph.source]
        np.minimum.at(first, graph.source[feeds], column[graph.target[feeds]])
        column[idle] = np.maximum(np.minimum(before, first - 1), 1)[idle]
    return column


def heights(graph: "Graph", column: np.ndarray) -> np.ndarray:
    """Height of each node in (0, 1): inputs and outputs from the top, hidden nodes near those they are joined to."""
    n = column.size
    source, target, place = graph.source, graph.target, np.arange(n)
    degree = np.bincount(source, minlength=n) + np.bincount(target, minlength=n)
    free = degree > 0
    free[:graph.n_inputs] = free[n - graph.n_outputs:] = False
    sizes, rank = np.bincount(column), np.sort(column)
    rungs = 1.0 - (place - (np.cumsum(sizes) - sizes)[rank] + 0.5) / sizes[rank]
    height = np.empty(n)
    height[np.lexsort((place, column))] = rungs
    for _ in range(SWEEPS):
        near = np.bincount(source, height[target], n) + np.bincount(target, height[source], n)
        wish = np.where(free, near / np.maximum(degree, 1), height).round(9)  # equal wishes keep the order
        height[np.lexsort((place, -wish, column))] = rungs
    return height


def curves(graph: "Graph", column: np.ndarray, points: np.ndarray, loop: float) -> np.ndarray:
    """Control points (E, 4, 2) of a cubic curve for each connection between nodes at `points` (N, 2).

    Straight between neighbouring columns; bent away from the middle where it passes over a column; delayed ones keep
    to the left of their way, so they are above when they go right and below when they go left. `loop` is the size of
    a connection from a node to itself.
    """
    source, target = graph.source, graph.target
    delayed = np.zeros(source.size, np.bool_) if graph.delayed is None else graph.delayed
    start, end = points[source], points[target]
    way = end - start
    middle = (points[:, 1].min() + points[:, 1].max()) / 2
    outward = np.where((start + end)[:, 1] / 2 >= middle, BEND, -BEND)
    bend = np.where(delayed, BEND, np.where(column[target] - column[source] != 1, outward, 0.0))
    aside = 4 / 3 * bend[:, None] * np.stack([-way[:, 1], way[:, 0]], 1)
    result = np.stack([start, start + way / 4 + aside, end - way / 4 + aside, end], 1)
    result[source == target, 1:3] += [(-loop, 1.6 * loop), (loop, 1.6 * loop)]
    return result


def extent(curves: np.ndarray, height: float) -> tuple[float, float]:
    """Lowest and highest y of a picture of this height whose curves may stand out."""
    middle = curves[:, :, 1] @ (0.125, 0.375, 0.375, 0.125)
    return min(0.0, float(middle.min(initial=0.0))) - 4.0, max(height, float(middle.max(initial=0.0))) + 4.0


@dataclass(frozen=True)
class Box:
    """The nodes of one depth, or of a range of them."""

    left: float
    bottom: float
    width: float
    height: float
    kind: str
    label: str
    nodes: int
    idle: int  # dead, or unused inputs
    inside: int  # connections between two of its nodes

    @property
    def notes(self) -> list[str]:
        """What stands under it, a line each."""
        idle = [f"{self.idle:,} {'unused' if self.kind == 'input' else 'dead'}"] if self.idle else []
        return [self.label, *idle, *([f"{self.inside:,} inside"] if self.inside else [])]


@dataclass(frozen=True)
class Bundle:
    """The connections from the nodes of one box to those of another."""

    curve: np.ndarray  # (4, 2), ends at the arrowhead
    head: np.ndarray  # (3, 2)
    thickness: float
    delayed: bool
    count: int
    density: float  # share of the pairs of nodes
    strength: float  # mean |weight|
    label: list[str]  # its lines
    label_at: tuple[float, float]  # middle of the lower edge


@dataclass(frozen=True)
class Summary:
    """A large network as boxes and bundles."""

    boxes: list[Box]
    bundles: list[Bundle]
    left_out: int  # bundles that are too many to show
    bottom: float
    top: float


def summary(graph: "Graph", weight: np.ndarray, width: float, height: float, text: float) -> Summary:
    """One box for each depth from left to right, in `width` x `height`; `text` is the height of a line of it.

    Where there are more than MAX_BOXES depths, hidden ones that follow each other share a box; of more than
    MAX_BUNDLES bundles the largest are shown, and the largest into and out of each box in any case.
    """
    column = columns(graph)
    last = int(column[-1])
    inner = min(last - 1, max(min(MAX_BOXES, int(width / (6 * text))) - 2, 1))
    box_of = np.concatenate([[0], 1 + np.arange(last - 1) * inner // max(last - 1, 1), [inner + 1]])
    group, count = box_of[column], inner + 2
    table = _between(graph, weight, group, count)
    sizes = np.bincount(group, minlength=count)
    idle = np.bincount(group[dead(graph) | unused(graph)], minlength=count)
    inside = np.bincount(table[:, 0].astype(np.int64), table[:, 3] * (table[:, 0] == table[:, 1]), count).astype(int)
    table = table[table[:, 0] != table[:, 1]]
    shown = table[_largest(table)]
    span, late = shown[:, 1] - shown[:, 0], shown[:, 2] == 1
    floor = -(1.2 * (1 + np.max((idle > 0).astype(int) + (inside > 0))) + 0.6) * text
    up, down = span[~late & (span > 1)].max(initial=1.0) - 1, np.abs(span[late]).max(initial=0.0)
    ends = (0.5 + 1.7 * (up > 0) + 0.5 + 1.7 * (down > 0)) * text  # the outermost labels
    step = float(np.clip((height + floor - ends - 7 * text) / max(up + down, 1), 0.8 * text, 2.4 * text))
    high = max(height + floor - ends - step * (up + down), 4 * text)
    wide = width * min(0.4 / (count - 0.6), 0.15)
    boxes = []
    for i in range(count):
        depths = np.flatnonzero(box_of == i)
        kind = "input" if i == 0 else "output" if i == count - 1 else "hidden"
        label = f"{depths[0]}" if depths.size == 1 else f"{depths[0]}-{depths[-1]}"
        label = f"{kind}s" if kind != "hidden" else label if count > FEW else f"depth {label}"
        tall = high * (0.34 + 0.66 * np.sqrt(sizes[i] / sizes.max()))
        boxes.append(Box(i * (width - wide) / (count - 1), (high - tall) / 2, wide, tall, kind, label,
                         int(sizes[i]), int(idle[i]), int(inside[i])))
    bundles = [_bundle(boxes, row, table[:, 3].max(), floor, high, step, text) for row in shown]
    return Summary(boxes, bundles, len(table) - len(bundles), floor - (0.5 + 1.7 * (down > 0)) * text - step * down,
                   high + (0.5 + 1.7 * (up > 0)) * text + step * up)


def _between(graph: "Graph", weight: np.ndarray, group: np.ndarray, count: int) -> np.ndarray:
    """Rows (source box, target box, delayed, connections, density, mean |weight|) of all bundles there are."""
    key = group[graph.source] * count + group[graph.target]
    if graph.delayed is not None:
        key = key + count * count * graph.delayed
    total = np.bincount(key, minlength=2 * count * count)
    limit = float(np.abs(weight).max(initial=0.0)) or 1.0  # sums of shares do not overflow
    strength = limit * (np.bincount(key, np.abs(weight) / limit, total.size) / np.maximum(total, 1))
    rows = np.flatnonzero(total)
    late, source, target = rows // count**2, rows // count % count, rows % count
    sizes = np.bincount(group, minlength=count)
    pairs = sizes[source] * sizes[target]
    return np.stack([source, target, late, total[rows], total[rows] / pairs, strength[rows]], 1)


def _largest(table: np.ndarray) -> np.ndarray:
    """Rows of the bundles to show, in order."""
    rows = np.argsort(-table[:, 3], kind="stable")
    firsts = [np.unique(table[rows, end], return_index=True)[1] for end in (0, 1)]
    needed = np.unique(np.concatenate(firsts))
    others = np.setdiff1d(np.arange(rows.size), needed)
    return np.sort(rows[np.concatenate([needed, others[:max(MAX_BUNDLES - needed.size, 0)]])])


def _bundle(boxes: list[Box], row: np.ndarray, most: float, floor: float, height: float, step: float,
            text: float) -> Bundle:
    """Straight between neighbours, else over the boxes (up to `height`), and under them (from `floor`) where delayed.

    The farther apart two boxes are, the farther off, by `step`, is the middle of their arc, where its label stands.
    """
    span, late = int(row[1] - row[0]), bool(row[2])
    source, target = boxes[int(row[0])], boxes[int(row[1])]
    thickness = 0.8 + (7.0 if len(boxes) <= FEW else 3.5) * float(np.sqrt(row[3] / most))
    head = 4.0 + 1.2 * thickness
    percent = 100 * row[4]
    label = [f"{int(row[3]):,}", f"{percent:.3g}%" if percent >= 1 else f"{percent:.2g}%"]
    if span == 1 and not late:
        way, level = np.array([1.0, 0.0]), height / 2
        start, end = np.array([source.left + source.width, level]), np.array([target.left, level])
        tip = end - head * way
        curve = np.stack([start, start + (tip - start) / 3, tip - (tip - start) / 3, tip])
        peak = level + thickness / 2 + 0.3 * text
    else:
        label = [", ".join(label)]
        side, shift = (-1.0 if late else 1.0), 0.2 * np.sign(span)
        way = np.array([0.0, -side])
        start, end = (np.array([box.left + box.width * (0.5 + off), floor if late else box.bottom + box.height])
                      for box, off in ((source, shift), (target, -shift)))
        tip = end - head * way
        peak = (floor if late else height) + side * (0.6 * text + step * (abs(span) - (not late)))
        level = (8 * peak - start[1] - tip[1]) / 6
        curve = np.array([start, (start[0], level), (end[0], level), tip])
        peak -= 0.5 * text  # its label stands on the line
    aside = 0.55 * head * np.array([-way[1], way[0]])
    return Bundle(curve, np.stack([end, tip + aside, tip - aside]), thickness, late, int(row[3]), float(row[4]),
                  float(row[5]), label, (float((start + tip)[0] / 2), float(peak)))
