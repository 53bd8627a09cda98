"""Traces and solution columns to supervised pairs: `srl-data pairs`."""
