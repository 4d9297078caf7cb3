"""Helpers without knowledge of any algorithm or environment."""
