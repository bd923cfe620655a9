"""A residual model that knows nothing of its state."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from neural_lander.arrays import Array, constant
from neural_lander.state import State


@dataclass(frozen=True)
class ConstantResidual:
    """The same force everywhere."""

    force: np.ndarray  # (3,) N, world

    def at(self, state: State) -> Callable[[Array], Array]:
        """f_a_hat as a function of rotor thrusts, which it does not depend on."""
        force = constant(self.force, state.velocity) + 0 * state.velocity
        return lambda rotor_thrust: force
