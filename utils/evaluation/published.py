"""Figures that the authors of ARNIQA publish: SROCC, PLCC and KROCC of the tests of its encoder.

Medians over ten splits (paper table 2); of uhdiqa on its one official split (UHD-IQA, ECCV workshops 2024).
"""

PUBLISHED: dict[str, tuple[float, ...]] = {
    "live": (0.966, 0.970),
    "csiq": (0.962, 0.973),
    "tid2013": (0.880, 0.901),
    "kadid10k": (0.908, 0.912),
    "flive": (0.595, 0.671),
    "spaq": (0.905, 0.910),
    "clive": (0.791, 0.830),
    "koniq10k": (0.864, 0.876),
    "uhdiqa": (0.739, 0.694, 0.544),
}
PUBLISHED_VALIDATION: dict[str, tuple[float, ...]] = {"uhdiqa": (0.718, 0.717, 0.523)}
# (fitted on, tested on)
PUBLISHED_CROSS: dict[tuple[str, str], tuple[float, float]] = {
    ("koniq10k", "clive"): (0.684, 0.739),
    ("clive", "koniq10k"): (0.751, 0.781),
}
