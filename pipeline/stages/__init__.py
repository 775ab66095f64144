"""One folder per stage: run, read, report, claims."""
