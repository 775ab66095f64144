"""Stage ``barriers``: loss and error on the straight line between the networks of two seeds."""
