"""One run: its checkpoints, resuming, and its log. `models/experiment.py` has the names of its files.

`checkpoint.TrainState` is everything a resumed run needs. Add a part there, and it is saved and restored.
Nothing here computes a score.
"""
