"""Closed-form conjugate kernel and empirical NTK of a fully connected scalar network, layer by layer, float64."""

import numpy as np
import torch

ACTIVATIONS = {
    "relu": (lambda z: np.maximum(z, 0.0), lambda z: np.where(z > 0, 1.0, np.where(z == 0, 0.5, 0.0))),
    "tanh": (np.tanh, lambda z: 1.0 - np.tanh(z) ** 2),
    "identity": (lambda z: z, np.ones_like),
}


def hidden_and_cotangents(weights, biases, x, activation):
    """Inputs h_{l-1} and output gradients g_l of every affine map; g of the last is 1."""
    act, slope = ACTIVATIONS[activation]
    h, pre = [x], []
    for w, b in zip(weights, biases, strict=True):
        pre.append(h[-1] @ w.T + b)
        h.append(act(pre[-1]))
    g = [np.ones((len(x), 1))]
    for layer in range(len(weights) - 1, 0, -1):
        g.insert(0, slope(pre[layer - 1]) * (g[0] @ weights[layer]))
    return h[: len(weights)], g, pre[-1]


def layer_kernels(weights, biases, x, other, activation):
    """One Gram per affine map, (⟨h, h'⟩ + 1)⟨g, g'⟩; the last is the conjugate kernel, the sum the NTK."""
    h, g, _ = hidden_and_cotangents(weights, biases, x, activation)
    h2, g2, _ = hidden_and_cotangents(weights, biases, other, activation)
    return [(a @ b.T + 1.0) * (c @ d.T) for a, b, c, d in zip(h, h2, g, g2, strict=True)]


def ck_features(weights, biases, x, activation):
    """[h_{D-1}(x); 1]."""
    h, _, _ = hidden_and_cotangents(weights, biases, x, activation)
    return np.column_stack([h[-1], np.ones(len(x))])


def train_network(activation, target, *, width, n, epochs, depth=4, seed=0):
    """Full-batch Adam on a uniform grid: Glorot uniform weights, zero biases, float64."""
    generator = torch.Generator().manual_seed(seed)
    sizes = [1] + [width] * (depth - 1) + [1]
    parameters = []
    for i, o in zip(sizes, sizes[1:], strict=False):
        bound = (6.0 / (i + o)) ** 0.5
        w = (2 * torch.rand(o, i, generator=generator, dtype=torch.float64) - 1) * bound
        parameters += [w.requires_grad_(), torch.zeros(o, dtype=torch.float64, requires_grad=True)]
    x = torch.linspace(-1, 1 - 2 / n, n, dtype=torch.float64)[:, None]
    y = torch.as_tensor(target(x.numpy()))
    act = {"relu": torch.relu, "tanh": torch.tanh}[activation]
    optimizer = torch.optim.Adam(parameters, lr=1e-3 if activation == "relu" else 5e-3)
    for _ in range(epochs):
        h = x
        for layer in range(depth):
            h = h @ parameters[2 * layer].T + parameters[2 * layer + 1]
            h = act(h) if layer < depth - 1 else h
        optimizer.zero_grad()
        ((h - y) ** 2).mean().backward()
        optimizer.step()
    arrays = [p.detach().numpy() for p in parameters]
    return arrays[::2], arrays[1::2]
