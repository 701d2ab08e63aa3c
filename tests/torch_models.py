"""Small PyTorch models, data and loops that the tests of masks share; import it only where torch is known to be."""

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

torch.set_num_threads(1)  # for models of this size threads only wait for each other

OPTIMIZERS = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.05),
    "momentum": lambda parameters: torch.optim.SGD(parameters, lr=0.05, momentum=0.9, weight_decay=1e-3),
    "adam": lambda parameters: torch.optim.Adam(parameters, lr=0.01),
    "amsgrad": lambda parameters: torch.optim.Adam(parameters, lr=0.01, amsgrad=True, weight_decay=1e-3),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=0.01),
    "rmsprop": lambda parameters: torch.optim.RMSprop(parameters, lr=0.01, momentum=0.9, centered=True),
    "adagrad": lambda parameters: torch.optim.Adagrad(parameters, lr=0.01),
}


def mlp(seed=0, sizes=(12, 20, 15, 4)):
    torch.manual_seed(seed)
    layers = []
    for inputs, outputs in zip(sizes, sizes[1:], strict=False):
        layers += [nn.Linear(inputs, outputs), nn.Tanh()]
    return nn.Sequential(*layers[:-1])


def convolutional(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 4, 2, groups=2), nn.Flatten(),
                         nn.Linear(36, 4))  # fmt: skip


class Attentive(nn.Module):
    """Attention over five tokens, then a linear layer."""

    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.out = nn.Linear(40, 4)

    def forward(self, x):
        return self.out(self.attention(x, x, x, need_weights=False)[0].flatten(1))


MODELS = {"mlp": (mlp, (12,)), "conv": (convolutional, (1, 6, 6)), "attention": (Attentive, (5, 8))}


def batch(step, shape=(12,), rows=8):
    """The same numbers for the same step."""
    generator = torch.Generator().manual_seed(1000 + step)
    return torch.randn(rows, *shape, generator=generator), torch.randint(4, (rows,), generator=generator)


def backward(model, step, shape=(12,)):
    x, y = batch(step, shape)
    for parameter in model.parameters():
        parameter.grad = None
    F.cross_entropy(model(x), y).backward()


def train(model, masking, steps, shape=(12,), first=1):
    """An ordinary loop; returns what each step changed."""
    changes = []
    for step in range(first, first + steps):
        backward(model, step, shape)
        changes.append(masking.step())
    return changes


def assert_masked(masking):
    """Weights and moments are zero where the masks are off."""
    parameters = {name: layer.parameter for name, layer in masking._layers.items()}
    for name, mask in masking.masks.items():
        parameter = parameters[name]
        assert mask.dtype == torch.bool and mask.shape == parameter.shape
        assert (parameter[~mask] == 0).all(), name
        state = {} if masking.optimizer is None else masking.optimizer.state.get(parameter, {})
        for value in state.values():
            if isinstance(value, torch.Tensor) and value.shape == mask.shape:
                assert (value[~mask] == 0).all(), name


def counts(masking):
    return {name: int(mask.sum()) for name, mask in masking.masks.items()}


def snapshot(model, masking):
    """Everything that a refused call must leave as it was."""
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    if masking is not None:
        moments = [] if masking.optimizer is None else [
            value.clone() for entry in masking.optimizer.state.values() for value in entry.values()
            if isinstance(value, torch.Tensor)]  # fmt: skip
        state |= {f"moment {i}": value for i, value in enumerate(moments)}
        own = masking.state_dict()
        state |= {f"total {name}": tensor.clone() for name, tensor in own["totals"].items()}
        state["numbers"] = (own["step"], own["pruned_at"], own["rng"])
    return state


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name, value in first.items():
        same = torch.equal(value, second[name]) if isinstance(value, torch.Tensor) else value == second[name]
        assert same, name
