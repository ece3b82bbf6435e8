"""A training run: checkpoints, resuming, and the log. `models/experiment.py` has the names of its files.

`checkpoint.TrainState` is the state that a resumed run needs. Parts added there are saved and restored.
Nothing here computes a score.
"""
