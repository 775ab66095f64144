"""Arrays in, numbers and figures out: surrogates, attribution, statistics, spectra, probes, shift tests."""
