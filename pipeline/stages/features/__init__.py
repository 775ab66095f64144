"""Stage ``features``: layer outputs of a network, computed once and shared by the stages that read them."""
