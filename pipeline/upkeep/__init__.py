"""Upkeep of a store: what in it is damaged, and what may be deleted."""
