"""Blocks, groups and the page that reports are made of."""
