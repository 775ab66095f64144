"""Stages, artifact store, data, training and tracking. Importing this package imports no torch."""
