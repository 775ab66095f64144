"""Stage ``spectra``: weights read by random-matrix theory."""
