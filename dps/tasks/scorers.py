"""Metrics by the names of scikit-learn's scorers (`sklearn.metrics.get_scorer_names`).

All of them are better when higher: what is an error is negated (neg_log_loss). A scorer asks an estimator;
here what a model predicted stands in its place: probabilities (n, classes) or (n, labels), or numbers (n,).
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
LIKELIHOOD_RATIO_SUFFIX = "likelihood_ratio"  # have no highest value
UNBOUNDED_PREFIXES = ("neg_", "d2_", "r2", "explained_variance")  # below


def make_scorer_metric(name: str) -> Callable[[Array, Array], float]:
    """The scorer of this name as a function of labels and predictions; NaN where it is undefined, as where a
    class is missing among the labels."""
    from sklearn.metrics import get_scorer

    scorer = get_scorer(name)

    def read(labels: Array, predictions: Array) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return _call_scorer(scorer, labels, predictions)
            except ValueError:
                return math.nan

    return read


def is_scorer_name(name: str) -> bool:
    """Whether scikit-learn has a scorer of this name."""
    from sklearn.metrics import get_scorer_names

    return name in get_scorer_names()


def get_score_bounds(name: str) -> tuple[float, float]:
    """The lowest and the highest score that there can be."""
    lowest = (
        -math.inf if name.startswith(UNBOUNDED_PREFIXES) else -1.0 if name == "matthews_corrcoef" else 0.0
    )
    return lowest, 0.0 if name.startswith("neg_") else 1.0


@cache
def is_fitting_scorer(name: str, labels: int, multi_label: bool = False) -> bool:
    """Whether there is a scorer of this name for so many classes (0: for numbers).

    It gives a number for random, perfect and constant predictions, and likes perfect ones best.
    """
    from sklearn.exceptions import UndefinedMetricWarning
    from sklearn.metrics import cluster, get_scorer

    if not is_scorer_name(name) or name in cluster.__all__ or name.endswith(LIKELIHOOD_RATIO_SUFFIX):
        return False
    if labels and (
        is_fitting_scorer(name, 0) or name.endswith("_error")
    ):  # of numbers, not of the ids of classes
        return False
    rng = np.random.default_rng(0)
    gold, perfect = _make_examples(labels, multi_label, rng)
    noise = rng.random(perfect.shape) if labels else rng.normal(size=len(gold))
    random = noise / noise.sum(axis=1, keepdims=True) if labels and not multi_label else noise
    constant = np.broadcast_to(perfect.mean(axis=0), perfect.shape)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", UndefinedMetricWarning)  # of what is never predicted
        try:
            scores = [_call_scorer(get_scorer(name), gold, said) for said in (perfect, random, constant)]
        except (ValueError, TypeError, AttributeError, Warning):
            return False
    best, of_chance, of_a_constant = scores
    return bool(np.isfinite(scores).all()) and best > of_chance and best >= of_a_constant


def suggest_scorers(name: str, labels: int, multi_label: bool = False, most: int = 3) -> list[str]:
    """The names of scorers that fit, those most like `name`."""
    from sklearn.metrics import get_scorer_names

    there = [one for one in get_scorer_names() if is_fitting_scorer(one, labels, multi_label)]
    return difflib.get_close_matches(name, there, most, cutoff=0.0)


def _make_examples(labels: int, multi_label: bool, rng: np.random.Generator) -> tuple[Array, Array]:
    """(labels, perfect predictions) of a few examples."""
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
        several = labels.ndim == 2
        gold = labels.astype(np.int64)
        return float(scorer(_make_estimator(predictions.shape[1], several), predictions, gold))


@cache
def _make_estimator(labels: int | None, several: bool = False) -> Any:
    """An estimator whose examples are the predictions themselves; labels: None of a regression."""
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

    class Numbers(RegressorMixin, BaseEstimator):
        def predict(self, x: Array) -> Array:
            return x

    class Classes(ClassifierMixin, BaseEstimator):
        classes_: Any = [np.arange(2)] * (labels or 0) if several else np.arange(labels or 0)

        def predict_proba(self, x: Array) -> Array:
            return x

        def predict(self, x: Array) -> Array:
            return (x > 0.5).astype(np.int64) if several else x.argmax(axis=1)

    return Numbers() if labels is None else Classes()
