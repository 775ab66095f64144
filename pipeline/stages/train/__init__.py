"""Stages ``train``, ``ensemble``, ``pretrain``, ``initial`` and ``snapshots``: the weights that all others look at."""
