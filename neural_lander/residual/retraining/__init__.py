"""Learning on: the manifest of flights, checks of new ones, gates, and the fit on old and new together."""
