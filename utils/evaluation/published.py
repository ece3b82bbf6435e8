"""Published figures: those of ARNIQA's authors are SROCC, PLCC and KROCC of the tests of its encoder.

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
# Full reference: SROCC of self-supervised encoders with a linear regressor of this kind, by their authors.
PUBLISHED_FULL_REFERENCE: dict[str, dict[str, float]] = {
    "CONTRIQUE": {"live": 0.966, "csiq": 0.956, "tid2013": 0.909, "kadid10k": 0.946},
    "Re-IQA": {"live": 0.973, "csiq": 0.961, "tid2013": 0.905, "kadid10k": 0.901},
}
# (fitted on, tested on): SROCC and PLCC; the paper has no PLCC for the synthetic datasets.
PUBLISHED_CROSS: dict[tuple[str, str], tuple[float, float | None]] = {
    ("live", "csiq"): (0.904, None),
    ("live", "tid2013"): (0.697, None),
    ("live", "kadid10k"): (0.764, None),
    ("csiq", "live"): (0.921, None),
    ("csiq", "tid2013"): (0.721, None),
    ("csiq", "kadid10k"): (0.735, None),
    ("tid2013", "live"): (0.869, None),
    ("tid2013", "csiq"): (0.866, None),
    ("tid2013", "kadid10k"): (0.726, None),
    ("kadid10k", "live"): (0.898, None),
    ("kadid10k", "csiq"): (0.882, None),
    ("kadid10k", "tid2013"): (0.760, None),
    ("koniq10k", "clive"): (0.684, 0.739),
    ("clive", "koniq10k"): (0.751, 0.781),
}
