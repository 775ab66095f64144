"""Networks, their training and what is recorded on the way."""
