"""Kronecker-factored curvature: EK-FAC and Kronecker blocks."""
