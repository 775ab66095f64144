"""What a kernel is computed from: samples, model outputs and cotangents, checks of both."""
