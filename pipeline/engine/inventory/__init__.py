"""What a store holds, found with few look-ups: where artifacts lie, what each says of itself, and the index of that."""
