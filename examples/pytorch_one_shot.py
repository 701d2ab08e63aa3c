"""Prune a trained PyTorch network once, without training it again: why the inputs of a weight matter.

    pip install "neuroprune[examples,torch]"
    python examples/pytorch_one_shot.py [--quick] [--seed 0]

A network learns digits whose pixels come in different units, as features of real tables do. Magnitude looks at
weights alone, and takes those of large inputs for unimportant ones. Wanda multiplies each weight with the norm of its
input over 128 samples, diagonal OBS also asks what the other weights could make up for. Watch who falls first as more
goes.
"""

import argparse
import copy

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import neuroprune as npr
from neuroprune.tensors.torch import Masking

parser = argparse.ArgumentParser()
parser.add_argument("--quick", action="store_true", help="few epochs, to see that it works")
parser.add_argument("--seed", type=int, default=0)
options = parser.parse_args()

torch.set_num_threads(1)  # more cost time on a network this small
torch.manual_seed(options.seed)
x, y = load_digits(return_X_y=True)
x = x / 16 * np.random.default_rng(options.seed).permutation(np.geomspace(0.1, 10, 64))
x, x_test, y, y_test = train_test_split(x, y, test_size=0.25, stratify=y, random_state=options.seed)
x, x_test = torch.tensor(x, dtype=torch.float32), torch.tensor(x_test, dtype=torch.float32)
y, y_test = torch.tensor(y), torch.tensor(y_test)

model = torch.nn.Sequential(torch.nn.Linear(64, 300), torch.nn.ReLU(), torch.nn.Linear(300, 100), torch.nn.ReLU(),
                            torch.nn.Linear(100, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
for _ in range(10 if options.quick else 30):
    for rows in torch.randperm(len(x)).split(32):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
        optimizer.step()


def accuracy(network: torch.nn.Module) -> str:
    with torch.no_grad():
        return f"{100 * (network(x_test).argmax(1) == y_test).float().mean().item():5.1f}%"


calibration = npr.calibrate(model, x[:128].split(32), hessian=True)
print(f"dense     {accuracy(model)}")
for wanted in ({"pattern": "2:4"}, {"sparsity": 0.8}, {"sparsity": 0.9}):
    for method in ("magnitude", "wanda", "obs_diagonal"):
        pruned = copy.deepcopy(model)
        Masking(pruned).prune(**wanted, method=method, signals=calibration)
        print(f"{next(iter(wanted.values()))!s:9} {accuracy(pruned)}  {method}")
