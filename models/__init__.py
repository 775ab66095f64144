"""Networks that the studies train, and the one Lightning module that trains them."""
