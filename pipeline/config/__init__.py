"""The schema of every setting: one dataclass module per group of ``conf/``."""
