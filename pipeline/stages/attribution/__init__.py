"""Stage ``attribution``: which training points speak for a decision."""
