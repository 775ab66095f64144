"""Text encoders, and networks of an encoder and a decoder."""

from tests.kernels.coverage.architecture import CLASSES, Architecture, boxes, plain_text, text

BERT = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 20,
    "max_position_embeddings": 48,
    "num_labels": CLASSES,
    "pad_token_id": 0,
}
SEQ2SEQ = {
    "vocab_size": 40,
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 20,
    "decoder_ffn_dim": 20,
    "max_position_embeddings": 32,
    "num_labels": CLASSES,
    "pad_token_id": 0,
    "eos_token_id": 2,
    "bos_token_id": 1,
    "decoder_start_token_id": 2,
    "forced_eos_token_id": None,
}


def _ended(length: int = 8):
    """Token ids that end with one end-of-sentence token each, at which these networks read their answer."""

    def make(n, g):
        batch = text(length)(n, g)
        ends = batch["attention_mask"].sum(1, keepdim=True) - 1
        batch["input_ids"].scatter_(1, ends, 2)
        return batch

    return make


def _answered_whole(n, g):
    """Without padding: rows of LED's windows that hold nothing else are NaN in float64, without kernels too."""
    ids = plain_text()(n, g)["input_ids"]
    return {"input_ids": ids, "decoder_input_ids": ids[:, :3].clone()}


def _first_decoded(found):
    return found.logits[:, 0, :CLASSES]


def _answered(n, g):
    batch = text()(n, g)
    return batch | {"decoder_input_ids": batch["input_ids"][:, :3].clone()}


ENCODERS = [
    Architecture("BERT", "BertForSequenceClassification", BERT, text()),
    Architecture("RoBERTa", "RobertaForSequenceClassification", BERT | {"pad_token_id": 1}, text(pad=1)),
    Architecture(
        "DistilBERT",
        "DistilBertForSequenceClassification",
        {"vocab_size": 40, "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 20, "num_labels": CLASSES},
        text(),
    ),
    Architecture("ALBERT", "AlbertForSequenceClassification", BERT | {"embedding_size": 8}, text()),
    Architecture("ELECTRA", "ElectraForSequenceClassification", BERT | {"embedding_size": 8}, text()),
    Architecture(
        "DeBERTa",
        "DebertaForSequenceClassification",
        BERT | {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "max_relative_positions": 8},
        text(),
    ),
    Architecture(
        "DeBERTa v2",
        "DebertaV2ForSequenceClassification",
        BERT | {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "position_buckets": 4},
        text(),
    ),
    Architecture("MPNet", "MPNetForSequenceClassification", BERT | {"pad_token_id": 1}, text(pad=1)),
    Architecture(
        "XLNet",
        "XLNetForSequenceClassification",
        {"vocab_size": 40, "d_model": 16, "n_layer": 2, "n_head": 2, "d_inner": 20, "num_labels": CLASSES},
        text(),
    ),
    Architecture("Longformer", "LongformerForSequenceClassification", BERT | {"attention_window": 4}, text()),
    Architecture(
        "BigBird",
        "BigBirdForSequenceClassification",
        BERT | {"attention_type": "block_sparse", "block_size": 4, "num_random_blocks": 1},
        text(40),
    ),
    Architecture(
        "Funnel",
        "FunnelForSequenceClassification",
        {
            "vocab_size": 40,
            "block_sizes": [1, 1],
            "num_decoder_layers": 1,
            "d_model": 16,
            "n_head": 2,
            "d_head": 8,
            "d_inner": 20,
            "num_labels": CLASSES,
        },
        text(),
    ),
    Architecture(
        "Reformer",
        "ReformerForSequenceClassification",
        BERT
        | {
            "feed_forward_size": 20,
            "attention_head_size": 8,
            "attn_layers": ["local", "lsh"],
            "axial_pos_embds_dim": [8, 8],
            "axial_pos_shape": [4, 4],
            "local_attn_chunk_length": 4,
            "lsh_attn_chunk_length": 4,
            "num_buckets": 2,
            "hash_seed": 0,
            "max_position_embeddings": 16,
            "is_decoder": False,
        },
        text(16),
        refused="make sure to use `model.train()`",
    ),
    Architecture(
        "Nystromformer",
        "NystromformerForSequenceClassification",
        BERT | {"num_landmarks": 4, "segment_means_seq_len": 8},
        plain_text(),
    ),
    Architecture("YOSO", "YosoForSequenceClassification", BERT | {"use_expectation": True}, text()),
    Architecture("FNet", "FNetForSequenceClassification", BERT, plain_text()),
    Architecture(
        "ConvBERT",
        "ConvBertForSequenceClassification",
        BERT | {"embedding_size": 16, "num_attention_heads": 4, "conv_kernel_size": 3},
        text(),
    ),
    Architecture("SqueezeBERT", "SqueezeBertForSequenceClassification", BERT | {"embedding_size": 16}, text()),
    Architecture(
        "MobileBERT",
        "MobileBertForSequenceClassification",
        BERT | {"embedding_size": 8, "intra_bottleneck_size": 8, "true_hidden_size": 8},
        text(),
    ),
    Architecture(
        "LayoutLM", "LayoutLMForSequenceClassification", BERT | {"max_2d_position_embeddings": 64}, text(bbox=boxes())
    ),
    Architecture(
        "CANINE",
        "CanineForSequenceClassification",
        BERT | {"num_hash_buckets": 32, "local_transformer_stride": 4, "downsampling_rate": 4},
        plain_text(16),
        refused="is NaN or infinite",  # in float64, without kernels too
    ),
    Architecture(
        "RemBERT",
        "RemBertForSequenceClassification",
        BERT | {"input_embedding_size": 8, "output_embedding_size": 8},
        text(),
    ),
    Architecture("RoFormer", "RoFormerForSequenceClassification", BERT | {"rotary_value": False}, text()),
    Architecture("ModernBERT", "ModernBertForSequenceClassification", BERT | {"local_attention": 4}, text()),
    Architecture(
        "XLM",
        "XLMForSequenceClassification",
        {"vocab_size": 40, "emb_dim": 16, "n_layers": 2, "n_heads": 2, "num_labels": CLASSES, "pad_token_id": 0},
        text(),
    ),
    Architecture("ESM", "EsmForSequenceClassification", BERT | {"position_embedding_type": "rotary"}, text()),
    Architecture("I-BERT", "IBertForSequenceClassification", BERT | {"pad_token_id": 1}, text(pad=1)),
]

ENCODERS_WITH_DECODERS = [
    Architecture(
        "T5",
        "T5ForSequenceClassification",
        {
            "vocab_size": 40,
            "d_model": 16,
            "d_kv": 8,
            "d_ff": 20,
            "num_layers": 1,
            "num_heads": 2,
            "num_labels": CLASSES,
            "pad_token_id": 0,
            "eos_token_id": 2,
            "decoder_start_token_id": 0,
        },
        _ended(),
    ),
    Architecture("BART", "BartForSequenceClassification", SEQ2SEQ, _ended()),
    Architecture("mBART", "MBartForSequenceClassification", SEQ2SEQ, _ended()),
    Architecture("Pegasus", "PegasusForConditionalGeneration", SEQ2SEQ, _answered, _first_decoded),
    Architecture(
        "LED", "LEDForConditionalGeneration", SEQ2SEQ | {"attention_window": 4}, _answered_whole, _first_decoded
    ),
]
