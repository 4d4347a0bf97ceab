"""How good a reading is where the truth is known: pure functions of arrays, one definition each."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray


def hits(top_ids: NDArray[np.integer], wanted: Collection[int], k: int) -> NDArray[np.bool_]:
    """Whether one of the tokens wanted is among the k best.

    Args:
        top_ids: ``[.., rank]``, best first.
        wanted: token ids.
        k: how many of the best count.

    Returns:
        ``[..]``.
    """
    found = np.isin(top_ids[..., :k], np.fromiter(wanted, np.int64, len(wanted)))
    return np.asarray(found.any(-1))


def pointing(scores: NDArray[np.floating], positive: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The pointing game (Zhang et al. 2016): whether the highest score lies on the thing.

    Args:
        scores: ``[.., n]``.
        positive: ``[n]``.

    Returns:
        ``[..]``: of several patches that share the highest score, the part that lies on it; NaN without a
        positive.
    """
    if not positive.any():
        return np.full(scores.shape[:-1], np.nan)
    best = scores == scores.max(-1, keepdims=True)
    return (best & positive).sum(-1) / best.sum(-1)


def iou(
    scores: NDArray[np.floating], positive: NDArray[np.bool_], threshold: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Intersection over union of the thing and the patches whose score reaches a threshold.

    Args:
        scores: ``[.., n]``.
        positive: ``[n]``.
        threshold: ``[..]``.

    Returns:
        ``[..]``; NaN without a positive.
    """
    if not positive.any():
        return np.full(scores.shape[:-1], np.nan)
    chosen = scores >= threshold[..., None]
    return (chosen & positive).sum(-1) / (chosen | positive).sum(-1)


def best_threshold(
    maps: Sequence[NDArray[np.floating]],
    positives: Sequence[NDArray[np.bool_]],
    weights: Sequence[float],
    n: int = 64,
) -> float:
    """The threshold with the highest mean IoU, of ``n`` quantiles of all scores, evenly spread.

    Args:
        maps: scores of each map, ``[patch]`` each.
        positives: ``[patch]`` each, none of them without a positive.
        weights: how much each map counts.
        n: how many to try.

    Returns:
        Infinity where there is no map.
    """
    if not maps:
        return float("inf")
    tried = np.unique(np.quantile(np.concatenate(maps), np.linspace(0, 1, n), method="lower"))
    found = [iou(scores[None], positive, tried) for scores, positive in zip(maps, positives, strict=True)]
    return float(tried[int(np.argmax(np.average(found, axis=0, weights=weights)))])


def marginal_bias(
    log_mean_final: NDArray[np.floating], log_mean_lens: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Bias of a lens (Belrose et al. 2023, section 3): ``KL(mean p_final || mean p_lens)``, in bits.

    Args:
        log_mean_final: ``[vocab]``, logarithm of the model's own distribution averaged over positions, nats.
        log_mean_lens: ``[.., vocab]``, the same of the lens, over the same positions.

    Returns:
        ``[..]``.
    """
    p, q = np.asarray(log_mean_final, np.float64), np.asarray(log_mean_lens, np.float64)
    return (np.exp(p) * (p - q)).sum(-1) / np.log(2)
