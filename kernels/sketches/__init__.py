"""Random feature maps whose inner products estimate the kernel."""
