"""Stage ``adversarial``: attacks through a network, its kernel machine and another seed's network."""
