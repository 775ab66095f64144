"""Stage ``statistics``: seed statistics over all runs of an experiment."""
