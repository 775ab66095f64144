"""Stage ``derivatives``: what a training's rows have to do with what it answers, by MAGIC."""
