"""Language models that read from left to right: attention, mixtures of experts, and states."""

from tests.kernels.coverage.architecture import CLASSES, Architecture, last_token, plain_text, text

LLAMA = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "intermediate_size": 20,
    "max_position_embeddings": 32,
    "num_labels": CLASSES,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GPT = {
    "vocab_size": 40,
    "n_embd": 16,
    "n_layer": 2,
    "n_head": 2,
    "n_positions": 32,
    "num_labels": CLASSES,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
EXPERTS = {"num_experts_per_tok": 2, "num_experts": 4, "moe_intermediate_size": 12, "decoder_sparse_step": 1}

DECODERS = [
    Architecture("GPT-2", "GPT2ForSequenceClassification", GPT, text()),
    Architecture("GPT", "OpenAIGPTForSequenceClassification", GPT, text()),
    Architecture("GPT-J", "GPTJForSequenceClassification", GPT | {"rotary_dim": 4}, text()),
    Architecture(
        "GPT-Neo",
        "GPTNeoForSequenceClassification",
        {
            "vocab_size": 40,
            "hidden_size": 16,
            "num_layers": 2,
            "num_heads": 2,
            "intermediate_size": 20,
            "max_position_embeddings": 32,
            "attention_types": [[["global", "local"], 1]],
            "window_size": 4,
            "num_labels": CLASSES,
            "pad_token_id": 0,
        },
        text(),
    ),
    Architecture("GPT-NeoX", "GPTNeoXForSequenceClassification", LLAMA, text()),
    Architecture("GPTBigCode", "GPTBigCodeForSequenceClassification", GPT, text()),
    Architecture(
        "OPT",
        "OPTForSequenceClassification",
        LLAMA | {"ffn_dim": 20, "word_embed_proj_dim": 8},
        text(),
    ),
    Architecture(
        "BLOOM",
        "BloomForSequenceClassification",
        {"vocab_size": 40, "hidden_size": 16, "n_layer": 2, "n_head": 2, "num_labels": CLASSES, "pad_token_id": 0},
        text(),
    ),
    Architecture("CTRL", "CTRLForSequenceClassification", GPT | {"dff": 20}, text()),
    Architecture("Llama", "LlamaForSequenceClassification", LLAMA, text()),
    Architecture("Mistral", "MistralForSequenceClassification", LLAMA | {"sliding_window": 4}, text()),
    Architecture("Qwen2", "Qwen2ForSequenceClassification", LLAMA, text()),
    Architecture("Qwen3", "Qwen3ForSequenceClassification", LLAMA, text()),
    Architecture("Gemma", "GemmaForSequenceClassification", LLAMA, text()),
    Architecture("Gemma 2", "Gemma2ForSequenceClassification", LLAMA | {"sliding_window": 4}, text()),
    Architecture("Gemma 3", "Gemma3TextForSequenceClassification", LLAMA | {"sliding_window": 4}, text()),
    Architecture("Phi", "PhiForSequenceClassification", LLAMA, text()),
    Architecture("Phi-3", "Phi3ForSequenceClassification", LLAMA, text()),
    Architecture(
        "Falcon",
        "FalconForSequenceClassification",
        {k: v for k, v in LLAMA.items() if k != "head_dim"} | {"new_decoder_architecture": False},
        text(),
    ),
    Architecture(
        "MPT",
        "MptForSequenceClassification",
        {"vocab_size": 40, "d_model": 16, "n_heads": 2, "n_layers": 2, "max_seq_len": 32, "num_labels": CLASSES}
        | {"pad_token_id": 0, "expansion_ratio": 2},
        text(),
    ),
    Architecture("StableLM", "StableLmForSequenceClassification", LLAMA, text()),
    Architecture("Cohere", "CohereForCausalLM", LLAMA, text(), last_token),
    Architecture("OLMo", "OlmoForSequenceClassification", LLAMA, text()),
    Architecture("OLMo 2", "Olmo2ForSequenceClassification", LLAMA, text()),
    Architecture("Starcoder2", "Starcoder2ForSequenceClassification", LLAMA, text()),
    Architecture("Persimmon", "PersimmonForSequenceClassification", LLAMA, text()),
    Architecture("Nemotron", "NemotronForSequenceClassification", LLAMA, text()),
    Architecture("GLM", "GlmForSequenceClassification", LLAMA, text()),
    Architecture("BioGPT", "BioGptForSequenceClassification", LLAMA, text()),
]

MIXTURES = [
    Architecture(
        "Mixtral",
        "MixtralForSequenceClassification",
        LLAMA | {"num_local_experts": 4, "num_experts_per_tok": 2},
        text(),
    ),
    Architecture(
        "Qwen2-MoE",
        "Qwen2MoeForSequenceClassification",
        LLAMA | EXPERTS | {"shared_expert_intermediate_size": 12},
        text(),
    ),
    Architecture("Qwen3-MoE", "Qwen3MoeForSequenceClassification", LLAMA | EXPERTS, text()),
    Architecture(
        "PhiMoE", "PhimoeForSequenceClassification", LLAMA | {"num_local_experts": 4, "num_experts_per_tok": 2}, text()
    ),
    Architecture(
        "GPT-OSS",
        "GptOssForSequenceClassification",
        LLAMA | {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 4},
        text(),
    ),
    Architecture(
        "DeepSeek-V3",
        "DeepseekV3ForSequenceClassification",
        LLAMA
        | {
            "num_key_value_heads": 2,
            "moe_intermediate_size": 12,
            "n_routed_experts": 4,
            "n_shared_experts": 1,
            "num_experts_per_tok": 2,
            "n_group": 2,
            "topk_group": 1,
            "first_k_dense_replace": 1,
            "q_lora_rank": 8,
            "kv_lora_rank": 8,
            "qk_nope_head_dim": 8,
            "qk_rope_head_dim": 4,
            "v_head_dim": 8,
            "head_dim": 4,
        },
        text(),
    ),
    Architecture("OLMoE", "OlmoeForCausalLM", LLAMA | {"num_experts": 4, "num_experts_per_tok": 2}, text(), last_token),
]

STATES = [
    Architecture(
        "Mamba",
        "MambaForCausalLM",
        {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "state_size": 4, "time_step_rank": 4},
        plain_text(),
        last_token,
    ),
    Architecture(
        "Mamba-2",
        "Mamba2ForCausalLM",
        {
            "vocab_size": 40,
            "hidden_size": 16,
            "num_hidden_layers": 2,
            "state_size": 4,
            "num_heads": 4,
            "head_dim": 8,
            "n_groups": 1,
            "chunk_size": 4,
        },
        plain_text(),
        last_token,
    ),
    Architecture(
        "RWKV",
        "RwkvForCausalLM",
        {
            "vocab_size": 40,
            "hidden_size": 16,
            "num_hidden_layers": 2,
            "attention_hidden_size": 16,
            "intermediate_size": 20,
            "context_length": 16,
            "use_cache": False,
        },
        plain_text(),
        last_token,
    ),
    Architecture(
        "RecurrentGemma",
        "RecurrentGemmaForCausalLM",
        LLAMA | {"lru_width": 16, "attention_window_size": 4, "num_hidden_layers": 3},
        text(),
        last_token,
    ),
]
