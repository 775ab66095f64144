"""Stage ``layer_kernels``: a kernel machine on each layer's part of the kernel."""
