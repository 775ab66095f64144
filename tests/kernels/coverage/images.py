"""Networks of images: transformers, convolutions, and mixtures of both."""

import torch

from tests.kernels.coverage.architecture import CLASSES, Architecture, image

VIT = {
    "image_size": 16,
    "patch_size": 4,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 20,
    "num_labels": CLASSES,
}
STAGES = {"depths": [1, 1], "num_labels": CLASSES}
WINDOWS = STAGES | {"image_size": 16, "patch_size": 2, "embed_dim": 8, "num_heads": [2, 2], "window_size": 4}


def _masked_patches(n: int, g: torch.Generator) -> dict[str, torch.Tensor]:
    return {"pixel_values": torch.randn(n, 3, 16, 16, generator=g)}


IMAGES = [
    Architecture("ViT", "ViTForImageClassification", VIT, image()),
    Architecture("DeiT", "DeiTForImageClassification", VIT, image()),
    Architecture(
        "BEiT", "BeitForImageClassification", VIT | {"use_relative_position_bias": True, "out_indices": [1]}, image()
    ),
    Architecture("Swin", "SwinForImageClassification", WINDOWS, image()),
    Architecture("Swin v2", "Swinv2ForImageClassification", WINDOWS, image()),
    Architecture(
        "ConvNeXt", "ConvNextForImageClassification", STAGES | {"num_stages": 2, "hidden_sizes": [8, 12]}, image()
    ),
    Architecture(
        "ConvNeXt v2", "ConvNextV2ForImageClassification", STAGES | {"num_stages": 2, "hidden_sizes": [8, 12]}, image()
    ),
    Architecture(
        "ResNet", "ResNetForImageClassification", STAGES | {"embedding_size": 8, "hidden_sizes": [8, 16]}, image()
    ),
    Architecture(
        "RegNet",
        "RegNetForImageClassification",
        STAGES | {"embedding_size": 8, "hidden_sizes": [8, 16], "groups_width": 4},
        image(),
    ),
    Architecture(
        "MobileNet v1",
        "MobileNetV1ForImageClassification",
        {"depth_multiplier": 0.25, "num_labels": CLASSES},
        image(32),
    ),
    Architecture(
        "MobileNet v2",
        "MobileNetV2ForImageClassification",
        {"depth_multiplier": 0.35, "num_labels": CLASSES},
        image(32),
    ),
    Architecture(
        "MobileViT",
        "MobileViTForImageClassification",
        {
            "image_size": 32,
            "hidden_sizes": [8, 8, 12],
            "neck_hidden_sizes": [4, 4, 8, 8, 8, 12, 16],
            "num_attention_heads": 2,
            "num_labels": CLASSES,
        },
        image(32),
    ),
    Architecture(
        "MobileViT v2",
        "MobileViTV2ForImageClassification",
        {"image_size": 64, "width_multiplier": 0.125, "num_labels": CLASSES, "n_attn_blocks": [1, 1, 1]},
        image(64),
    ),
    Architecture(
        "EfficientNet",
        "EfficientNetForImageClassification",
        {
            "image_size": 32,
            "width_coefficient": 0.25,
            "depth_coefficient": 0.25,
            "hidden_dim": 320,
            "num_labels": CLASSES,
            "in_channels": [8, 8, 12],
            "out_channels": [8, 12, 16],
            "kernel_sizes": [3, 5, 3],
            "strides": [1, 2, 2],
            "num_block_repeats": [1, 1, 1],
            "expand_ratios": [1, 4, 4],
            "depthwise_padding": [],
        },
        image(32),
    ),
    Architecture(
        "LeViT",
        "LevitForImageClassification",
        {
            "image_size": 32,
            "hidden_sizes": [16, 24, 32],
            "num_attention_heads": [2, 3, 4],
            "depths": [1, 1, 1],
            "key_dim": [8, 8, 8],
            "num_labels": CLASSES,
        },
        image(32),
        twice="torch differentiates a batch of one wrongly where a batch normalization comes before "
        "flatten(2).transpose(1, 2), so engine and reference take such a sample twice, as its difference quotients say",
    ),
    Architecture(
        "PoolFormer",
        "PoolFormerForImageClassification",
        {
            "depths": [1, 1],
            "num_encoder_blocks": 2,
            "hidden_sizes": [8, 12],
            "patch_sizes": [7, 3],
            "strides": [4, 2],
            "padding": [2, 1],
            "num_labels": CLASSES,
        },
        image(32),
    ),
    Architecture(
        "SegFormer",
        "SegformerForImageClassification",
        {
            "depths": [1, 1],
            "num_encoder_blocks": 2,
            "hidden_sizes": [8, 12],
            "patch_sizes": [7, 3],
            "strides": [4, 2],
            "sr_ratios": [2, 1],
            "num_attention_heads": [1, 2],
            "mlp_ratios": [2, 2],
            "num_labels": CLASSES,
        },
        image(32),
    ),
    Architecture("DINOv2", "Dinov2ForImageClassification", VIT | {"mlp_ratio": 2}, image()),
    Architecture(
        "Hiera",
        "HieraForImageClassification",
        STAGES
        | {
            "image_size": [16, 16],
            "patch_kernel": [7, 7],
            "patch_stride": [4, 4],
            "patch_padding": [3, 3],
            "embed_dim": 8,
            "num_heads": [1, 2],
            "masked_unit_size": [2, 2],
            "masked_unit_attention": [True, False],
            "query_stride": [2, 2],
            "num_query_pool": 1,
        },
        image(),
    ),
    Architecture(
        "CvT",
        "CvtForImageClassification",
        {
            "patch_sizes": [7, 3, 3],
            "patch_stride": [4, 2, 2],
            "patch_padding": [2, 1, 1],
            "embed_dim": [8, 12, 12],
            "num_heads": [1, 2, 2],
            "depth": [1, 2, 3],
            "mlp_ratio": [2.0, 2.0, 2.0],
            "attention_drop_rate": [0.0, 0.0, 0.0],
            "drop_rate": [0.0, 0.0, 0.0],
            "drop_path_rate": [0.0, 0.0, 0.0],
            "qkv_bias": [True, True, True],
            "cls_token": [False, False, True],
            "qkv_projection_method": ["dw_bn", "dw_bn", "dw_bn"],
            "kernel_qkv": [3, 3, 3],
            "padding_kv": [1, 1, 1],
            "stride_kv": [2, 2, 2],
            "padding_q": [1, 1, 1],
            "stride_q": [1, 1, 1],
            "num_labels": CLASSES,
        },
        image(32),
    ),
    Architecture(
        "PVT",
        "PvtForImageClassification",
        {
            "image_size": 32,
            "num_encoder_blocks": 2,
            "depths": [1, 1],
            "sequence_reduction_ratios": [2, 1],
            "hidden_sizes": [8, 12],
            "patch_sizes": [4, 2],
            "strides": [4, 2],
            "num_attention_heads": [1, 2],
            "mlp_ratios": [2, 2],
            "num_labels": CLASSES,
        },
        image(32),
    ),
    Architecture(
        "PVT v2",
        "PvtV2ForImageClassification",
        {
            "image_size": 32,
            "num_encoder_blocks": 2,
            "depths": [1, 1],
            "sr_ratios": [2, 1],
            "hidden_sizes": [8, 12],
            "patch_sizes": [7, 3],
            "strides": [4, 2],
            "num_attention_heads": [1, 2],
            "mlp_ratios": [2, 2],
            "num_labels": CLASSES,
        },
        image(32),
    ),
    Architecture(
        "BiT",
        "BitForImageClassification",
        STAGES | {"embedding_size": 8, "hidden_sizes": [8, 16], "num_groups": 2},
        image(32),
    ),
    Architecture(
        "FocalNet",
        "FocalNetForImageClassification",
        STAGES
        | {"image_size": 16, "patch_size": 2, "embed_dim": 8, "hidden_sizes": [8, 16]}
        | {"focal_levels": [2, 2], "focal_windows": [3, 3]},
        image(),
    ),
    Architecture(
        "SwiftFormer",
        "SwiftFormerForImageClassification",
        {"depths": [1, 1, 1, 1], "embed_dims": [8, 8, 12, 12], "mlp_ratio": 2, "num_labels": CLASSES},
        image(64),
    ),
    Architecture("ViT-MSN", "ViTMSNForImageClassification", VIT, image()),
    Architecture("DINOv2 with registers", "Dinov2WithRegistersForImageClassification", VIT | {"mlp_ratio": 2}, image()),
]
