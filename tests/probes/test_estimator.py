"""The bank keeps scikit-learn's contract."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import parametrize_with_checks

from probes.bank import ProbeBank
from tests.probes.worlds import make_world

OUTSIDE = "their targets are no success rates in [0, 1]"


@parametrize_with_checks(
    [ProbeBank(n_folds=3)],
    expected_failed_checks=lambda _: {},
)
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
