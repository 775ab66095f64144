"""Stage ``features``: layer outputs of a network, made once for all that read them."""
