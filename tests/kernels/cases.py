"""The one shared list of models on which every kernel is compared with its slow reference."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from tests.kernels.composed_models import (
    DerivedWeights,
    HeadWeights,
    Lookups,
    Recurrent,
    SharedPositionBias,
    ShiftedWindows,
    bag,
)
from tests.kernels.small_models import (
    Attention,
    BareParameters,
    Checkpointed,
    FlattenedTokens,
    Gated,
    InPlace,
    Mean,
    PositionIds,
    TiedLanguageModel,
    TiedLinear,
    UsedAtTwoLengths,
    UsedTwice,
    convolution,
    low_rank,
    mlp,
    normalized,
    tiny_bert,
    tiny_gpt2,
    tiny_resnet,
)

Inputs = Tensor | dict[str, Tensor]


@dataclass(frozen=True)
class Case:
    """A small model and its inputs. `head` names the output layer where a conjugate kernel makes sense."""

    name: str
    model: Callable[[], nn.Module]
    inputs: Callable[[int, torch.Generator], Inputs]
    classes: int = 3
    head: str | None = None
    frozen: tuple[str, ...] = ()
    # Parameters that no rule can own, so that the generic fallback has to.
    fallback: tuple[str, ...] = ()
    # Where samples are not along the leading axis of every layer's input.
    unusual_layout: bool = False


def make(
    case: Case, n: int = 4, *, dtype: torch.dtype = torch.float64, seed: int = 0
) -> tuple[nn.Module, Inputs, Tensor]:
    """The case's model (eval mode; random gains, biases, running statistics), n inputs and labels."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = case.model().to(dtype).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.ndim <= 1:  # gains of one and biases of zero would hide mistakes
                p.add_(0.2 * torch.randn(p.shape, generator=generator, dtype=torch.float64).to(dtype))
            if name.startswith(case.frozen) if case.frozen else False:
                p.requires_grad_(False)
        for name, b in model.named_buffers():
            if name.endswith("running_mean"):
                b.copy_(0.3 * torch.randn(b.shape, generator=generator, dtype=torch.float64))
            if name.endswith("running_var"):
                b.copy_(0.5 + torch.rand(b.shape, generator=generator, dtype=torch.float64))
    inputs = case.inputs(n, generator)
    if isinstance(inputs, Tensor):
        inputs = inputs.to(dtype) if inputs.is_floating_point() else inputs
    labels = torch.randint(0, max(case.classes, 2), (n,), generator=generator)
    return model, inputs, labels


def features(*shape: int) -> Callable[[int, torch.Generator], Tensor]:
    return lambda n, g: torch.randn(n, *shape, generator=g, dtype=torch.float64)


def tokens(length: int, vocabulary: int) -> Callable[[int, torch.Generator], Tensor]:
    return lambda n, g: torch.randint(0, vocabulary, (n, length), generator=g)


def padded_text(length: int, vocabulary: int, *, pad: int) -> Callable[[int, torch.Generator], dict[str, Tensor]]:
    """Hugging Face inputs padded on the right, each sample with its own length."""

    def build(n: int, g: torch.Generator) -> dict[str, Tensor]:
        ids = torch.randint(1, vocabulary, (n, length), generator=g)
        lengths = torch.randint(2, length + 1, (n,), generator=g)
        mask = (torch.arange(length)[None] < lengths[:, None]).long()
        return {"input_ids": torch.where(mask.bool(), ids, pad), "attention_mask": mask}

    return build


def gated_tokens(n: int, g: torch.Generator) -> Tensor:
    """As many open gates as samples, one in each of the first three, but two in the fourth and none in the fifth."""
    x = torch.randn(n, 3, 4, generator=g, dtype=torch.float64)
    opened = torch.tensor([1, 1, 1, 2, 0])[torch.arange(n) % 5]
    x[:, :, 0] = torch.where(torch.arange(3) < opened[:, None], 1.0, -1.0) * x[:, :, 0].abs()
    return x


CASES: list[Case] = [
    Case("mlp", lambda: mlp(6, 8, 7, 3), features(6), head="4"),
    Case("mlp_relu_without_bias", lambda: mlp(6, 8, 3, bias=False, activation=nn.ReLU), features(6), head="2"),
    Case("mlp_one_output", lambda: mlp(6, 8, 1), features(6), classes=1, head="2"),
    Case("flat_output", lambda: nn.Sequential(mlp(6, 8, 1), nn.Flatten(0)), features(6), classes=1, head="0.2"),
    Case(
        "linear_over_tokens",
        lambda: nn.Sequential(mlp(4, 6, 5), Mean(last=True), nn.Linear(5, 3)),
        features(3, 4),
    ),
    Case(
        "linear_over_grid",
        lambda: nn.Sequential(mlp(4, 6, 5), Mean(last=True), nn.Linear(5, 3)),
        features(2, 3, 4),
    ),
    Case("frozen_first_layer", lambda: mlp(6, 8, 7, 3), features(6), head="4", frozen=("0.",)),
    Case("frozen_all_but_biases", lambda: mlp(6, 8, 3), features(6), head="2", frozen=("0.weight", "2.weight")),
    Case("conv1d_stride_pad", lambda: convolution(nn.Conv1d(3, 4, 3, 2, 1), 4), features(3, 7)),
    Case("conv1d_dilated", lambda: convolution(nn.Conv1d(3, 4, 2, dilation=3), 4), features(3, 7)),
    Case("conv2d", lambda: convolution(nn.Conv2d(3, 4, 3, padding=1), 4), features(3, 5, 5)),
    Case("conv2d_stride_pad", lambda: convolution(nn.Conv2d(3, 4, 3, 2, 1, bias=False), 4), features(3, 5, 6)),
    Case(
        "conv2d_uneven",
        lambda: convolution(nn.Conv2d(2, 4, (2, 3), (3, 2), (1, 0), (1, 2)), 4),
        features(2, 6, 8),
    ),
    Case("conv2d_groups", lambda: convolution(nn.Conv2d(4, 6, 3, 2, 1, 2, groups=2), 6), features(4, 7, 7)),
    Case("conv2d_depthwise", lambda: convolution(nn.Conv2d(4, 8, 3, padding=1, groups=4), 8), features(4, 4, 4)),
    Case("conv2d_pointwise_stride", lambda: convolution(nn.Conv2d(3, 4, 1, 2), 4), features(3, 5, 5)),
    Case(
        "conv2d_same",
        lambda: convolution(nn.Conv2d(2, 3, (5, 3), 1, "same", (1, 2)), 3),
        features(2, 5, 4),
    ),
    Case(
        "conv2d_circular",
        lambda: convolution(nn.Conv2d(2, 3, 3, 2, 1, padding_mode="circular"), 3),
        features(2, 5, 4),
    ),
    Case(
        "conv2d_reflect",
        lambda: convolution(nn.Conv2d(2, 3, 3, 1, 1, padding_mode="reflect"), 3),
        features(2, 4, 4),
    ),
    Case("conv2d_stride_over_kernel", lambda: convolution(nn.Conv2d(2, 3, 2, 3), 3), features(2, 7, 7)),
    Case(
        "conv3d",
        lambda: convolution(nn.Conv3d(2, 3, (2, 1, 3), (1, 2, 1), (0, 1, 1)), 3),
        features(2, 3, 3, 4),
    ),
    Case("conv_transpose1d", lambda: convolution(nn.ConvTranspose1d(3, 4, 3, 2, 1, 1), 4), features(3, 4)),
    Case(
        "conv_transpose2d",
        lambda: convolution(nn.ConvTranspose2d(4, 6, (3, 2), (2, 1), (1, 0), groups=2, dilation=(1, 2)), 6),
        features(4, 3, 4),
    ),
    Case(
        "conv_transpose3d",
        lambda: convolution(nn.ConvTranspose3d(2, 3, 2, 2, bias=False), 3),
        features(2, 2, 2, 2),
    ),
    Case(
        "batchnorm1d",
        lambda: nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3)),
        features(5),
    ),
    Case("batchnorm1d_positions", lambda: normalized(nn.BatchNorm1d(4), 4, last=False), features(4, 5)),
    Case("batchnorm2d", lambda: normalized(nn.BatchNorm2d(4), 4, last=False), features(4, 3, 3)),
    Case("groupnorm", lambda: normalized(nn.GroupNorm(2, 4), 4, last=False), features(4, 3, 3)),
    Case(
        "instancenorm",
        lambda: normalized(nn.InstanceNorm2d(4, affine=True), 4, last=False),
        features(4, 3, 3),
    ),
    Case("layernorm", lambda: normalized(nn.LayerNorm(4), 4, last=True), features(3, 4)),
    Case(
        "layernorm_two_axes",
        lambda: normalized(nn.LayerNorm((3, 4), bias=False), 4, last=True),
        features(2, 3, 4),
    ),
    Case("rmsnorm", lambda: normalized(nn.RMSNorm(4), 4, last=True), features(3, 4)),
    Case(
        "prelu",
        lambda: nn.Sequential(nn.Linear(5, 4), nn.PReLU(4), nn.Linear(4, 3)),
        features(5),
    ),
    Case(
        "prelu_channels",
        lambda: nn.Sequential(nn.Conv2d(2, 3, 2), nn.PReLU(3), Mean(last=False), nn.Linear(3, 3)),
        features(2, 3, 3),
    ),
    Case("position_ids", PositionIds, tokens(5, 9)),
    Case("tied_linear", TiedLinear, features(5), head="head"),
    Case("tied_language_model", TiedLanguageModel, tokens(5, 7)),
    Case("used_twice", UsedTwice, features(5), head="head"),
    Case("used_at_two_lengths", UsedAtTwoLengths, features(2, 4, 4), head="head"),
    Case("rows_picked_by_the_data", Gated, gated_tokens, head="head", fallback=("expert",)),
    Case("checkpointed", Checkpointed, features(5), head="head"),
    Case("in_place", InPlace, features(5), head="head"),
    Case(
        "bare_parameters",
        BareParameters,
        features(3, 4),
    ),
    Case(
        "weight_norm",
        lambda: nn.Sequential(parametrizations.weight_norm(nn.Linear(5, 6)), nn.Tanh(), nn.Linear(6, 3)),
        features(5),
        head="2",
    ),
    Case(
        "spectral_norm",
        lambda: nn.Sequential(parametrizations.spectral_norm(nn.Linear(5, 6)), nn.Tanh(), nn.Linear(6, 3)),
        features(5),
    ),
    Case("low_rank_adapter", low_rank, features(5), head="2"),
    Case("shared_position_bias", SharedPositionBias, tokens(5, 9)),
    Case("shifted_windows", ShiftedWindows, features(4, 4)),
    Case("derived_weights", DerivedWeights, features(3, 4)),
    Case("lstm", lambda: Recurrent(nn.LSTM(3, 4, 2, bidirectional=True, batch_first=True), 8), features(4, 3)),
    Case("lstm_projected", lambda: Recurrent(nn.LSTM(3, 4, proj_size=2), 2), features(4, 3)),
    Case("gru", lambda: Recurrent(nn.GRU(3, 4, bidirectional=True), 8), features(4, 3)),
    Case("rnn_without_bias", lambda: Recurrent(nn.RNN(3, 4, nonlinearity="relu", bias=False), 4), features(4, 3)),
    Case("lstm_cell", lambda: Recurrent(nn.LSTMCell(3, 4), 4, cell=True), features(4, 3)),
    Case("gru_cell", lambda: Recurrent(nn.GRUCell(3, 4), 4, cell=True), features(4, 3)),
    Case("head_weights", HeadWeights, features(3, 4)),
    Case("lookups", Lookups, tokens(5, 9)),
    Case("embedding_bag_mean", lambda: bag("mean", padding=0), tokens(5, 9)),
    Case("embedding_bag_sum", lambda: bag("sum"), tokens(5, 9)),
    Case("embedding_bag_max", lambda: bag("max"), tokens(5, 9)),
    Case("self_attention", Attention, features(3, 4), head="head"),
    Case(
        "cross_attention",
        lambda: Attention(cross=True, kdim=6, vdim=6, bias=False),
        features(3, 4),
        head="head",
    ),
    Case(
        "attention_bias_kv",
        lambda: Attention(add_bias_kv=True),
        features(3, 4),
    ),
    Case("cross_attention_packed", lambda: Attention(cross=True), features(3, 4), head="head"),
    Case("attention_time_first", lambda: Attention(batch_first=False), features(3, 4), unusual_layout=True),
    Case("flattened_tokens", FlattenedTokens, features(3, 4), unusual_layout=True),
    Case("tiny_resnet", tiny_resnet, features(3, 8, 8), head="8"),
    Case("tiny_gpt2", tiny_gpt2, padded_text(6, 11, pad=0), head="score"),
    Case("tiny_bert", tiny_bert, padded_text(6, 11, pad=0), classes=2, head="classifier"),
]

BY_NAME: dict[str, Case] = {case.name: case for case in CASES}
