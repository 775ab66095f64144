"""What came out, as tables: every number of a store or study, what was made when, and what differs between artifacts.

``read_results`` is the one reader; ``stage=results``, ``stage=list`` and ``stage=diff`` show what it and the records of
artifacts say.
"""

from pipeline.results.table import read_results

__all__ = ["read_results"]
