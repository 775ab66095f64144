"""The whole graph at once: what may begin, who makes it, how long it will take, and what a person sees meanwhile."""
