"""Certificates: what can be proved about a network and the control loop around it."""
