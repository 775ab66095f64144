"""Adapters of PEFT on one small encoder (or language model, where a method wants one)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from tests.kernels.coverage.architecture import MakeBatch, perturbed, text
from tests.kernels.coverage.text_decoders import LLAMA
from tests.kernels.coverage.text_encoders import BERT


@dataclass(frozen=True)
class Adapter:
    """A kind of adapter with the settings that make it small; fields as those of ``Architecture``."""

    name: str
    config: str
    settings: dict[str, Any] = field(default_factory=dict)
    base: str = "BertForSequenceClassification"
    batch: MakeBatch = text(8)
    output: Callable[[Any], Tensor] | None = None
    single: str = ""
    twice: str = ""
    refused: str = ""

    def build(self) -> nn.Module:
        """Make the adapted network: the base frozen, the adapter and the head trainable, none of them at zero."""
        import peft
        import transformers

        kind = getattr(transformers, self.base)
        base = kind(kind.config_class(**(BERT if self.base.startswith("Bert") else LLAMA)))
        settings = {"task_type": "SEQ_CLS"} | self.settings
        model = peft.get_peft_model(base, getattr(peft, self.config)(**settings))
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():  # adapters begin as the identity, which would hide mistakes
            for p in model.parameters():
                if p.requires_grad:
                    p.add_(0.1 * torch.randn(p.shape, generator=generator))
        return perturbed(model)


LAYERS = {"target_modules": ["query", "value"]}
PROMPTS = {"num_virtual_tokens": 3}

ADAPTERS = [
    Adapter("LoRA", "LoraConfig", LAYERS | {"r": 2}),
    Adapter("DoRA", "LoraConfig", LAYERS | {"r": 2, "use_dora": True}),
    Adapter("rsLoRA", "LoraConfig", LAYERS | {"r": 2, "use_rslora": True}),
    Adapter("LoRA of embeddings", "LoraConfig", {"target_modules": ["word_embeddings", "query"], "r": 2}),
    Adapter("AdaLoRA", "AdaLoraConfig", LAYERS | {"init_r": 3, "target_r": 2, "total_step": 10}),
    Adapter(
        "IA3",
        "IA3Config",
        {"target_modules": ["key", "value", "output.dense"], "feedforward_modules": ["output.dense"]},
    ),
    Adapter("LoHa", "LoHaConfig", LAYERS | {"r": 2}),
    Adapter("LoKr", "LoKrConfig", LAYERS | {"r": 2}),
    Adapter("OFT", "OFTConfig", LAYERS | {"oft_block_size": 4, "r": 0}),
    Adapter("BOFT", "BOFTConfig", LAYERS | {"boft_block_size": 4, "boft_n_butterfly_factor": 1}),
    Adapter("VeRA", "VeraConfig", LAYERS | {"r": 4}),
    Adapter("FourierFT", "FourierFTConfig", LAYERS | {"n_frequency": 10}),
    Adapter("HRA", "HRAConfig", LAYERS | {"r": 2}),
    Adapter("VB-LoRA", "VBLoRAConfig", LAYERS | {"r": 2, "num_vectors": 6, "vector_length": 4, "topk": 2}),
    Adapter("MiSS (Bone)", "MissConfig", LAYERS | {"r": 2}),
    Adapter("RandLoRA", "RandLoraConfig", LAYERS | {"r": 4}),
    Adapter("C3A", "C3AConfig", LAYERS | {"block_size": 4}),
    Adapter("SHiRA", "ShiraConfig", LAYERS | {"r": 2}),
    Adapter("RoAd", "RoadConfig", LAYERS | {"variant": "road_1", "group_size": 4}),
    Adapter("WaveFT", "WaveFTConfig", LAYERS | {"n_frequency": 10}),
    Adapter("DeLoRA", "DeloraConfig", LAYERS | {"r": 2}),
    Adapter("GraLoRA", "GraloraConfig", LAYERS | {"r": 4, "gralora_k": 2}),
    Adapter("OSF", "OSFConfig", LAYERS),
    Adapter("LN tuning", "LNTuningConfig", {"target_modules": ["LayerNorm"]}),
    Adapter(
        "Trainable tokens", "TrainableTokensConfig", {"target_modules": ["word_embeddings"], "token_indices": [4, 7]}
    ),
    Adapter(
        "Poly",
        "PolyConfig",
        LAYERS | {"r": 2, "n_tasks": 2, "n_skills": 2},
        batch=text(8, task_ids=lambda n, g: torch.arange(n) % 2),
    ),
    Adapter("Prompt tuning", "PromptTuningConfig", PROMPTS),
    Adapter("P-tuning", "PromptEncoderConfig", PROMPTS | {"encoder_hidden_size": 8}),
    Adapter("Prefix tuning", "PrefixTuningConfig", PROMPTS, base="LlamaForSequenceClassification"),
    Adapter(
        "Multitask prompt tuning",
        "MultitaskPromptTuningConfig",
        PROMPTS | {"num_tasks": 2},
        batch=text(8, task_ids=lambda n, g: torch.arange(n) % 2),
    ),
]
