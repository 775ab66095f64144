"""The trimming level of a sample against a reference, exact and by bootstrap."""
