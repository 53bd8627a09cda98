"""Configs shipped with the package, by name."""
