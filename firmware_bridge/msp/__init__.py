"""Betaflight and INAV over MSP."""
