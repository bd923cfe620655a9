"""Adam with one learning-rate cycle. torch.optim's costs a second of imports, half as much as a whole training."""

from __future__ import annotations

import math

import torch
from torch import Tensor

WARM_UP = 0.15  # of the steps, learning rate rising
START = 0.04  # of the peak, learning rate of the first step


def one_cycle(done: float) -> float:
    """Factor on the peak learning rate: cosine from 0.04 up to 1, then down to 0 (Smith and Topin 2018)."""
    if done < WARM_UP:
        return START + (1 - START) * 0.5 * (1 - math.cos(math.pi * done / WARM_UP))
    return 0.5 * (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP)))


class Adam:
    """Kingma and Ba 2015, with their constants."""

    def __init__(
        self, parameters: list[Tensor], beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8
    ) -> None:
        self.parameters, self.beta1, self.beta2, self.epsilon = parameters, beta1, beta2, epsilon
        self.mean = [torch.zeros_like(p) for p in parameters]
        self.square = [torch.zeros_like(p) for p in parameters]
        self.count = 0

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Move the parameters against their gradients, and clear those."""
        self.count += 1
        scale = math.sqrt(1 - self.beta2**self.count)
        rate = -learning_rate * scale / (1 - self.beta1**self.count)
        for p, m, v in zip(self.parameters, self.mean, self.square, strict=True):
            if p.grad is not None:
                m.lerp_(p.grad, 1 - self.beta1)
                v.mul_(self.beta2).addcmul_(p.grad, p.grad, value=1 - self.beta2)
                p.addcdiv_(m, v.sqrt().add_(self.epsilon * scale), value=rate)
                p.grad = None
