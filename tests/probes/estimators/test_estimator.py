"""The bank keeps scikit-learn's contract."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import parametrize_with_checks

from probes.estimators.bank import ProbeBank
from probes.estimators.solving.logistic import sigmoid
from tests.probes.worlds import make_world


class AnyTargets(ProbeBank):
    """The bank, with targets brought into [0, 1] first: scikit-learn's checks use class numbers and reals."""

    def fit(self, X: Any, y: Any = None, **more: Any) -> Self:
        rate = None if y is None else sigmoid(np.real(y).astype(float))
        return super().fit(X, rate, **more)


@parametrize_with_checks([AnyTargets(n_folds=3)])
def test_scikit_learns_checks(estimator: Any, check: Any) -> None:
    check(estimator)


def test_it_can_be_cloned_and_searched() -> None:
    world = make_world(120)
    assert clone(ProbeBank(n_folds=3)).get_params()["n_folds"] == 3
    search = GridSearchCV(
        ProbeBank(n_folds=3),
        {"strengths": [(1e-3,), (1e-2,)]},
        scoring=lambda bank, x, y: -float(np.mean((bank.predict(x) - y) ** 2)),
        cv=2,
    ).fit(world.features, world.correct)
    assert search.best_params_["strengths"] in ((1e-3,), (1e-2,))


@pytest.mark.parametrize("rows", [slice(0, 40), slice(40, 80)])
def test_predictions_of_rows_do_not_depend_on_other_rows(rows: slice) -> None:
    world = make_world(120)
    bank = ProbeBank().fit(world.features, world.correct)
    np.testing.assert_allclose(
        bank.predict(world.features[rows]), bank.predict(world.features)[rows], rtol=1e-9
    )
