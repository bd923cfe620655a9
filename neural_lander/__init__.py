"""Learn, certify and fly the aerodynamics that a quadrotor's nominal model misses near the ground.

After Shi et al., "Neural Lander: Stable Drone Landing Control Using Learned Dynamics", ICRA 2019. Importing this
package loads neither torch nor a simulator; each module is imported by its own name.
"""

__version__ = "0.1.0"
