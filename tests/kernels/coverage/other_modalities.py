"""Networks of sound, video, text with images, time series and decisions."""

import torch
from torch import Tensor

from tests.kernels.coverage.architecture import CLASSES, Architecture, image, numbers, text
from tests.kernels.coverage.images import VIT
from tests.kernels.coverage.text_encoders import BERT

WAVES = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 20,
    "conv_dim": [8, 8],
    "conv_stride": [4, 2],
    "conv_kernel": [8, 3],
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
    "classifier_proj_size": 8,
    "num_labels": CLASSES,
}
TOWERS = {
    "text_config": BERT | {"projection_dim": 8, "eos_token_id": 2, "bos_token_id": 1},
    "vision_config": VIT | {"projection_dim": 8},
    "projection_dim": 8,
}


def wave(length: int = 160):
    return numbers(input_values=(length,))


def _text_and_image(n: int, g: torch.Generator) -> dict[str, Tensor]:
    return text()(n, g) | image()(n, g)


def _ended_text_and_image(n: int, g: torch.Generator) -> dict[str, Tensor]:
    batch = _text_and_image(n, g)
    batch["input_ids"].scatter_(1, batch["attention_mask"].sum(1, keepdim=True) - 1, 2)
    return batch


def _similarities(found) -> Tensor:
    """Products of a sample's own text and image, entry by entry: what contrastive logits are sums of."""
    return (found.text_embeds * found.image_embeds)[:, :CLASSES]


def _boxes_found(found) -> Tensor:
    return found.logits[:, 0]


def _decisions(n: int, g: torch.Generator) -> dict[str, Tensor]:
    return {
        "states": torch.randn(n, 4, 5, generator=g),
        "actions": torch.randn(n, 4, 3, generator=g),
        "rewards": torch.randn(n, 4, 1, generator=g),
        "returns_to_go": torch.randn(n, 4, 1, generator=g),
        "timesteps": torch.arange(4).expand(n, 4).clone(),
        "attention_mask": torch.ones(n, 4, dtype=torch.long),
    }


def _series(n: int, g: torch.Generator) -> dict[str, Tensor]:
    return {
        "past_values": torch.randn(n, 12, generator=g),
        "past_time_features": torch.randn(n, 12, 2, generator=g),
        "past_observed_mask": torch.ones(n, 12),
        "future_values": torch.randn(n, 4, generator=g),
        "future_time_features": torch.randn(n, 4, 2, generator=g),
    }


SOUND = [
    Architecture("Wav2Vec2", "Wav2Vec2ForSequenceClassification", WAVES, wave()),
    Architecture("HuBERT", "HubertForSequenceClassification", WAVES, wave()),
    Architecture("WavLM", "WavLMForSequenceClassification", WAVES, wave()),
    Architecture("UniSpeech", "UniSpeechForSequenceClassification", WAVES, wave()),
    Architecture("Data2Vec audio", "Data2VecAudioForSequenceClassification", WAVES, wave()),
    Architecture("SEW", "SEWForSequenceClassification", WAVES | {"squeeze_factor": 2}, wave()),
    Architecture(
        "Wav2Vec2-Conformer",
        "Wav2Vec2ConformerForSequenceClassification",
        WAVES | {"position_embeddings_type": "relative", "conv_depthwise_kernel_size": 3},
        wave(),
    ),
    Architecture(
        "Whisper",
        "WhisperForAudioClassification",
        {
            "d_model": 16,
            "encoder_layers": 2,
            "encoder_attention_heads": 2,
            "encoder_ffn_dim": 20,
            "decoder_layers": 1,
            "decoder_attention_heads": 2,
            "decoder_ffn_dim": 20,
            "num_mel_bins": 8,
            "max_source_positions": 12,
            "classifier_proj_size": 8,
            "num_labels": CLASSES,
            "vocab_size": 40,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "decoder_start_token_id": 1,
            "suppress_tokens": None,
            "begin_suppress_tokens": None,
        },
        numbers(input_features=(8, 24)),
    ),
    Architecture(
        "Audio Spectrogram Transformer",
        "ASTForAudioClassification",
        VIT | {"num_mel_bins": 8, "max_length": 16, "frequency_stride": 4, "time_stride": 4},
        numbers(input_values=(16, 8)),
    ),
]

VIDEO = [
    Architecture(
        "TimeSformer",
        "TimesformerForVideoClassification",
        VIT | {"num_frames": 2},
        numbers(pixel_values=(2, 3, 16, 16)),
    ),
    Architecture(
        "VideoMAE",
        "VideoMAEForVideoClassification",
        VIT | {"num_frames": 2, "tubelet_size": 2},
        numbers(pixel_values=(2, 3, 16, 16)),
    ),
    Architecture(
        "ViViT",
        "VivitForVideoClassification",
        VIT | {"num_frames": 2, "tubelet_size": [2, 4, 4]},
        numbers(pixel_values=(2, 3, 16, 16)),
    ),
]

TEXT_WITH_IMAGES = [
    Architecture("CLIP, images", "CLIPForImageClassification", TOWERS | {"num_labels": CLASSES}, image()),
    Architecture("CLIP", "CLIPModel", TOWERS, _ended_text_and_image, _similarities),
    Architecture("SigLIP, images", "SiglipForImageClassification", TOWERS | {"num_labels": CLASSES}, image()),
    Architecture("SigLIP", "SiglipModel", TOWERS, _ended_text_and_image, _similarities),
    Architecture("ViLT", "ViltForQuestionAnswering", BERT | VIT, _text_and_image),
    Architecture(
        "YOLOS",
        "YolosForObjectDetection",
        VIT | {"image_size": [16, 16], "num_detection_tokens": 3, "use_mid_position_embeddings": False},
        image(),
        _boxes_found,
    ),
    Architecture(
        "DETR",
        "DetrForObjectDetection",
        {
            "use_timm_backbone": False,
            "use_pretrained_backbone": False,
            "backbone_config": {
                "model_type": "resnet",
                "embedding_size": 8,
                "hidden_sizes": [8, 16],
                "depths": [1, 1],
                "out_features": ["stage2"],
            },
            "d_model": 16,
            "encoder_layers": 1,
            "decoder_layers": 1,
            "encoder_attention_heads": 2,
            "decoder_attention_heads": 2,
            "encoder_ffn_dim": 20,
            "decoder_ffn_dim": 20,
            "num_queries": 3,
            "num_labels": CLASSES,
        },
        image(32),
        _boxes_found,
    ),
    Architecture(
        "Perceiver",
        "PerceiverForSequenceClassification",
        {
            "vocab_size": 40,
            "d_model": 16,
            "d_latents": 16,
            "num_latents": 4,
            "num_blocks": 1,
            "num_self_attends_per_block": 1,
            "num_self_attention_heads": 2,
            "num_cross_attention_heads": 2,
            "max_position_embeddings": 16,
            "num_labels": CLASSES,
        },
        lambda n, g: {"inputs": text()(n, g)["input_ids"], "attention_mask": text()(n, g)["attention_mask"]},
    ),
]

SERIES = [
    Architecture(
        "PatchTST",
        "PatchTSTForClassification",
        {
            "num_input_channels": 2,
            "context_length": 16,
            "patch_length": 4,
            "patch_stride": 4,
            "num_hidden_layers": 1,
            "d_model": 16,
            "num_attention_heads": 2,
            "ffn_dim": 20,
            "num_targets": CLASSES,
            "use_cls_token": True,
        },
        numbers(past_values=(16, 2)),
        lambda found: found.prediction_logits,
    ),
    Architecture(
        "PatchTSMixer",
        "PatchTSMixerForTimeSeriesClassification",
        {
            "num_input_channels": 2,
            "context_length": 16,
            "patch_length": 4,
            "patch_stride": 4,
            "num_layers": 1,
            "d_model": 8,
            "num_targets": CLASSES,
        },
        numbers(past_values=(16, 2)),
        lambda found: found.prediction_outputs,
    ),
    Architecture(
        "Time Series Transformer",
        "TimeSeriesTransformerForPrediction",
        {
            "prediction_length": 4,
            "context_length": 9,
            "lags_sequence": [1, 2, 3],
            "num_time_features": 2,
            "d_model": 16,
            "encoder_layers": 1,
            "decoder_layers": 1,
            "encoder_attention_heads": 2,
            "decoder_attention_heads": 2,
            "encoder_ffn_dim": 20,
            "decoder_ffn_dim": 20,
        },
        _series,
        lambda found: found.params[0],
    ),
    Architecture(
        "Decision Transformer",
        "DecisionTransformerModel",
        {
            "state_dim": 5,
            "act_dim": 3,
            "hidden_size": 16,
            "max_ep_len": 8,
            "n_layer": 2,
            "n_head": 2,
            "vocab_size": 2,
            "n_positions": 32,
        },
        _decisions,
        lambda found: found.action_preds[:, -1],
    ),
]
