"""Stands in for SMAC's package where that is not installed, so that what the harness builds on it can be tested."""
