"""Scalar formulas, one value at a time with `math`: activations, losses, optimizers. Twins of the compiled ones."""

import math

# ---------------------------------------------------------------- activations

SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805
GELU_SCALE = math.sqrt(2 / math.pi)


def sign(x):
    """-1.0, 0.0 or 1.0."""
    return float((x > 0) - (x < 0))


def sigmoid(x):
    """1 / (1 + exp(-x)) without overflow."""
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def sigmoid_slope(x):
    """sigmoid(x) sigmoid(-x), exact in both tails."""
    return sigmoid(x) * sigmoid(-x)


def softplus(x):
    """log(1 + exp(x)) without overflow."""
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def gelu_inner(x):
    """Argument of the tanh in gelu."""
    return GELU_SCALE * (x + 0.044715 * x * x * x)


def sech2(x):
    """1 - tanh(x)^2, exact in the tails."""
    return 0.0 if abs(x) > 350 else 1 / math.cosh(x) ** 2


def gelu_slope(x):
    """Derivative of 0.5 x (1 + tanh(inner))."""
    inner_slope = GELU_SCALE * (1 + 3 * 0.044715 * x * x)
    return 0.5 * (1 + math.tanh(gelu_inner(x))) + 0.5 * x * sech2(gelu_inner(x)) * inner_slope


def gaussian(x):
    """exp(-x^2)."""
    return math.exp(-x * x)


VALUE = {
    "identity": lambda x: x,
    "tanh": math.tanh,
    "sigmoid": sigmoid,
    "relu": lambda x: max(x, 0.0),
    "step": lambda x: 1.0 if x > 0 else 0.0,
    "softsign": lambda x: x / (1 + abs(x)),
    "sin": math.sin,
    "gaussian": gaussian,
    "bent_identity": lambda x: (math.sqrt(x * x + 1) - 1) / 2 + x,
    "bipolar": lambda x: 1.0 if x > 0 else -1.0,
    "bipolar_sigmoid": lambda x: math.tanh(x / 2),
    "hard_tanh": lambda x: max(-1.0, min(1.0, x)),
    "abs": abs,
    "inverse": lambda x: 1 - x,
    "selu": lambda x: SELU_SCALE * (x if x > 0 else SELU_ALPHA * math.expm1(x)),
    "softplus": softplus,
    "swish": lambda x: x * sigmoid(x),
    "gelu": lambda x: 0.5 * x * (1 + math.tanh(gelu_inner(x))),
    "mish": lambda x: x * math.tanh(softplus(x)),
    "leaky_relu": lambda x: x if x > 0 else 0.01 * x,
    "elu": lambda x: x if x > 0 else math.expm1(x),
    "cos": math.cos,
    "square": lambda x: x * x,
    "clamp": lambda x: max(-1.0, min(1.0, x)),
}
DERIVATIVE = {
    "identity": lambda x: 1.0,
    "tanh": sech2,
    "sigmoid": sigmoid_slope,
    "relu": lambda x: 1.0 if x > 0 else 0.0,
    "step": lambda x: 0.0,
    "softsign": lambda x: 1 / (1 + abs(x)) ** 2,
    "sin": math.cos,
    "gaussian": lambda x: -2 * x * gaussian(x),
    "bent_identity": lambda x: x / (2 * math.sqrt(x * x + 1)) + 1,
    "bipolar": lambda x: 0.0,
    "bipolar_sigmoid": lambda x: sech2(x / 2) / 2,
    "hard_tanh": lambda x: 1.0 if -1 < x < 1 else 0.0,
    "abs": lambda x: -1.0 if x < 0 else 1.0,
    "inverse": lambda x: -1.0,
    "selu": lambda x: SELU_SCALE * (1.0 if x > 0 else SELU_ALPHA * math.exp(x)),
    "softplus": sigmoid,
    "swish": lambda x: sigmoid(x) + x * sigmoid_slope(x),
    "gelu": gelu_slope,
    "mish": lambda x: math.tanh(softplus(x)) + x * sech2(softplus(x)) * sigmoid(x),
    "leaky_relu": lambda x: 1.0 if x > 0 else 0.01,
    "elu": lambda x: 1.0 if x > 0 else math.exp(x),
    "cos": lambda x: -math.sin(x),
    "square": lambda x: 2 * x,
    "clamp": lambda x: 1.0 if -1 < x < 1 else 0.0,
}
KINKS = {
    "relu": (0.0,),
    "step": (0.0,),
    "bipolar": (0.0,),
    "hard_tanh": (-1.0, 1.0),
    "abs": (0.0,),
    "selu": (0.0,),
    "leaky_relu": (0.0,),
    "clamp": (-1.0, 1.0),
}
SMOOTH = tuple(name for name in VALUE if name not in KINKS)

# ---------------------------------------------------------------- losses

# f(y, t) and df/dy of one output y against its target t; the mean runs over rows and outputs
ELEMENTWISE = {
    "mse": (lambda y, t: (y - t) ** 2, lambda y, t: 2 * (y - t)),
    "mae": (lambda y, t: abs(y - t), lambda y, t: sign(y - t)),
    "huber": (
        lambda y, t: 0.5 * (y - t) ** 2 if abs(y - t) <= 1 else abs(y - t) - 0.5,
        lambda y, t: max(-1.0, min(1.0, y - t)),
    ),
    "binary_cross_entropy": (lambda y, t: softplus(y) - y * t, lambda y, t: sigmoid(y) - t),
    "hinge": (lambda y, t: max(0.0, 1 - t * y), lambda y, t: -t if t * y < 1 else 0.0),
}
LOSSES = (*ELEMENTWISE, "softmax_cross_entropy")


def one_hot(target, n):
    """A row of class probabilities; an integer label becomes one."""
    return [float(index == target) for index in range(n)] if isinstance(target, int) else list(target)


def log_softmax(row):
    """log(exp(y) / sum exp) of one row."""
    largest = max(row)
    total = math.log(sum(math.exp(y - largest) for y in row))
    return [y - largest - total for y in row]


def loss_value(name, outputs, targets):
    """Mean loss of rows of raw outputs (cross-entropies take logits).

    softmax_cross_entropy, of class probabilities or integer labels: mean over rows of -sum_j t_j log softmax(y)_j;
    all others: mean over rows and outputs. Binary targets lie in [0, 1], hinge targets are -1 or 1, huber has delta 1.
    """
    if name == "softmax_cross_entropy":
        rows = [(one_hot(target, len(row)), log_softmax(row)) for row, target in zip(outputs, targets, strict=True)]
        return sum(-sum(t * y for t, y in zip(ts, ys, strict=True)) for ts, ys in rows) / len(rows)
    pairs = [pair for row, target in zip(outputs, targets, strict=True) for pair in zip(row, target, strict=True)]
    return sum(ELEMENTWISE[name][0](y, t) for y, t in pairs) / len(pairs)


def loss_derivative(name, outputs, targets):
    """Derivative of `loss_value` by every output, as rows."""
    slopes = []
    for row, target in zip(outputs, targets, strict=True):
        if name == "softmax_cross_entropy":
            ts = one_hot(target, len(row))
            share = [math.exp(y) * sum(ts) for y in log_softmax(row)]
            slopes.append([(s - t) / len(outputs) for s, t in zip(share, ts, strict=True)])
        else:
            size = len(outputs) * len(row)
            slopes.append([ELEMENTWISE[name][1](y, t) / size for y, t in zip(row, target, strict=True)])
    return slopes


# ---------------------------------------------------------------- optimizers, for one number w with gradient g

# Each returns (change of w, new state); `step` counts from 1; state is () before the first step. As in torch.optim.


def sgd(g, state, step, rate, momentum=0.0, nesterov=False):
    """Velocity v = momentum v + g, v = g at first; w -= rate v, or with Nesterov w -= rate (g + momentum v)."""
    velocity = momentum * (state[0] if state else 0.0) + g
    return -rate * (g + momentum * velocity if nesterov else velocity), (velocity,)


def rmsprop(g, state, step, rate, decay=0.99, epsilon=1e-8):
    """Mean square s = decay s + (1 - decay) g^2; w -= rate g / (sqrt(s) + epsilon)."""
    square = decay * (state[0] if state else 0.0) + (1 - decay) * g * g
    return -rate * g / (math.sqrt(square) + epsilon), (square,)


def adam(g, state, step, rate, beta1=0.9, beta2=0.999, epsilon=1e-8):
    """Kingma & Ba 2015, algorithm 1, with bias-corrected moments; epsilon outside the root."""
    m, v = state or (0.0, 0.0)
    m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
    return -rate * (m / (1 - beta1**step)) / (math.sqrt(v / (1 - beta2**step)) + epsilon), (m, v)


UPDATES = {"sgd": sgd, "rmsprop": rmsprop, "adam": adam, "adamw": adam}


def clip(gradients, max_norm):
    """Gradients scaled to the norm `max_norm` if theirs is larger; None leaves them."""
    norm = math.sqrt(sum(g * g for g in gradients))
    return [g * max_norm / norm for g in gradients] if max_norm is not None and norm > max_norm else list(gradients)


def optimize(name, parameters, gradients, states, step, rate, l1=0.0, l2=0.0, max_norm=None, **options):
    """One step over a list of numbers: (parameters, states).

    Clipping comes first. The penalty l2 w + l1 sign(w) joins the clipped gradient, except for adamw, where
    w -= rate (l2 w + l1 sign(w)) happens apart from the moments, with the w before the step.
    """
    moved, kept = [], []
    for w, g, state in zip(parameters, clip(gradients, max_norm), states, strict=True):
        penalty = l2 * w + l1 * sign(w)
        change, state = UPDATES[name](g if name == "adamw" else g + penalty, state, step, rate, **options)
        moved.append(w + change - (rate * penalty if name == "adamw" else 0.0))
        kept.append(state)
    return moved, kept
