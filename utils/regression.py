"""Ridge regression from crop features to quality scores, for many splits and many alphas of one dataset.

Each crop is one row with the score of its image. The intercept is fitted and not penalised. The prediction for an image
is the mean of the predictions for its crops (paper section 4.2).

With the centred rows X and c = X'y, the weights are (X'X + alpha I)^-1 c. One orthogonal reduction X'X = Q T Q' with a
diagonal or tridiagonal T is enough for all alphas, because (X'X + alpha I)^-1 c = Q (T + alpha I)^-1 Q'c. The Gram
matrix X'X of a split is computed as X'X of the whole dataset minus X'X of the held-out images. If a split has fewer
rows than columns, the smaller matrix XX' is used instead (dual form). All computations are in float64.
"""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import lapack
from torch import Tensor

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
CHUNK = 256  # number of images whose crops are converted to float64 at once
BLOCK = 512  # number of Gram matrix columns computed at once, from the diagonal block downwards
CPU = torch.device("cpu")


class RidgePath:
    """Ridge regression on subsets of one set of images.

    Args:
        features: (N, crops, d), any float type. Read in chunks, so it can be a memory map.
        scores: (N,).
        device: device for the computation; it must support float64.
    """

    def __init__(self, features: NDArray[np.floating], scores: Array, device: torch.device = CPU) -> None:
        if features.ndim != 3 or len(features) != len(scores):
            raise ValueError(f"features {features.shape} must be (N, crops, d) for {len(scores)} scores")
        self.features = features
        self.crops, self.columns = features.shape[1:]
        self.device = device
        self.scores = torch.tensor(scores, dtype=torch.float64, device=device)
        # Subtracting values near the means avoids cancellation in the sums below. The fits do not depend on them.
        self.offset = torch.from_numpy(features[:CHUNK].mean(axis=(0, 1), dtype=np.float64)).to(device)
        self.score_offset = self.scores.mean()

    def predict(self, train: Indices, images: Indices, alphas: Sequence[float] | Array) -> Array:
        """Fits on `train` and predicts `images`, for each alpha: (len(alphas), len(images))."""
        if self.crops * len(train) < self.columns:
            gram, vectors, score_mean = self._dual(train, images)
        else:
            gram, vectors, score_mean = self._primal(train, images)
        solved = _solve(gram, vectors[:, :1], vectors[:, 1:], alphas)
        return (solved + score_mean).cpu().numpy()

    def fit(self, train: Indices, alpha: float) -> tuple[Array, float]:
        """Fits on `train`; returns the coefficients (d,) and the intercept."""
        if self.crops * len(train) < self.columns:
            rows, mean = self._centred_rows(train)
            y, score_mean = self._centred_scores(train)
            gram = rows @ rows.T
            gram.diagonal().add_(alpha)
            coef = rows.T @ _cholesky_solve(gram, y.repeat_interleave(self.crops)[:, None])[:, 0]
        else:
            gram, c, mean, score_mean = self._normal_equations(train)
            gram.diagonal().add_(alpha)
            coef = _cholesky_solve(gram, c[:, None])[:, 0]
        intercept = score_mean - (mean + self.offset) @ coef
        return coef.cpu().numpy(), float(intercept)

    def _primal(self, train: Indices, images: Indices) -> tuple[Tensor, Tensor, Tensor]:
        """Returns X'X (d x d, lower triangle), [X'y | image means centred like X] (d x (1 + n)), and the mean score."""
        gram, c, mean, score_mean = self._normal_equations(train)
        vectors = torch.empty(self.columns, 1 + len(images), dtype=torch.float64, device=self.device)
        vectors[:, 0] = c
        for start in range(0, len(images), CHUNK):
            part = self._rows(images[start : start + CHUNK]).mean(dim=1) - mean
            vectors[:, 1 + start : 1 + start + len(part)] = part.T
        return gram, vectors, score_mean

    def _dual(self, train: Indices, images: Indices) -> tuple[Tensor, Tensor, Tensor]:
        """Returns XX' (rows x rows), [y | X times the centred image means] (rows x (1 + n)), and the mean score."""
        rows, mean = self._centred_rows(train)
        y, score_mean = self._centred_scores(train)
        vectors = torch.empty(len(rows), 1 + len(images), dtype=torch.float64, device=self.device)
        vectors[:, 0] = y.repeat_interleave(self.crops)
        for start in range(0, len(images), CHUNK):
            part = self._rows(images[start : start + CHUNK]).mean(dim=1) - mean
            vectors[:, 1 + start : 1 + start + len(part)] = rows @ part.T
        return rows @ rows.T, vectors, score_mean

    def _rows(self, images: Indices) -> Tensor:
        """Returns the features of the images minus the offset, on the device: (n, crops, d)."""
        return torch.from_numpy(np.asarray(self.features[images])).to(self.device, torch.float64) - self.offset

    def _centred_rows(self, images: Indices) -> tuple[Tensor, Tensor]:
        rows = self._rows(images).flatten(0, 1)  # fits in memory: fewer rows than columns
        mean = rows.mean(dim=0)
        return rows - mean, mean

    def _centred_scores(self, images: Indices) -> tuple[Tensor, Tensor]:
        scores = self.scores[torch.tensor(images, device=self.device)]
        mean = scores.mean()
        return scores - mean, mean

    def _normal_equations(self, train: Indices) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Returns X'X (lower triangle), X'y, the mean training row (minus the offset) and the mean training score."""
        n = self.crops * len(train)
        held_out = np.setdiff1d(np.arange(len(self.features)), train)
        if len(held_out) < len(train):
            whole = self._whole_moments
            gram, c, total = (part.clone() for part in whole)
            self._accumulate(held_out, gram, c, total, sign=-1)
        else:
            gram, c, total = self._moments(train)
        _, score_mean = self._centred_scores(train)
        mean = total / n
        gram.addr_(mean, mean, alpha=-n)
        c -= total * (score_mean - self.score_offset)
        return gram, c, mean, score_mean

    @cached_property
    def _whole_moments(self) -> tuple[Tensor, Tensor, Tensor]:
        return self._moments(np.arange(len(self.features)))

    def _moments(self, images: Indices) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the sums of x x' (lower triangle), x y and x over all crops x of the images."""
        gram = torch.zeros(self.columns, self.columns, dtype=torch.float64, device=self.device)
        c = torch.zeros(self.columns, dtype=torch.float64, device=self.device)
        total = torch.zeros_like(c)
        self._accumulate(images, gram, c, total, sign=1)
        return gram, c, total

    def _accumulate(self, images: Indices, gram: Tensor, c: Tensor, total: Tensor, sign: int) -> None:
        for start in range(0, len(images), CHUNK):
            part = images[start : start + CHUNK]
            rows = self._rows(part)
            y = self.scores[torch.tensor(part, device=self.device)] - self.score_offset
            sums = rows.sum(dim=1)
            c.addmv_(sums.T, y, alpha=sign)
            total.add_(sums.sum(dim=0), alpha=sign)
            rows = rows.flatten(0, 1)
            for b in range(0, self.columns, BLOCK):
                gram[b:, b : b + BLOCK].addmm_(rows[:, b:].T, rows[:, b : b + BLOCK], alpha=sign)


def best_alpha(grid: Array, alphas: Sequence[float] | Array) -> float:
    """Returns the alpha with the highest median over the rows of `grid` (splits x alphas); of ties, the first."""
    return float(alphas[int(np.argmax(np.median(grid, axis=0)))])


def _solve(gram: Tensor, c: Tensor, vectors: Tensor, alphas: Sequence[float] | Array) -> Tensor:
    """Computes c' (gram + alpha I)^-1 vectors for each alpha.

    Args:
        gram: (m, m), lower triangle; may be overwritten.
        c: (m, 1).
        vectors: (m, n).
        alphas: values of alpha.

    Returns:
        (len(alphas), n).
    """
    if len(alphas) == 1:
        gram.diagonal().add_(alphas[0])
        return _cholesky_solve(gram, c).T @ vectors
    if gram.device.type == "cpu" and len(gram) > 1:
        return _solve_tridiagonal(gram, c, vectors, alphas)
    return _solve_eigen(gram, c, vectors, alphas)


def _cholesky_solve(matrix: Tensor, right: Tensor) -> Tensor:
    return torch.cholesky_solve(right, torch.linalg.cholesky(matrix))


def _solve_eigen(gram: Tensor, c: Tensor, vectors: Tensor, alphas: Sequence[float] | Array) -> Tensor:
    """Computes `_solve` by the eigendecomposition of gram."""
    values, q = torch.linalg.eigh(gram)
    shifts = torch.as_tensor(np.asarray(alphas), dtype=torch.float64, device=gram.device)
    solved = (q.T @ c).T / (values.clamp(min=0) + shifts[:, None])  # alphas x m
    return solved @ (q.T @ vectors)


def _solve_tridiagonal(gram: Tensor, c: Tensor, vectors: Tensor, alphas: Sequence[float] | Array) -> Tensor:
    """Computes `_solve` by Householder tridiagonalisation, the first of three steps of an eigendecomposition (m > 1).

    The other two steps take most of the time and are not needed, because a tridiagonal system can be solved in O(m) for
    each alpha. LAPACK is called through SciPy because PyTorch has no tridiagonalisation.
    """
    m = len(gram)
    work = int(lapack.dsytrd_lwork(m, lower=1)[0])
    packed, diagonal, off_diagonal, tau, _ = lapack.dsytrd(gram.numpy(), lower=1, lwork=work)
    rotated = torch.cat([c, vectors], dim=1).numpy()
    # Q does not change the first row. On the other rows it is the Q of a QR decomposition, stored below the diagonal.
    reflectors, rest = packed[1:, :-1], rotated[1:]
    work = int(lapack.dormqr("L", "T", reflectors, tau, rest, -1)[1][0])
    rotated[1:] = lapack.dormqr("L", "T", reflectors, tau, rest, work)[0]
    solved = np.empty((len(alphas), m))
    for row, alpha in zip(solved, alphas, strict=True):
        *_, row[:], info = lapack.dptsv(diagonal + alpha, off_diagonal, rotated[:, 0])
        if info:
            raise np.linalg.LinAlgError(f"the system is not positive definite at alpha = {alpha:g}")
    return torch.from_numpy(solved @ rotated[:, 1:])
