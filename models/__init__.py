"""The encoder, its contrastive training wrapper, and the quality model on top of it.

Modules here import one another relatively and nothing else of the project, so that `hubconf.py` can load them
inside a program that has a `models` or `utils` package of its own.
"""
