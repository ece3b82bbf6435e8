"""One run and its folder: where its files are, its checkpoints, resuming, and its log.

`layout.Experiment` is the only place that spells the names of those files. Ask it for a path instead of joining one.
`checkpoint.TrainState` is everything a resumed run needs. Add a part there, and it is saved and restored.
Nothing here computes a score.
"""
