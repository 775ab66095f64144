r"""Per-layer factors of per-sample gradients, from one forward and one batched backward per cotangent.

For consumers (sketches, EK-FAC, the Gram engine)::

    for part in layer_factors(model, data, cotangent="class"):
        part.rows      # slice of sample positions in `data`
        part.logits    # (B, K), detached
        part.labels    # (B,) or None
        for block in part.blocks: ...

``part.blocks`` is a tuple of :mod:`kernels.blocks` objects. Together they cover every trainable parameter exactly once,
always in the same order with the same names and types for every batch of one call. With ``R`` cotangents
(``sum``, ``loss``, ``log_odds``: 1; ``class``: the number of logits):

* ``OuterBlock`` / ``ConvBlock``: ``block.weight`` (qualified parameter name), ``block.bias`` (name or None, covered by
  the same block), ``block.a`` (B, T, g*I), ``block.delta`` (B, R, T, g*O), ``block.groups`` g, ``block.transposed``
  (the parameter stores (I, O)). Gradient: :math:`G_r = \sum_t \delta_{rt} a_t^T` per group, bias
  ``bias_scale * delta.sum(2)``. Scalar factors on the weight are already inside ``a``.
* ``TokenBlock``: ``block.ids`` (B, T) int64 with -1 for none, ``block.delta`` (B, R, T, O).
* ``VectorBlock``: ``block.values`` (B, R, D), plain gradients; ``block.origin`` is ``"fallback"`` when they come from
  the generic per-sample route.
* ``TiedBlock``: ``block.roles``, blocks of the above types whose gradients **add** to the gradient of one tensor.

Every block has ``names`` (parameters covered), ``gradients()`` -> {name: (B, R, *parameter.shape)}, and ``take(slice)``.
Tensors are detached, in the precision of the pass, on the model's device. ``T`` may differ between batches (ragged text).
"""
