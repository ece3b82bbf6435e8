"""From an encoder to scores: features, validation, the paper's protocol, results, manifold, inference.

Works on any dataset that has what `dataset.ScoredDataset` names; does not import `data`.
`features` decides what identifies a cached feature file: raise its version when a change alters the features.
Numbers are checked against SciPy, scikit-learn and the published outputs; keep those tests when you change a formula.
"""
