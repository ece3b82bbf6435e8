"""Everything below data, models and the scripts, in rooms that stand one above the other.

From the ground up: `errors`, `image`, `metrics`, `regression` and `optimization`; `distortions`; `runtime`; `config`;
`experiment`; `evaluation`; `report`. A module imports from its own room and from those below it, never from above.
Nothing here imports `data` or `models`.
"""
