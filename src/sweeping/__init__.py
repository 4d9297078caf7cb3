"""Sweeps: algorithms x maps x seeds as tasks of a Ray cluster."""
