"""The encoder, its contrastive training wrapper, and the quality model on top of it.

`hubconf.py` loads this package under a private name into other programs, which may have their own packages `models`
and `utils`. Therefore the modules that `hubconf.py` loads use relative imports and import nothing from the rest of the
project. `export` is a command that `hubconf.py` does not load, so it and `export_graph` may import `utils`.
"""
