"""The machine a run is on: device, processes, workers, signals, memory, locks and files that grow.

Knows nothing of images, configurations or experiments. Change it when the project must run somewhere else.
Atomic writes are in `models/files.py`; a file that grows is a `files.GrowingFile`.
"""
