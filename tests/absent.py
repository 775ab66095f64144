"""What a run says where data or weights are not on this machine; nothing else skips a test."""

ABSENT = (
    "Could not get ",  # an archive, without a package client and without network
    "cannot be had",  # the hub
    "needs data.path.train=FILE",
    "': there is no file ",
    "no safetensors weights at hub repository",
)
