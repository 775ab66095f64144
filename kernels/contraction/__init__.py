"""From factors to Gram tiles: operands, forms, plan, assembly, tile store."""
