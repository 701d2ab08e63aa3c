"""How a network grew: a film whose frames are pictures of networks."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from neuroprune.network.network import Network
from neuroprune.plot import canvas, drawing, layout

if TYPE_CHECKING:
    from matplotlib.animation import FuncAnimation
    from matplotlib.axes import Axes


def growth(networks: Iterable[Network], generations: Sequence[int] | None = None, interval: int = 400,
           ax: "Axes | None" = None, **options: Any) -> "FuncAnimation":
    """A film of networks, such as the best one of each generation; a network equal to the one before is no new frame.

    In a notebook end a cell with `HTML(plot.growth(networks).to_jshtml())` (`HTML` from `IPython.display`), which
    needs no further program; `.save("growth.gif")` writes a file.

    Parameters
    ----------
    networks : iterable of Networks
        Collect them with a callback: `population.evolve(..., callback=lambda p: networks.append(p.best))`; `best` is
        a copy.
    generations : sequence of int, optional
        Their numbers, for the captions; by default counted from 0.
    interval : int
        Milliseconds of a frame, at least 1.
    ax : matplotlib Axes, optional
        By default on a new figure that pyplot does not know.
    **options
        Further arguments of `plot.network`, such as `max_connections`.

    Returns
    -------
    matplotlib.animation.FuncAnimation
        Keep it until it is shown or saved: matplotlib warns of one that is dropped before.

    Raises
    ------
    ValueError
        When there is no network, or there are more or fewer generations than networks.
    TypeError
        When one is not a Network.
    ImportError
        When matplotlib is not installed.

    Examples
    --------
    >>> import neuroprune as npr
    >>> from neuroprune import plot
    >>> net = npr.Network.dense([2, 1], seed=0)
    >>> networks = [net.copy(), net.copy()]
    >>> _ = net.add_node(0, 2)
    >>> film = plot.growth([*networks, net])
    >>> film.to_jshtml().count('data:image/png')  # the second network is equal to the first
    2
    """
    networks = list(networks)
    if not networks:
        raise ValueError("networks must be at least one, got none: collect population.best in a callback")
    for net in networks:
        if not isinstance(net, Network):
            raise TypeError(f"networks must be Networks, got {type(net).__name__}")
    if isinstance(interval, bool) or not isinstance(interval, int) or interval < 1:
        raise ValueError(f"interval must be an integer of at least 1, got {interval!r}")
    generations = list(range(len(networks)) if generations is None else generations)
    if len(generations) != len(networks):
        raise ValueError(f"generations must be {len(networks)}, one for each network, got {len(generations)}")
    ax = canvas.axes(ax, 7.0, 4.4)
    from matplotlib.animation import FuncAnimation

    frames = [i for i, net in enumerate(networks) if i == 0 or not net.equals(networks[i - 1])]

    def draw(i: int) -> list:
        ax.clear()
        drawing.network(networks[i], ax=ax, **{"colorbar": False, **options})
        ax.set_title(f"generation {generations[i]}: {caption(networks[i])}", fontsize=9.5, color=canvas.INK)
        return []

    return FuncAnimation(ax.figure, draw, frames=frames, init_func=list, interval=interval, cache_frame_data=False)


def caption(net: Network) -> str:
    """Hidden nodes and connections in words.

    Examples
    --------
    >>> import neuroprune as npr
    >>> from neuroprune.plot.film import caption
    >>> caption(npr.Network.dense([2, 3, 1], seed=0))
    '3 hidden, 9 connections'
    """
    return f"{net.graph.n_hidden:,} hidden, {layout.counted(net.graph.n_connections, 'connection')}"
