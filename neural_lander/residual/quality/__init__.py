"""Samples that can be trusted: what a set of flights covers, how good they are, what to fly next."""
