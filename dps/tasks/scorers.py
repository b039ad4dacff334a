"""Metrics with the names of scikit-learn's scorers (`sklearn.metrics.get_scorer_names`).

Higher is better for all of them: errors are negated (neg_log_loss). A scorer expects an estimator; here one
that returns stored predictions takes its place: probabilities (n, classes) or (n, labels), or numbers (n,).
"""

from __future__ import annotations

import difflib
import math
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
LIKELIHOOD_RATIO_SUFFIX = "likelihood_ratio"  # these have no highest value
UNBOUNDED_PREFIXES = ("neg_", "d2_", "r2", "explained_variance")  # no lowest value


def make_scorer_metric(name: str) -> Callable[[Array, Array], float]:
    """Return the scorer of this name as a function of labels and predictions.

    Its value is NaN where the scorer is undefined, as when the labels lack a class.
    """
    from sklearn.metrics import get_scorer

    scorer = get_scorer(name)

    def compute(labels: Array, predictions: Array) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return _call_scorer(scorer, labels, predictions)
            except ValueError:
                return math.nan

    return compute


def is_scorer_name(name: str) -> bool:
    """Return whether scikit-learn has a scorer of this name."""
    from sklearn.metrics import get_scorer_names

    return name in get_scorer_names()


def get_score_bounds(name: str) -> tuple[float, float]:
    """Return the lowest and the highest possible score."""
    lowest = (
        -math.inf if name.startswith(UNBOUNDED_PREFIXES) else -1.0 if name == "matthews_corrcoef" else 0.0
    )
    return lowest, 0.0 if name.startswith("neg_") else 1.0


@cache
def is_fitting_scorer(name: str, labels: int, multi_label: bool = False) -> bool:
    """Return whether the scorer exists and suits this number of classes or labels (0: regression).

    It suits if it is finite for perfect, random and constant predictions, and highest for perfect ones.
    """
    from sklearn.exceptions import UndefinedMetricWarning
    from sklearn.metrics import cluster, get_scorer

    if not is_scorer_name(name) or name in cluster.__all__ or name.endswith(LIKELIHOOD_RATIO_SUFFIX):
        return False
    if labels and (is_fitting_scorer(name, 0) or name.endswith("_error")):  # for numbers, not for class ids
        return False
    rng = np.random.default_rng(0)
    gold, perfect = _make_examples(labels, multi_label, rng)
    noise = rng.random(perfect.shape) if labels else rng.normal(size=len(gold))
    random = noise / noise.sum(axis=1, keepdims=True) if labels and not multi_label else noise
    constant = np.broadcast_to(perfect.mean(axis=0), perfect.shape)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", UndefinedMetricWarning)  # for classes that are never predicted
        try:
            scorer = get_scorer(name)
            scores = [_call_scorer(scorer, gold, predictions) for predictions in (perfect, random, constant)]
        except (ValueError, TypeError, AttributeError, Warning):
            return False
    return bool(np.isfinite(scores).all()) and scores[0] > scores[1] and scores[0] >= scores[2]


def suggest_scorers(name: str, labels: int, multi_label: bool = False) -> list[str]:
    """Return the three fitting scorers whose names are most like `name`."""
    from sklearn.metrics import get_scorer_names

    fitting = [scorer for scorer in get_scorer_names() if is_fitting_scorer(scorer, labels, multi_label)]
    return difflib.get_close_matches(name, fitting, 3, cutoff=0.0)


def _make_examples(labels: int, multi_label: bool, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return (labels, perfect predictions) of a few examples."""
    if multi_label:
        gold = np.concatenate([np.eye(labels, dtype=np.int64), rng.integers(0, 2, (8, labels))])
        gold[:, 0] |= ~gold.any(axis=1)
        return gold, gold.astype(np.float64)
    if labels:
        gold = np.arange(4 * labels) % labels
        return gold, np.eye(labels)[gold]
    numbers = rng.normal(size=12)
    return numbers, numbers


def _call_scorer(scorer: Any, labels: Array, predictions: Array) -> float:
    import sklearn

    with sklearn.config_context(assume_finite=True, skip_parameter_validation=True):
        if predictions.ndim == 1:
            return float(scorer(_make_estimator(None), predictions, labels))
        estimator = _make_estimator(predictions.shape[1], labels.ndim == 2)
        return float(scorer(estimator, predictions, labels.astype(np.int64)))


@cache
def _make_estimator(labels: int | None, multi_label: bool = False) -> Any:
    """Return an estimator that returns its input as predictions. labels: None for regression."""
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

    class Numbers(RegressorMixin, BaseEstimator):
        def predict(self, x: Array) -> Array:
            return x

    class Classes(ClassifierMixin, BaseEstimator):
        classes_: Any = [np.arange(2)] * (labels or 0) if multi_label else np.arange(labels or 0)

        def predict_proba(self, x: Array) -> Array:
            return x

        def predict(self, x: Array) -> Array:
            return (x > 0.5).astype(np.int64) if multi_label else x.argmax(axis=1)

    return Numbers() if labels is None else Classes()
