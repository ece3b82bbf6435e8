"""Benchmarks: commands that time this project and a baseline in the same run."""
