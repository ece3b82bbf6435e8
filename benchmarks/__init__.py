"""Benchmarks: commands that time this code and a baseline in the same run."""
