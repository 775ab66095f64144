"""Stage ``attribution``: which training points support a decision."""
