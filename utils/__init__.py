"""Everything between `models` and `data`, in layers.

From the bottom up: `command`, `metrics`, `regression` and `optimization`; `distortions`; `runtime`; `config`;
`experiment`; `evaluation`; `report`. A module imports from its own layer, from those below it and from `models`.
"""
