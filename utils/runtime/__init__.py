"""The machine a run is on: device, processes, workers, signals, memory, and files that survive a kill.

Knows nothing of images, configurations or experiments. Change it when the project must run somewhere else.
Every file that must be complete or absent goes through `files.write_whole`, every file that grows through
`files.GrowingFile`. (The regressors are written by `models/weights.py`, which torch.hub loads without this package.)
"""
