"""Linear algebra below the estimators: coordinates, regressions, their strengths and shrinkage."""
