"""Stage ``regression``: kernel regression in the place of a network's head."""
