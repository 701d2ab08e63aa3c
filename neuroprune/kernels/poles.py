"""Poles hinged on a cart that is pushed by a network: many carts step together, each with a network of its own.

The state of a cart is six numbers: position and velocity of the cart, angle and angular velocity of the long pole, the
same of the short one, in m, m/s, rad and rad/s. Poles are uniform rods of half length l, angles count from the
vertical. The equations are those of Wieland (1991), "Evolving neural network controllers for unstable systems":

    x'' = (F - MU_C sgn x' + sum_i f_i) / (M + sum_i m_i (1 - 3/4 cos^2 a_i))
    f_i = m_i l_i a_i'^2 sin a_i + 3/4 m_i cos a_i (MU_P a_i' / (m_i l_i) - G sin a_i)
    a_i'' = -3 / (4 l_i) (x'' cos a_i - G sin a_i + MU_P a_i' / (m_i l_i))

Carts lie side by side in lanes, number k of lane j at k * LANES + j, so that the physics is vector instructions; the
last few go one by one, to the same bits. A lane whose cart has failed takes the next run from the list: an early
failure costs nothing further, and no run depends on its neighbours.
"""

import numpy as np

from neuroprune.kernels.compile import jit
from neuroprune.kernels.elementary import sigmoid, tanh
from neuroprune.kernels.functions import GAUSSIAN, IDENTITY, SIGMOID, STEP, TANH, apply

LANES = 16
FEW = 2  # carts up to which one by one is faster than all lanes
STATE = 6
WINDOW = 100  # steps over which movement is added up
AUTO, SIGNED, UNIT = range(3)  # what range of outputs spans the forces

GRAVITY = 9.8  # m/s^2
TRACK = 2.4  # m to each side
FORCE = 10.0  # N
TAU = 0.01  # s, two of them for one action
CART = 1.0  # kg
MASS_1, MASS_2 = 0.1, 0.01  # kg
MU_C = 5e-4  # N, friction of the cart
LEVEL_1, LEVEL_2 = MASS_1 * 0.5, MASS_2 * 0.05  # mass times half length
HINGE_1, HINGE_2 = 2e-6 / LEVEL_1, 2e-6 / LEVEL_2  # friction of a hinge, for the equations
LEVER_1, LEVER_2 = -0.75 / 0.5, -0.75 / 0.05

# Taylor coefficients of sine and cosine: right to the last bit or two up to 0.8 rad, which no standing pole reaches.
_S3, _S5, _S7, _S9 = -1 / 6, 1 / 120, -1 / 5040, 1 / 362880
_S11, _S13, _S15 = -1 / 39916800, 1 / 6227020800, -1 / 1307674368000
_C4, _C6, _C8, _C10 = 1 / 24, -1 / 720, 1 / 40320, -1 / 3628800
_C12, _C14, _C16 = 1 / 479001600, -1 / 87178291200, 1 / 20922789888000


@jit
def _sine(a):
    z = a * a
    y = z * z
    return a + a * z * ((_S3 + z * _S5) + y * ((_S7 + z * _S9) + y * ((_S11 + z * _S13) + y * _S15)))


@jit
def _cosine(a):
    z = a * a
    y = z * z
    return (1.0 - 0.5 * z) + y * ((_C4 + z * _C6) + y * ((_C8 + z * _C10) + y * ((_C12 + z * _C14) + y * _C16)))


@jit
def accelerations(v, a, w, b, u, force, second):
    """x'', a'' and b'' at velocity v, angles a, b and angular velocities w, u; second is 1, or 0 without pole b."""
    mass = MASS_2 * second
    sine, cosine, other_sine, other_cosine = _sine(a), _cosine(a), _sine(b), _cosine(b)
    pull = HINGE_1 * w - GRAVITY * sine
    other_pull = HINGE_2 * u - GRAVITY * other_sine
    push = force - (MU_C if v > 0.0 else (-MU_C if v < 0.0 else 0.0))
    push += LEVEL_1 * w * w * sine + 0.75 * MASS_1 * cosine * pull
    push += LEVEL_2 * second * u * u * other_sine + 0.75 * mass * other_cosine * other_pull
    inertia = CART + MASS_1 * (1.0 - 0.75 * cosine * cosine) + mass * (1.0 - 0.75 * other_cosine * other_cosine)
    forward = push / inertia
    return forward, LEVER_1 * (forward * cosine + pull), LEVER_2 * second * (forward * other_cosine + other_pull)


@jit
def advance_lanes(state, at, total, force, tau, second):
    """A step of tau seconds of all lanes, by the classical Runge-Kutta method; at and total are scratch."""
    x, v, a, w, b, u = 0, LANES, 2 * LANES, 3 * LANES, 4 * LANES, 5 * LANES
    for i in range(STATE * LANES):
        at[i] = total[i] = state[i]
    for stage in range(4):
        weight = tau / 6.0 if stage == 0 or stage == 3 else tau / 3.0
        ahead = tau if stage == 2 else 0.5 * tau
        for j in range(LANES):
            speed, turn, other = at[v + j], at[w + j], at[u + j]
            p, q, r = accelerations(speed, at[a + j], turn, at[b + j], other, force[j], second)
            total[x + j] += weight * speed
            total[v + j] += weight * p
            total[a + j] += weight * turn
            total[w + j] += weight * q
            total[b + j] += weight * other
            total[u + j] += weight * r
            at[x + j] = state[x + j] + ahead * speed
            at[v + j] = state[v + j] + ahead * p
            at[a + j] = state[a + j] + ahead * turn
            at[w + j] = state[w + j] + ahead * q
            at[b + j] = state[b + j] + ahead * other
            at[u + j] = state[u + j] + ahead * r
    for i in range(STATE * LANES):
        state[i] = total[i]


@jit
def advance(x, v, a, w, b, u, force, tau, second):
    """A step of tau seconds of one cart: what advance_lanes does, to the same bits, without touching memory."""
    new_x, new_v, new_a, new_w, new_b, new_u = x, v, a, w, b, u
    speed, angle, turn, other_angle, other_turn = v, a, w, b, u
    for stage in range(4):
        weight = tau / 6.0 if stage == 0 or stage == 3 else tau / 3.0
        ahead = tau if stage == 2 else 0.5 * tau
        p, q, r = accelerations(speed, angle, turn, other_angle, other_turn, force, second)
        new_x += weight * speed
        new_v += weight * p
        new_a += weight * turn
        new_w += weight * q
        new_b += weight * other_turn
        new_u += weight * r
        angle = a + ahead * turn
        other_angle = b + ahead * other_turn
        speed = v + ahead * p
        turn = w + ahead * q
        other_turn = u + ahead * r
    return new_x, new_v, new_a, new_w, new_b, new_u


@jit
def _advance_one(state, j, force, second):
    """The two steps of one action for lane j."""
    x, v, a = state[j], state[LANES + j], state[2 * LANES + j]
    w, b, u = state[3 * LANES + j], state[4 * LANES + j], state[5 * LANES + j]
    for _ in range(2):
        x, v, a, w, b, u = advance(x, v, a, w, b, u, force, TAU, second)
    state[j], state[LANES + j], state[2 * LANES + j] = x, v, a
    state[3 * LANES + j], state[4 * LANES + j], state[5 * LANES + j] = w, b, u


@jit
def _enter(columns, g, slot, most_nodes, most_edges, read, values):
    """Make room `slot` ready for a fresh run of genome g: no state, and where each connection reads its value."""
    n, edge = columns.n_nodes[g], columns.edge_start[g]
    late = columns.delayed.size > 0
    base = slot * 2 * most_nodes
    values[base:base + 2 * most_nodes] = 0.0
    for i in range(columns.n_edges[g]):
        before = late and columns.delayed[edge + i]
        read[slot * most_edges + i] = base + columns.source[edge + i] + (0 if before else n)


@jit
def _movement(ring, slot, steps):
    """What the last WINDOW of so many steps moved; 0 when there were fewer."""
    total = 0.0
    if steps >= WINDOW:
        for i in range(steps, steps + WINDOW):
            total += ring[slot * WINDOW + i % WINDOW]
    return total


@jit
def balance(columns, genome, start, starts, user, observed, gain, second, tilt, output, limit, lasted, moved):
    """Run i: genome[i] of columns pushes a cart from starts[start[i]], for at most `limit` actions.

    A network sees state[observed] * gain. The run ends when a pole leans more than tilt, the cart leaves its track or
    the output is NaN; lasted[i] is the number of actions before that, moved[i] the sum of |x| + |x'| + |a| + |a'|
    after each of the last WINDOW of them (0 when there were fewer). `output` is AUTO, SIGNED or UNIT.

    Networks are computed here and not in a function of their own, and the columns taken out of the tuple once: each
    array that is handed over or taken out in the loop costs two atomic operations.
    """
    incoming, code, parameters = columns.incoming, columns.code, columns.parameters
    node_start, edge_start, n_nodes, n_edges = columns.node_start, columns.edge_start, columns.n_nodes, columns.n_edges
    late = columns.delayed.size > 0
    runs = genome.size
    most_nodes, most_edges = 1, 1
    for i in range(runs):
        most_nodes = max(most_nodes, n_nodes[genome[i]])
        most_edges = max(most_edges, n_edges[genome[i]])
    values = np.zeros(LANES * 2 * most_nodes)
    read = np.zeros(LANES * most_edges, np.uint64)
    ring = np.zeros(LANES * WINDOW)
    state, at, total = np.zeros(STATE * LANES), np.empty(STATE * LANES), np.empty(STATE * LANES)
    force = np.zeros(LANES)
    run, steps, slot = np.zeros(LANES, np.int64), np.zeros(LANES, np.int64), np.arange(LANES)
    begun = min(runs, LANES)
    for j in range(begun):
        run[j] = j
        _enter(columns, genome[j], j, most_nodes, most_edges, read, values)
        for k in range(STATE):
            state[k * LANES + j] = starts[start[j], k]
    width = begun
    while width > 0:
        for j in range(width):
            g = genome[run[j]]
            n, e = np.uint64(n_nodes[g]), np.uint64(n_edges[g])  # unsigned: no check for negative indices is compiled
            node = np.uint64(node_start[g])
            first = node + np.uint64(edge_start[g])
            old = np.uint64(slot[j] * 2 * most_nodes)
            base = old + n
            reader = np.uint64(slot[j] * most_edges)
            for i in range(observed.size):
                values[base + np.uint64(i)] = state[observed[i] * LANES + j] * gain[i]
            edge = np.uint64(0)
            signal = 0.0
            kind = np.uint8(IDENTITY)
            for i in range(np.uint64(observed.size), n):
                signal = parameters[first + e + i]
                last = np.uint64(incoming[node + i + np.uint64(1)])
                while edge < last:
                    signal += parameters[first + edge] * values[read[reader + edge]]
                    edge += np.uint64(1)
                kind = code[node + i]
                if kind == TANH:  # the usual ones without a call
                    signal = tanh(signal)
                elif kind == SIGMOID:
                    signal = sigmoid(signal)
                elif kind != IDENTITY:
                    values[base + i] = signal
                    place = np.int64(base + i)  # the types that other kernels pass, so that apply compiles once
                    apply(kind, values, place, values, place, np.int64(1), user)
                    signal = values[base + i]
                values[base + i] = signal
            if late:
                for i in range(n):
                    values[old + i] = values[base + i]
            if output == UNIT or output == AUTO and (kind == SIGMOID or kind == STEP or kind == GAUSSIAN):
                signal = 2.0 * signal - 1.0
            signal = 1.0 if signal > 1.0 else signal
            force[j] = FORCE * (-1.0 if signal < -1.0 else signal)  # NaN stays
        if width > FEW:
            advance_lanes(state, at, total, force, TAU, second)
            advance_lanes(state, at, total, force, TAU, second)
        else:
            for j in range(width):
                _advance_one(state, j, force[j], second)
        j = 0
        while j < width:
            x, a, b = abs(state[j]), abs(state[2 * LANES + j]), abs(state[4 * LANES + j])
            stands = x <= TRACK and a <= tilt and b <= tilt  # not so for NaN
            if stands:
                ring[slot[j] * WINDOW + steps[j] % WINDOW] = x + abs(state[LANES + j]) + a + abs(state[3 * LANES + j])
                steps[j] += 1
            if stands and steps[j] < limit:
                j += 1
                continue
            lasted[run[j]] = steps[j]
            moved[run[j]] = _movement(ring, slot[j], steps[j])
            if begun < runs:
                run[j], steps[j] = begun, 0
                _enter(columns, genome[begun], slot[j], most_nodes, most_edges, read, values)
                for k in range(STATE):
                    state[k * LANES + j] = starts[start[begun], k]
                begun += 1
                j += 1
            else:  # the last lane takes this place, to be looked at next; its own goes to rest
                width -= 1
                run[j], steps[j], slot[j], force[j] = run[width], steps[width], slot[width], force[width]
                for k in range(STATE):
                    state[k * LANES + j] = state[k * LANES + width]
                    state[k * LANES + width] = 0.0
                force[width] = 0.0
