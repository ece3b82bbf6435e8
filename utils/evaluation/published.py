"""Published results: SROCC, PLCC and KROCC of ARNIQA's encoder, by its authors.

They are medians over ten splits (paper table 2); uhdiqa has one official split (UHD-IQA, ECCV workshops 2024).
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
# Fitted on -> tested on -> SROCC and, for the authentic datasets only, PLCC.
PUBLISHED_CROSS: dict[str, dict[str, tuple[float, ...]]] = {
    "live": {"csiq": (0.904,), "tid2013": (0.697,), "kadid10k": (0.764,)},
    "csiq": {"live": (0.921,), "tid2013": (0.721,), "kadid10k": (0.735,)},
    "tid2013": {"live": (0.869,), "csiq": (0.866,), "kadid10k": (0.726,)},
    "kadid10k": {"live": (0.898,), "csiq": (0.882,), "tid2013": (0.760,)},
    "koniq10k": {"clive": (0.684, 0.739)},
    "clive": {"koniq10k": (0.751, 0.781)},
}
