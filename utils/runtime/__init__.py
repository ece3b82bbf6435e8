"""Runtime of a run: device, processes, workers, signals, memory, locks and append-only files.

Independent of images, configurations and experiments. Change it to support another machine or operating system.
Atomic writes are in `models/files.py`; an append-only file is a `files.GrowingFile`.
"""
