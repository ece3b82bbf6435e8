"""Tests. Each process computes on one thread, also those that tests start, so that two of them have a core each."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
