"""Conversion of the bundled checkpoint to GGUF, the format of llama.cpp: one file of the language model, one of the vision tower.

    python benchmarks/servers/demo_gguf.py model/demo FOLDER

It writes `demo.gguf` and `mmproj-demo.gguf` in float32, which holds the bfloat16 weights exactly. It needs numpy and gguf alone,
and runs in the environment of the server (`benchmarks.servers.model_servers`), so it imports nothing of Longview. The names of
tensors and fields are those of llama.cpp's `convert_hf_to_gguf.py` for Qwen3-VL.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

TEXT_PREFIX, VISION_PREFIX = "model.language_model.", "model.visual."
"""Prefixes of the tensors of the language model and of the vision tower in the checkpoint."""
MERGER = {"norm": "v.post_ln", "linear_fc1": "mm.0", "linear_fc2": "mm.2"}
DEEPSTACK_MERGER = {"norm": "norm", "linear_fc1": "fc1", "linear_fc2": "fc2"}
"""Names in GGUF of the parts of a merger: of the last layer, and of a layer whose features the language model gets as well."""
VISION_LAYER_NORM_EPSILON = 1e-6
"""Qwen3-VL's own, which is not in its configuration."""
HEADER_SIZE_BYTES = 8
"""Size of the length of a header of safetensors, in bytes."""
PATCH_EMBEDDING = "v.patch_embd"


def read_tensors(path: Path) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Yield the tensors of a file of safetensors in bfloat16, by name, as float32.

    numpy has no bfloat16, which is the upper half of a float32.
    """
    data = path.read_bytes()
    start = HEADER_SIZE_BYTES + int.from_bytes(data[:HEADER_SIZE_BYTES], "little")
    for name, entry in json.loads(data[HEADER_SIZE_BYTES:start]).items():
        if name == "__metadata__":
            continue
        if entry["dtype"] != "BF16":
            raise ValueError(f"{path.name}: {name} is {entry['dtype']}, and only bfloat16 is converted")
        first, end = (start + offset for offset in entry["data_offsets"])
        halves = np.frombuffer(data[first:end], np.uint16).astype(np.uint32)
        yield name, (halves << 16).view(np.float32).reshape(entry["shape"])


def write_language_model(checkpoint: Path, target: Path) -> None:
    """Write the language model, the tokenizer and the chat template of a checkpoint."""
    config = _read_json(checkpoint / "config.json")
    text, rope = config["text_config"], config["text_config"]["rope_parameters"]
    writer = gguf.GGUFWriter(target, "qwen3vl")
    writer.add_name(checkpoint.name)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_block_count(text["num_hidden_layers"])
    writer.add_context_length(text["max_position_embeddings"])
    writer.add_embedding_length(text["hidden_size"])
    writer.add_feed_forward_length(text["intermediate_size"])
    writer.add_head_count(text["num_attention_heads"])
    writer.add_head_count_kv(text["num_key_value_heads"])
    writer.add_key_length(text["head_dim"])
    writer.add_value_length(text["head_dim"])
    writer.add_layer_norm_rms_eps(text["rms_norm_eps"])
    writer.add_rope_freq_base(rope["rope_theta"])
    # llama.cpp has a fourth section for models with four axes of positions.
    writer.add_rope_dimension_sections([*rope["mrope_section"], 0])
    writer.add_num_deepstack_layers(len(config["vision_config"]["deepstack_visual_indexes"]))
    _add_tokenizer(writer, checkpoint)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN3VL, text["num_hidden_layers"])
    for name, tensor in read_tensors(checkpoint / "model.safetensors"):
        if name.startswith(TEXT_PREFIX):
            stem, suffix = f"model.{name.removeprefix(TEXT_PREFIX)}".rsplit(".", 1)
            writer.add_tensor(f"{_check_name(names.get_name(stem), name)}.{suffix}", tensor)
    _write(writer)


def _add_tokenizer(writer: gguf.GGUFWriter, checkpoint: Path) -> None:
    tokenizer = _read_json(checkpoint / "tokenizer.json")
    settings = _read_json(checkpoint / "tokenizer_config.json")
    vocabulary: dict[str, int] = tokenizer["model"]["vocab"]
    special = {token["content"] for token in tokenizer["added_tokens"]}
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    types = [gguf.TokenType.CONTROL if token in special else gguf.TokenType.NORMAL for token in tokens]
    writer.add_tokenizer_model("gpt2")
    # Its division of a text before the merges differs from the bundled tokenizer's only for contractions and line breaks.
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([" ".join(pair) for pair in tokenizer["model"]["merges"]])
    writer.add_eos_token_id(vocabulary[settings["eos_token"]])
    writer.add_pad_token_id(vocabulary[settings["pad_token"]])
    writer.add_add_bos_token(False)
    writer.add_chat_template((checkpoint / "chat_template.jinja").read_text(encoding="utf-8"))


def write_vision_tower(checkpoint: Path, target: Path) -> None:
    """Write the vision tower of a checkpoint with its mergers, which llama.cpp calls the multimodal projector."""
    config = _read_json(checkpoint / "config.json")["vision_config"]
    processor = _read_json(checkpoint / "processor_config.json")["image_processor"]
    deepstack_layers: list[int] = config["deepstack_visual_indexes"]
    writer = gguf.GGUFWriter(target, "clip")
    writer.add_type(gguf.GGUFType.MMPROJ)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_clip_has_vision_encoder(True)
    writer.add_clip_projector_type("qwen3vl_merger")
    writer.add_vision_projection_dim(config["out_hidden_size"])
    # The grid of learned positions is square.
    writer.add_vision_image_size(round(config["num_position_embeddings"] ** 0.5) * config["patch_size"])
    writer.add_vision_patch_size(config["patch_size"])
    writer.add_vision_embedding_length(config["hidden_size"])
    writer.add_vision_feed_forward_length(config["intermediate_size"])
    writer.add_vision_block_count(config["depth"])
    writer.add_vision_head_count(config["num_heads"])
    writer.add_vision_attention_layernorm_eps(VISION_LAYER_NORM_EPSILON)
    writer.add_vision_use_gelu(True)
    writer.add_vision_spatial_merge_size(config["spatial_merge_size"])
    writer.add_vision_image_mean(processor["image_mean"])
    writer.add_vision_image_std(processor["image_std"])
    writer.add_vision_is_deepstack_layers([layer in deepstack_layers for layer in range(config["depth"])])
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.MMPROJ, config["depth"])
    for name, tensor in read_tensors(checkpoint / "model.safetensors"):
        if name.startswith(VISION_PREFIX):
            for gguf_name, part in _vision_tensors(name, tensor, deepstack_layers, names):
                writer.add_tensor(gguf_name, np.ascontiguousarray(part))
    _write(writer)


def _vision_tensors(
    name: str, tensor: NDArray[np.float32], deepstack_layers: list[int], names: gguf.TensorNameMap
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Yield the names and tensors of GGUF for one tensor of the vision tower."""
    stem, suffix = name.removeprefix(VISION_PREFIX).rsplit(".", 1)
    match stem.split("."):
        case ["patch_embed", "proj"] if suffix == "weight":
            # A convolution over two frames is the sum of two over one frame each.
            yield f"{PATCH_EMBEDDING}.weight", tensor[:, :, 0]
            yield f"{PATCH_EMBEDDING}.weight.1", tensor[:, :, 1]
        case ["patch_embed", "proj"]:
            yield f"{PATCH_EMBEDDING}.{suffix}", tensor
        case ["merger", part]:
            yield f"{MERGER[part]}.{suffix}", tensor
        case ["deepstack_merger_list", index, part]:
            yield f"v.deepstack.{deepstack_layers[int(index)]}.{DEEPSTACK_MERGER[part]}.{suffix}", tensor
        case _:
            yield f"{_check_name(names.get_name(f'visual.{stem}'), name)}.{suffix}", tensor


def _check_name(gguf_name: str | None, name: str) -> str:
    if gguf_name is None:
        raise ValueError(f"the package gguf knows no name for the tensor {name}")
    return gguf_name


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _write(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    source, folder = map(Path, sys.argv[1:])
    write_language_model(source, folder / "demo.gguf")
    write_vision_tower(source, folder / "mmproj-demo.gguf")
