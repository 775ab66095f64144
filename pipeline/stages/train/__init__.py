"""Stages ``train``, ``ensemble``, ``pretrain``, ``initial``, ``snapshots``: the networks that other stages study."""
