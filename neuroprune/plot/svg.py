"""A network as a small picture for notebooks: one string of SVG, made without matplotlib."""

from html import escape
from typing import TYPE_CHECKING

import numpy as np

from neuroprune.plot import canvas, layout

if TYPE_CHECKING:
    from neuroprune.network.network import Network

MAX_CONNECTIONS, MAX_NODES = 500, 150
WIDTH, HEIGHT, MARGIN, HEAD, FOOT = 640.0, 240.0, 28.0, 44.0, 26.0


def network_svg(net: "Network") -> str:
    """Draw a network as self-contained SVG of at most 200 kB, with its counts; what `_repr_html_` shows.

    Colours, columns and dashes mean the same as in `plot.network`; a network of more than 500 connections or 150
    nodes is summarised. Pointing at a node or a connection tells its numbers. The same network gives the same string.

    Examples
    --------
    >>> import neuroprune as npr
    >>> from neuroprune import plot
    >>> text = plot.network_svg(npr.Network.dense([2, 3, 1], seed=0))
    >>> text[:4], text.count("<path"), text.count("<circle")
    ('<svg', 9, 6)
    """
    graph, weight = net.graph, net.connections.weight
    captions = layout.captions(net)
    finite = np.isfinite(weight)
    if not finite.all():
        captions[1] += f", {layout.counted(np.count_nonzero(~finite), 'weight')} not finite"
        weight = np.where(finite, weight, 0.0)
    if graph.n_connections <= MAX_CONNECTIONS and graph.n_nodes <= MAX_NODES:
        parts, height = _all(net, weight)
    else:
        parts, height, left_out = _summary(net, weight)
        captions[1] += f", {layout.counted(left_out, 'smaller bundle')} left out" if left_out else ""
    size, state = (escape(caption) for caption in captions)
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:g} {height:.1f}" width="{WIDTH:g}" '
            f'style="max-width:100%" font-family="sans-serif" font-size="10" '
            f'fill="{canvas.INK}" text-anchor="middle" role="img" aria-label="{size}, {state}">'
            f'<rect width="100%" height="100%" rx="6" fill="#fff"/>'
            f'<text x="{WIDTH / 2:g}" y="17" font-size="12">{size}</text>'
            f'<text x="{WIDTH / 2:g}" y="32" fill="#6b747c">{state}</text>{"".join(parts)}</svg>')


def _all(net: "Network", weight: np.ndarray) -> tuple[list[str], float]:
    """Every connection and node, and the height of the picture."""
    graph = net.graph
    column = layout.columns(graph)
    inner = WIDTH - 2 * MARGIN
    sizes = np.bincount(column)
    height = min(36.0 * sizes.max() + 24.0, HEIGHT)
    points = np.stack([column * inner / column[-1], layout.heights(graph, column) * height], 1)
    radius = np.clip(np.minimum(0.4 * height / sizes, 0.25 * inner / column[-1]), 1.5, 10.0)[column]
    curves = layout.curves(graph, column, points, 28.0)
    bottom, top = layout.extent(curves, height)
    curves, points = _flipped(curves, top), _flipped(points, top)
    foot = HEAD + top - bottom + 14
    step = int(np.ceil(24.0 * column[-1] / inner))
    words = [(0, "inputs"), *((d, str(d)) for d in range(step, int(column[-1]) - step // 2, step)),
             (int(column[-1]), "outputs")]
    parts = [_connections(net, weight, curves), _nodes(net, points, radius)]
    parts += [f'<text x="{MARGIN + d * inner / column[-1]:.1f}" y="{foot:.1f}" fill="{canvas.FAINT}">{word}</text>'
              for d, word in words]
    return parts, foot + FOOT - 14


def _flipped(points: np.ndarray, top: float) -> np.ndarray:
    """From units with y upwards to those of the SVG."""
    return points * (1.0, -1.0) + (MARGIN, HEAD + top)


def _path(curve: np.ndarray) -> str:
    return "M{:.1f} {:.1f}C{:.1f} {:.1f} {:.1f} {:.1f} {:.1f} {:.1f}".format(*curve.ravel().tolist())


def _connections(net: "Network", weight: np.ndarray, curves: np.ndarray) -> str:
    """One path for each, weak ones first."""
    rows = net.connections
    source, target, value, late = (column.tolist() for column in (rows.source, rows.target, rows.weight, rows.delayed))
    share = (weight / (float(np.abs(weight).max(initial=0.0)) or 1.0)).tolist()
    most = 3.0 * min(60 / max(weight.size, 1), 1.0) ** 0.35
    lines = []
    for i in np.argsort(np.abs(weight), kind="stable").tolist():
        colour = canvas.mix(0.5 + 0.5 * share[i], canvas.NEGATIVE, canvas.ZERO, canvas.POSITIVE)
        thick = 0.15 * most + 0.2 + most * abs(share[i])
        dashes = f' stroke-dasharray="{3 + 2 * thick:.1f} {2 + thick:.1f}"' if late[i] else ""
        lines.append(f'<path d="{_path(curves[i])}" stroke="{colour}" stroke-width="{thick:.2f}"{dashes}><title>'
                     f'{source[i]} to {target[i]}, weight {value[i]:.4g}'
                     f'{", delayed" if late[i] else ""}</title></path>')
    return f'<g fill="none">{"".join(lines)}</g>'


def _nodes(net: "Network", points: np.ndarray, radius: np.ndarray) -> str:
    """One circle for each, with its id where there is room; hollow when dead."""
    graph, nodes = net.graph, net.nodes
    dead, unused = layout.dead(graph), layout.unused(graph)
    marks = []
    rows = zip(points.tolist(), radius.tolist(), nodes.id.tolist(), nodes.kind.tolist(), nodes.activation.tolist(),
               nodes.bias.tolist(), (dead | unused).tolist(), strict=True)
    for (x, y), r, name, kind, activation, bias, hollow in rows:
        colour = canvas.DEAD if hollow and kind == "hidden" else canvas.KIND[kind]
        fill, edge, ink = ("#fff", colour, canvas.INK) if hollow else (colour, "#fff", "#fff")
        told = "" if kind == "input" else f", {escape(activation)}, bias {bias:.4g}"
        state = (", unused" if kind == "input" else ", dead") if hollow else ""
        marks.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r:.1f}" fill="{fill}" stroke="{edge}" stroke-width="1.2">'
                     f'<title>{kind} {name}{told}{state}</title></circle>')
        if r >= 6.0 and len(str(name)) <= 4:
            size = min(9.0, 1.1 * r, 3.0 * r / len(str(name)))
            marks.append(f'<text x="{x:.1f}" y="{y + 0.36 * size:.1f}" font-size="{size:.1f}" fill="{ink}" '
                         f'pointer-events="none">{name}</text>')
    return "".join(marks)


def _summary(net: "Network", weight: np.ndarray) -> tuple[list[str], float, int]:
    """Boxes and bundles, the height of the picture, and how many bundles are left out."""
    arcs = net.graph.recurrent or int(net.graph.depth.max()) >= layout.FEW
    picture = layout.summary(net.graph, weight, WIDTH - 2 * MARGIN, HEIGHT + 90.0 * arcs, 11.0)
    strongest = max((bundle.strength for bundle in picture.bundles), default=0.0) or 1.0
    parts, labels = [], []
    for bundle in picture.bundles:
        colour = canvas.mix(bundle.strength / strongest, canvas.WEAK, canvas.STRONG)
        dashes = ' stroke-dasharray="6 3"' if bundle.delayed else ""
        head = " ".join(f"{x:.1f},{y:.1f}" for x, y in _flipped(bundle.head, picture.top).tolist())
        parts.append(f'<path d="{_path(_flipped(bundle.curve, picture.top))}" fill="none" stroke="{colour}" '
                     f'stroke-width="{bundle.thickness:.1f}"{dashes}><title>{bundle.count:,} connections, '
                     f'mean |weight| {bundle.strength:.3g}</title></path><polygon points="{head}" fill="{colour}"/>')
        at = np.array(bundle.label_at) + [(0.0, 10.0 * i + 2.0) for i in reversed(range(len(bundle.label)))]
        labels += [f'<text x="{x:.1f}" y="{y:.1f}" font-size="9" stroke="#fff" stroke-width="4" '
                   f'paint-order="stroke">{line}</text>'
                   for (x, y), line in zip(_flipped(at, picture.top).tolist(), bundle.label, strict=True)]
    for box in picture.boxes:
        colour, share = canvas.KIND[box.kind], box.idle / box.nodes
        left, top = _flipped(np.array([box.left, box.bottom + box.height]), picture.top).tolist()
        middle, ground = left + box.width / 2, HEAD + picture.top
        parts.append(f'<rect x="{left:.1f}" y="{top:.1f}" width="{box.width:.1f}" height="{box.height:.1f}" '
                     f'fill="#fff" stroke="{colour}"/><rect x="{left:.1f}" y="{top:.1f}" width="{box.width:.1f}" '
                     f'height="{(1 - share) * box.height:.1f}" fill="{colour}"/>'
                     f'<text x="{middle:.1f}" y="{top + box.height / 2 + 4:.1f}" font-weight="bold" '
                     f'fill="{"#fff" if share < 0.5 else canvas.INK}">{box.nodes:,}</text>')
        labels += [f'<text x="{middle:.1f}" y="{ground + 14 + 12 * i:.1f}">{line}</text>'
                   for i, line in enumerate(box.notes)]
    return parts + labels, HEAD + picture.top - picture.bottom + 8, picture.left_out
