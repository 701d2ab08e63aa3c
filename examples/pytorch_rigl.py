"""Sparse from the first step to the last: a PyTorch network on digits at 2% density, in an ordinary loop.

    pip install "neuroprune[examples,torch]"
    python examples/pytorch_rigl.py [--quick] [--seed 0]

Three networks begin with the same 2% of their weights, drawn at random. The first keeps that wiring, the second drops
its smallest weights now and then and grows as many at random places (SET), the third grows them where the gradient is
largest (RigL). Watch the accuracy: wiring that may move is worth tens of points, and the gradient knows where to.
"""

import argparse

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from neuroprune.tensors.torch import Masking

parser = argparse.ArgumentParser()
parser.add_argument("--quick", action="store_true", help="few epochs, to see that it works")
parser.add_argument("--seed", type=int, default=0)
options = parser.parse_args()
epochs = 8 if options.quick else 30

torch.set_num_threads(1)  # more cost time on a network this small
x, y = load_digits(return_X_y=True)
x, x_test, y, y_test = train_test_split(x / 16, y, test_size=0.25, stratify=y, random_state=options.seed)
x, x_test = torch.tensor(x, dtype=torch.float32), torch.tensor(x_test, dtype=torch.float32)
y, y_test = torch.tensor(y), torch.tensor(y_test)
steps = epochs * (len(x) // 32)

WAYS = {
    "static": {},
    "SET": {"grow": "random", "every": 20, "until": round(0.75 * steps)},
    "RigL": {"grow": "gradient", "every": 20, "until": round(0.75 * steps)},
}


def train(rules: dict) -> tuple[float, Masking]:
    """Accuracy on the held-out quarter, and the masks."""
    torch.manual_seed(options.seed)
    model = torch.nn.Sequential(torch.nn.Linear(64, 300), torch.nn.ReLU(), torch.nn.Linear(300, 100), torch.nn.ReLU(),
                                torch.nn.Linear(100, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    masking = Masking(model, optimizer, init="er", density=0.02, seed=options.seed, **rules)
    slower = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(32)[: len(x) // 32]:
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            masking.step()
            slower.step()
    with torch.no_grad():
        return (model(x_test).argmax(1) == y_test).float().mean().item(), masking


for name, rules in WAYS.items():
    accuracy, masking = train(rules)
    print(f"{name:8} {100 * accuracy:5.1f}%  {sum(row['kept'] for row in masking.report())} weights")
print(masking)
