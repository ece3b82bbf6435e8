"""Evaluation of an encoder: features, validation, the paper's protocol, results, manifold, inference.

Works on any dataset with the attributes of `dataset.ScoredDataset`; does not import `data`.
`features` defines the key of a cached feature file: raise its version when a change alters the features.
Tests compare results with SciPy, scikit-learn and the published outputs; keep them when you change a formula.
"""
