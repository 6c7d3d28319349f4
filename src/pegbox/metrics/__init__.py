"""Scores, intervals and tests: arithmetic on arrays, without torch.

`runs` says what is scored, `classification` scores one run, `confusion` holds the formulas, `intervals` resamples,
`significance` compares two methods, and `ranking` says which of several can be told apart.
"""
