"""What a command composes: its words, the names of settings, and what Hydra refuses, in plain sentences."""
