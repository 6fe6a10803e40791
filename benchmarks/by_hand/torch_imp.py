"""Iterative magnitude pruning in PyTorch, written from the papers and from nothing of jaxticket's.

What it is given are arrays: initial weights, images, and which examples each batch holds.
"""

# Where PyTorch is not installed its types are unknown.
# pyright: reportUnknownParameterType=false

import copy
from typing import Any, NamedTuple

import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from torch import nn  # pyright: ignore[reportMissingImports]

Weights = dict[str, np.ndarray]
"""`<layer>/kernel` of shape (inputs, outputs) and `<layer>/bias`, from the first layer on."""


class Task(NamedTuple):
    """What is learned, and how.

    Attributes:
      images: `uint8[n, ...]` to train on.
      labels: `int[n]`.
      test_images: `uint8[m, ...]`.
      test_labels: `int[m]`.
      optimizer: `adam` or `momentum`, the latter SGD with 0.9.
      learning_rate: constant.
      rates: the share that goes at each level, by layer; the one of `*` if all compete.
    """

    images: np.ndarray
    labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    optimizer: str
    learning_rate: float
    rates: dict[str, float]


class Level(NamedTuple):
    """What one level leaves.

    Attributes:
      masks: `bool` of each kernel's shape, by path, under which it was trained.
      trained: the weights after training.
      accuracy: on the test images.
    """

    masks: dict[str, np.ndarray]
    trained: Weights
    accuracy: float


def iterative_pruning(initial: Weights, batches: np.ndarray, task: Task) -> list[Level]:
    """Trains, prunes the smallest weights, goes back to the initial ones, and so on.

    Args:
      initial: θ_0; its type is the one that everything is computed in.
      batches: `int[levels, steps, batch]`, the examples of every batch.
      task: what is learned.

    Returns:
      The levels, the dense one first.
    """
    masks = {path: np.ones(w.shape, bool) for path, w in initial.items() if w.ndim == 2}
    levels = []
    for of_level in batches:
        if levels:
            masks = prune(levels[-1].trained, masks, task.rates)
        levels.append(_train(initial, masks, of_level, task))
    return levels


def prune(
    trained: Weights, masks: dict[str, np.ndarray], rates: dict[str, float]
) -> dict[str, np.ndarray]:
    """Prunes the smallest of the weights that are left, layer by layer or all together.

    Args:
      trained: the weights.
      masks: which are left.
      rates: the share that goes, by layer, or of `*`.

    Returns:
      What is left then.
    """
    if "*" not in rates:
        return {path: _smallest_out(trained[path], m, rates[path]) for path, m in masks.items()}
    everything = np.concatenate([trained[path].ravel() for path in masks])
    kept = np.concatenate([mask.ravel() for mask in masks.values()])
    flat = _smallest_out(everything, kept, rates["*"])
    ends = np.cumsum([mask.size for mask in masks.values()])[:-1]
    parts = zip(masks.items(), np.split(flat, ends), strict=True)
    return {path: part.reshape(mask.shape) for (path, mask), part in parts}


def _smallest_out(weights: np.ndarray, mask: np.ndarray, rate: float) -> np.ndarray:
    places = torch.tensor(np.flatnonzero(mask))
    magnitudes = torch.tensor(np.ascontiguousarray(weights)).flatten()[places].abs()
    order = torch.sort(magnitudes).indices
    after = mask.copy().reshape(-1)
    after[places[order[: round(rate * len(places))]].numpy()] = False
    return after.reshape(mask.shape)


def _train(
    initial: Weights, masks: dict[str, np.ndarray], batches: np.ndarray, task: Task
) -> Level:
    network, names = _network(initial, masks)
    kept = [torch.tensor(np.ascontiguousarray(mask.T)) for mask in masks.values()]
    kernels = [layer.weight for layer in network if isinstance(layer, nn.Linear)]
    dtype = kernels[0].dtype
    images, labels = _tensors(task.images, task.labels, dtype)
    optimizer = _optimizer(task, network.parameters())
    for batch in torch.tensor(batches, dtype=torch.int64):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(images[batch]), labels[batch]).backward()
        for kernel, left in zip(kernels, kept, strict=True):
            assert kernel.grad is not None
            kernel.grad[~left] = 0
        optimizer.step()
        with torch.no_grad():
            for kernel, left in zip(kernels, kept, strict=True):
                kernel[~left] = 0
    return Level(masks, _weights(network, names), _accuracy(network, task, dtype))


def _network(initial: Weights, masks: dict[str, np.ndarray]) -> tuple[nn.Sequential, list[str]]:
    """Builds the perceptron whose layers the weights name, pruned."""
    names = [path.removesuffix("/kernel") for path in masks]
    layers: list[Any] = [nn.Flatten()]
    for name in names:
        kernel = initial[f"{name}/kernel"] * masks[f"{name}/kernel"]
        layer = nn.Linear(*kernel.shape, dtype=torch.tensor(kernel).dtype)
        with torch.no_grad():
            layer.weight.copy_(torch.tensor(np.ascontiguousarray(kernel.T)))
            layer.bias.copy_(torch.tensor(np.ascontiguousarray(initial[f"{name}/bias"])))
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1]), names


def _weights(network: nn.Sequential, names: list[str]) -> Weights:
    layers = [layer for layer in network if isinstance(layer, nn.Linear)]
    found = {}
    for name, layer in zip(names, layers, strict=True):
        found[f"{name}/kernel"] = copy.deepcopy(layer.weight.detach().numpy().T)
        found[f"{name}/bias"] = copy.deepcopy(layer.bias.detach().numpy())
    return found


def _optimizer(task: Task, params: Any) -> Any:
    if task.optimizer == "adam":
        return torch.optim.Adam(params, lr=task.learning_rate)
    return torch.optim.SGD(params, lr=task.learning_rate, momentum=0.9)


def _tensors(images: np.ndarray, labels: np.ndarray, dtype: Any) -> tuple[Any, Any]:
    pixels = torch.tensor(np.ascontiguousarray(images)).to(dtype) / 255
    return pixels, torch.tensor(np.asarray(labels), dtype=torch.int64)


def _accuracy(network: nn.Sequential, task: Task, dtype: Any) -> float:
    images, labels = _tensors(task.test_images, task.test_labels, dtype)
    with torch.no_grad():
        return float((network(images).argmax(dim=1) == labels).double().mean())
