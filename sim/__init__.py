"""The plant: aerodynamics, motors, sensors, terrain, the PyBullet world, and what is flown and judged in it."""
