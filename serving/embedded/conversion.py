"""Turns SmolLM's GGUF into a Hugging Face directory: bf16 safetensors, config, tokenizer, chat template.

Everything is read from the file's own fields. It writes into a directory that the caller owns and knows nothing of
caches, downloads or atomicity. The tokenizer is built directly, because transformers' own GGUF reader loses the
splitting of digits. Needs the packages gguf and tokenizers; neither torch nor transformers is loaded.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from serving.embedded.progress import Progress, silent
from serving.errors import CannotAct

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PHASE: Final = "converting to bf16 safetensors"

_TOP: Final = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_BLOCK: Final = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_NORMAL_TOKEN: Final = 1  # GGUF's token type of an ordinary piece of text; every other type is a special token


class Gguf:
    """A GGUF file's fields and tensors, opened once."""

    def __init__(self, path: Path) -> None:
        import gguf

        self._reader = gguf.GGUFReader(path)
        self._dequantize = gguf.quants.dequantize
        kind = (self.field("general.architecture"), self.field("tokenizer.ggml.pre"))
        if kind != ("llama", "smollm"):
            raise CannotAct(f"{path.name} holds {' with tokenizer '.join(kind)}, not a SmolLM: convert another GGUF")

    def field(self, name: str) -> Any:
        """The value of one metadata field."""
        return self._reader.fields[name].contents()

    def has(self, name: str) -> bool:
        """Whether there is a metadata field, or a tensor, of this name."""
        return name in self._reader.fields or any(tensor.name == name for tensor in self._reader.tensors)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Each tensor's Hugging Face name and shape (GGUF lists dimensions innermost first)."""
        return {hf_name(t.name): tuple(int(n) for n in reversed(t.shape)) for t in self._reader.tensors}

    def tensors(self) -> Iterator[tuple[str, NDArray[np.float32]]]:
        """Each tensor's Hugging Face name and its values in float32, in Hugging Face's layout."""
        for tensor in self._reader.tensors:
            shape = tuple(int(n) for n in reversed(tensor.shape))
            values = self._dequantize(tensor.data, tensor.tensor_type).reshape(shape)
            if ".attn_q." in tensor.name:
                values = unpermute(values, self.field("llama.attention.head_count"))
            elif ".attn_k." in tensor.name:
                values = unpermute(values, self.field("llama.attention.head_count_kv"))
            yield hf_name(tensor.name), values


def convert(source: Path, directory: Path, progress: Progress = silent) -> None:
    """Write `directory` (which exists and is empty) as the Hugging Face form of the GGUF file `source`."""
    gguf = Gguf(source)
    _write_weights(gguf, directory / "model.safetensors", progress)
    _write_json(directory / "config.json", _config(gguf))
    _write_json(directory / "generation_config.json", _special_ids(gguf))
    _write_tokenizer(gguf, directory)


def hf_name(name: str) -> str:
    """The Hugging Face name of a llama tensor: `blk.0.attn_q.weight` is `model.layers.0.self_attn.q_proj.weight`."""
    match name.split("."):
        case ["blk", index, part, "weight"] if part in _BLOCK:
            return f"model.layers.{index}.{_BLOCK[part]}.weight"
        case [part, "weight"] if part in _TOP:
            return f"{_TOP[part]}.weight"
    raise CannotAct(f"tensor {name!r} is not one of a llama model's: convert another GGUF")


def unpermute(weight: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Undo GGUF's reordering of query and key rows.

    GGUF interleaves the two halves of each head for its rotary embedding; Hugging Face keeps the halves apart.
    """
    rows, columns = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def bfloat16(values: NDArray[np.float32]) -> bytes:
    """Little-endian bf16, rounded to nearest, ties to even. The values must be finite."""
    import numpy as np

    bits = np.ascontiguousarray(values, dtype="<f4").view("<u4")
    packed: bytes = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2").tobytes()
    return packed


def _write_weights(gguf: Gguf, path: Path, progress: Progress) -> None:
    """Stream the safetensors file tensor by tensor: a header (its length, then JSON) and the values back to back."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in gguf.shapes().items():
        size = 2
        for length in shape:
            size *= length
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        done = 0
        for _, values in gguf.tensors():
            done += file.write(bfloat16(values))
            progress(PHASE, done, end)


def _special_ids(gguf: Gguf) -> dict[str, int]:
    kinds = {"bos": "bos", "eos": "eos", "pad": "padding"}
    return {f"{kind}_token_id": gguf.field(f"tokenizer.ggml.{name}_token_id") for kind, name in kinds.items()}


def _config(gguf: Gguf) -> dict[str, object]:
    width, heads = gguf.field("llama.embedding_length"), gguf.field("llama.attention.head_count")
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": width,
        "intermediate_size": gguf.field("llama.feed_forward_length"),
        "num_hidden_layers": gguf.field("llama.block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": gguf.field("llama.attention.head_count_kv"),
        "head_dim": width // heads,
        "vocab_size": len(gguf.field("tokenizer.ggml.tokens")),
        "max_position_embeddings": gguf.field("llama.context_length"),
        # Stored as float32: seven digits give back the number that was meant.
        "rms_norm_eps": float(f"{gguf.field('llama.attention.layer_norm_rms_epsilon'):.7g}"),
        "rope_theta": gguf.field("llama.rope.freq_base"),
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": not gguf.has("output.weight"),
        "torch_dtype": "bfloat16",
        **_special_ids(gguf),
    }


def _write_tokenizer(gguf: Gguf, directory: Path) -> None:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    pieces: list[str] = gguf.field("tokenizer.ggml.tokens")
    merges = [tuple(merge.split(" ", 1)) for merge in gguf.field("tokenizer.ggml.merges")]
    tokenizer = Tokenizer(models.BPE(vocab={piece: index for index, piece in enumerate(pieces)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    kinds = gguf.field("tokenizer.ggml.token_type")
    special = [piece for piece, kind in zip(pieces, kinds, strict=True) if kind != _NORMAL_TOKEN]
    tokenizer.add_special_tokens([AddedToken(piece, special=True, normalized=False) for piece in special])
    tokenizer.save(str(directory / "tokenizer.json"))
    names = {"bos": "bos", "eos": "eos", "pad": "padding", "unk": "unknown"}
    _write_json(
        directory / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": gguf.field("llama.context_length"),
            "clean_up_tokenization_spaces": False,
            **{f"{kind}_token": pieces[gguf.field(f"tokenizer.ggml.{name}_token_id")] for kind, name in names.items()},
            "additional_special_tokens": special,
            "chat_template": gguf.field("tokenizer.chat_template"),
        },
    )


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
