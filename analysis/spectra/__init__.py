"""Spectra of weights and kernels against random-matrix laws."""
