"""A Crazyflie over cflib."""
