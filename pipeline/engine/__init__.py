"""Graph, store, addresses, executor and the table of all stages, none of which the engine imports."""
