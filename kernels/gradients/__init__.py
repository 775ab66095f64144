"""Per-sample gradients in factored form, and the generic per-sample fallback."""
