"""What a router has to beat: success forecasts from length, words, neighbours, and probes of their own.

All share one interface (`eval.baselines.base.Forecaster`) with the probe bank, so that the harness treats
them alike: fit on the training split, calibrated and tuned on the calibration split, judged on the test.
"""
