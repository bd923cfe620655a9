"""Controllers on the same plant: flights, statistics, ranking, requirements."""
