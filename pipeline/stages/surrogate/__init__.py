"""Stage ``surrogate``: a kernel machine in the network's place."""
