"""Two-sample tests of distribution shift, their level and power, probes trained across the shift, and text cues.

Procedures with an unknown level (a basis fitted on one side, p-values of pooled cross-validated predictions) are not
offered; their measured false-alarm rates are in docs/studies/shift.md.
"""
