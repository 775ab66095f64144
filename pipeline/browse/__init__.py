"""One page over all artifacts of a store, written as a file or kept fresh on this machine (``stage=browse``)."""
