"""The controller: tracking law, fixed point, attitude, allocation, touchdown. Imports no simulator and no trainer."""
