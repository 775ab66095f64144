"""Graph, store, keys, executor and the table of all stages. It knows no stage."""
