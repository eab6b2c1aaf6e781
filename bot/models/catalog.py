"""Models by name: which two files they are, from where, how large, and what their SHA-256 must be.

Pure values: knows nothing of folders, downloads or llama.cpp. A model is here only when both of
its files are pinned. No hash was made up: each was read, in November 2026, in at least two public
projects that pin the same file and do not copy each other (LocalAI's gallery at 82c191af for the
SmolVLM2-2.2B and Gemma 4 pairs and the Gemma 3 projectors), with the same size. What is fetched
is held to it: a mistake here can refuse a file, and never admits another one.

LLaVA 1.5 and its kin are left out: llama.cpp 0c1e57098 (llama-cpp-python 0.3.36) puts their class
token behind the patches, so they see every patch in the wrong place. InternVL and MiniCPM-V are
left out because no hash of both files was found twice.
"""

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from bot.errors import ModelError

HUB = "https://huggingface.co"

#: Context sizes, in tokens, for which the listing tells the memory
CONTEXTS = (4096, 8192, 32768)

#: Tokens that the engine's KV cache holds for each token of context, unless told otherwise:
#: ``parallel`` on a processor, ``kv_tokens`` on a GPU (bot/models/llama/values.py)
KEPT = 2

#: What a process takes beside weights and KV cache, in bytes: activations, logits, the vision tower
#: at work. 0.12 GB were measured with a 135M model and a vocabulary of 49,152, at 4k and at 32k
#: (0.64 and 1.96 GB in all); larger widths, vocabularies and pictures take more.
BUFFERS = 500_000_000

APACHE = "Apache-2.0"
GEMMA = "Gemma terms, https://ai.google.dev/gemma/terms"
QWEN_RESEARCH = (
    "Qwen Research (not commercial),"
    " https://huggingface.co/Qwen/Qwen2.5-VL-3B-Instruct/blob/main/LICENSE"
)


@dataclass(frozen=True, slots=True)
class PinnedFile:
    """A file of a repository at one revision; ``size`` in bytes, ``sha256`` in hexadecimal."""

    repository: str
    revision: str
    name: str
    size: int
    sha256: str

    def url(self, hub: str = HUB) -> str:
        """Return the address of exactly this revision of the file."""
        return f"{hub.rstrip('/')}/{self.repository}/resolve/{self.revision}/{self.name}"


@dataclass(frozen=True, slots=True)
class CatalogModel:
    """A text model and its projector.

    ``kv_bytes``: bytes that one token takes in the KV cache at f16, in all layers: 2 (K and V) x
    layers x KV heads x head size x 2. Layers that look back only so far are counted as whole
    ones: they are kept whole, so that a conversation's beginning can be used again.
    ``context``: tokens it was trained on.
    """

    name: str
    title: str
    size: Literal["small", "medium", "large"]
    licence: str
    text: PinnedFile
    projector: PinnedFile
    kv_bytes: int
    context: int

    @property
    def download(self) -> int:
        """Bytes of both files."""
        return self.text.size + self.projector.size

    def memory(self, tokens: int) -> int | None:
        """Return the bytes needed at that context (an estimate), None if it was not trained so far:
        weights + KV cache at f16 + buffers."""
        if tokens > self.context:
            return None
        return self.download + self.kv_bytes * KEPT * tokens + BUFFERS


def _pair(
    repository: str,
    revision: str,
    text: tuple[str, int, str],
    projector: tuple[str, int, str],
) -> tuple[PinnedFile, PinnedFile]:
    return PinnedFile(repository, revision, *text), PinnedFile(repository, revision, *projector)


CATALOG: tuple[CatalogModel, ...] = (
    CatalogModel(
        "smolvlm2-500m",
        "SmolVLM2 500M Video Instruct, Q8_0",
        "small",
        APACHE,
        *_pair(
            "ggml-org/SmolVLM2-500M-Video-Instruct-GGUF",
            "ccd7aae53bcb1997355c2f094959e72b3642ce17",
            (
                "SmolVLM2-500M-Video-Instruct-Q8_0.gguf",
                436_808_704,
                "6f67b8036b2469fcd71728702720c6b51aebd759b78137a8120733b4d66438bc",
            ),
            (
                "mmproj-SmolVLM2-500M-Video-Instruct-Q8_0.gguf",
                108_785_184,
                "921dc7e259f308e5b027111fa185efcbf33db13f6e35749ddf7f5cdb60ef520b",
            ),
        ),
        kv_bytes=2 * 32 * 5 * 64 * 2,
        context=8192,
    ),
    CatalogModel(
        "smolvlm2-2.2b",
        "SmolVLM2 2.2B Instruct, Q4_K_M",
        "small",
        APACHE,
        *_pair(
            "ggml-org/SmolVLM2-2.2B-Instruct-GGUF",
            "1bc3c9f74ceafd4c8d4411cc9cf188bba3798f91",
            (
                "SmolVLM2-2.2B-Instruct-Q4_K_M.gguf",
                1_112_602_656,
                "0cf76814555b8665149075b74ab6b5c1d428ea1d3d01c1918c12012e8d7c9f58",
            ),
            (
                "mmproj-SmolVLM2-2.2B-Instruct-Q8_0.gguf",
                592_523_200,
                "ae07ea1facd07dd3230c4483b63e8cda96c6944ad2481f33d531f79e892dd024",
            ),
        ),
        kv_bytes=2 * 24 * 32 * 64 * 2,
        context=8192,
    ),
    CatalogModel(
        "qwen3-vl-2b",
        "Qwen3-VL 2B Instruct, Q4_K_M",
        "small",
        APACHE,
        *_pair(
            "Qwen/Qwen3-VL-2B-Instruct-GGUF",
            "52d6c8ffea26cc873ac5ad116f8631268d7eb503",
            (
                "Qwen3VL-2B-Instruct-Q4_K_M.gguf",
                1_107_409_952,
                "089d75c52f4b7ffc56ba998ffc50aae89fcafc755f9e7208aacca281dca6c2ae",
            ),
            (
                "mmproj-Qwen3VL-2B-Instruct-Q8_0.gguf",
                445_053_216,
                "f9a68fabba69c3b81e153367b2c7521030b0fa8bb0de400c9599c8e6725f9c82",
            ),
        ),
        kv_bytes=2 * 28 * 8 * 128 * 2,
        context=262_144,
    ),
    CatalogModel(
        "qwen3-vl-4b",
        "Qwen3-VL 4B Instruct, Q4_K_M",
        "medium",
        APACHE,
        *_pair(
            "Qwen/Qwen3-VL-4B-Instruct-GGUF",
            "1cd86afb9a95c410a6038ab3b40d8b578c892266",
            (
                "Qwen3VL-4B-Instruct-Q4_K_M.gguf",
                2_497_281_664,
                "66358cb18bb6b3b1b6675aa412c7a88ef01d228f481184d13668e5201c730a0a",
            ),
            (
                "mmproj-Qwen3VL-4B-Instruct-Q8_0.gguf",
                453_974_304,
                "30ba2c7dd3127a4561b6cba9d13d0f711c91bdb38742e2f56d73c8cb596bd06d",
            ),
        ),
        kv_bytes=2 * 36 * 8 * 128 * 2,
        context=262_144,
    ),
    CatalogModel(
        "qwen2.5-vl-3b",
        "Qwen2.5-VL 3B Instruct, Q4_K_M",
        "medium",
        QWEN_RESEARCH,
        *_pair(
            "ggml-org/Qwen2.5-VL-3B-Instruct-GGUF",
            "5037fcf163dd95d1e41d1974465f0898ed108ca2",
            (
                "Qwen2.5-VL-3B-Instruct-Q4_K_M.gguf",
                1_929_901_056,
                "d02fe9b69ad8cadbbd228e387667af66612c44bed29ffc8eb1e7caf9ac486c12",
            ),
            (
                "mmproj-Qwen2.5-VL-3B-Instruct-f16.gguf",
                1_338_428_128,
                "b9160fe9d814d1fadf68395677468534778b39ac33c2e7561b7b218626e60d5e",
            ),
        ),
        kv_bytes=2 * 36 * 2 * 128 * 2,
        context=128_000,
    ),
    CatalogModel(
        "gemma-3-4b",
        "Gemma 3 4B, Q4_K_M",
        "medium",
        GEMMA,
        *_pair(
            "ggml-org/gemma-3-4b-it-GGUF",
            "d0976223747697cb51e056d85c532013931fe52e",
            (
                "gemma-3-4b-it-Q4_K_M.gguf",
                2_489_757_856,
                "882e8d2db44dc554fb0ea5077cb7e4bc49e7342a1f0da57901c0802ea21a0863",
            ),
            (
                "mmproj-model-f16.gguf",
                851_251_104,
                "8c0fb064b019a6972856aaae2c7e4792858af3ca4561be2dbf649123ba6c40cb",
            ),
        ),
        kv_bytes=2 * 34 * 4 * 256 * 2,
        context=131_072,
    ),
    CatalogModel(
        "gemma-4-e4b",
        "Gemma 4 E4B, QAT Q4_0",
        "medium",
        APACHE,
        *_pair(
            "google/gemma-4-E4B-it-qat-q4_0-gguf",
            "4b4a2c1d584be7264f87aac328a1bc739ce81b6c",
            (
                "gemma-4-E4B_q4_0-it.gguf",
                5_154_941_280,
                "676c35070db6dbe52f93e9c864ee0fba4eddea94b9c875d9cb10daff453fbaee",
            ),
            (
                "gemma-4-E4B-it-mmproj.gguf",
                991_552_256,
                "7498a37cb619e55f2fcf87eb931f56e99389ed6d432e4c5c66110694c0d65578",
            ),
        ),
        kv_bytes=2 * (20 * 2 * 256 + 4 * 2 * 512) * 2,  # the last 18 of 42 layers share theirs
        context=131_072,
    ),
    CatalogModel(
        "qwen2.5-vl-7b",
        "Qwen2.5-VL 7B Instruct, Q4_K_M",
        "medium",
        APACHE,
        *_pair(
            "ggml-org/Qwen2.5-VL-7B-Instruct-GGUF",
            "508edd0afaa66bb9e9f40587acc2184f02daf1f6",
            (
                "Qwen2.5-VL-7B-Instruct-Q4_K_M.gguf",
                4_683_072_032,
                "9258bf05b12686d097ff3b6b18d968ab393649780aa2b3cd67fec43d50554392",
            ),
            (
                "mmproj-Qwen2.5-VL-7B-Instruct-f16.gguf",
                1_354_162_912,
                "c24a7f5fcfc68286f0a217023b6738e73bea4f11787a43e8238d4bb1b8604cde",
            ),
        ),
        kv_bytes=2 * 28 * 4 * 128 * 2,
        context=128_000,
    ),
    CatalogModel(
        "qwen3-vl-8b",
        "Qwen3-VL 8B Instruct, Q4_K_M",
        "medium",
        APACHE,
        *_pair(
            "Qwen/Qwen3-VL-8B-Instruct-GGUF",
            "f982a07559d4a2f6c8744d840bf6fccab30eea96",
            (
                "Qwen3VL-8B-Instruct-Q4_K_M.gguf",
                5_027_784_800,
                "67d1659bfe71b89d50b45a4ad1a9e5b997e5bb16ce5da66a6a6167abd569e9e2",
            ),
            (
                "mmproj-Qwen3VL-8B-Instruct-Q8_0.gguf",
                752_289_728,
                "c6ba85508d82f42590e6eb77d5340369ab6fecf107a7561d809523d8aa5f3bfd",
            ),
        ),
        kv_bytes=2 * 36 * 8 * 128 * 2,
        context=262_144,
    ),
    CatalogModel(
        "gemma-4-12b",
        "Gemma 4 12B, QAT Q4_0",
        "large",
        APACHE,
        *_pair(
            "google/gemma-4-12B-it-qat-q4_0-gguf",
            "29d097773436b69ff9feafd636ab4cf873786537",
            (
                "gemma-4-12b-it-qat-q4_0.gguf",
                6_975_879_296,
                "93567e57a8fe10b23569b9d9ec38cd005deedf71e29477c421a4b83f418a538b",
            ),
            (
                "mmproj-gemma-4-12b-it-qat-q4_0.gguf",
                175_115_616,
                "cb018338a7538a9814d994bfe54644c71eb7ed54e31eae2f721e45fd3c260da7",
            ),
        ),
        kv_bytes=2 * (40 * 8 * 256 + 8 * 1 * 512) * 2,
        context=262_144,
    ),
    CatalogModel(
        "gemma-3-12b",
        "Gemma 3 12B, Q4_K_M",
        "large",
        GEMMA,
        *_pair(
            "ggml-org/gemma-3-12b-it-GGUF",
            "ec0cbabd8dbff316f659876a50202295c3c4a314",
            (
                "gemma-3-12b-it-Q4_K_M.gguf",
                7_300_574_976,
                "7bb69bff3f48a7b642355d64a90e481182a7794707b3133890646b1efa778ff5",
            ),
            (
                "mmproj-model-f16.gguf",
                854_200_224,
                "30c02d056410848227001830866e0a269fcc28aaf8ca971bded494003de9f5a5",
            ),
        ),
        kv_bytes=2 * 48 * 8 * 256 * 2,
        context=131_072,
    ),
    CatalogModel(
        "qwen3-vl-30b-a3b",
        "Qwen3-VL 30B-A3B Instruct, Q4_K_M (3B at work)",
        "large",
        APACHE,
        *_pair(
            "Qwen/Qwen3-VL-30B-A3B-Instruct-GGUF",
            "f54435e6cc31258f04b0969105c3f6badb197931",
            (
                "Qwen3VL-30B-A3B-Instruct-Q4_K_M.gguf",
                18_556_687_168,
                "87bb374d849f80ebdfabb304189fac9e0bd35a0f74506e6a59c51b206cbe863b",
            ),
            (
                "mmproj-Qwen3VL-30B-A3B-Instruct-Q8_0.gguf",
                712_148_928,
                "82a9966edfdbc1b18a27fd90af96d50cbf111a51484f6290e946dccf461c8150",
            ),
        ),
        kv_bytes=2 * 48 * 4 * 128 * 2,
        context=262_144,
    ),
    CatalogModel(
        "qwen3-vl-32b",
        "Qwen3-VL 32B Instruct, Q4_K_M",
        "large",
        APACHE,
        *_pair(
            "Qwen/Qwen3-VL-32B-Instruct-GGUF",
            "e3e1fe0c76de7ee58ea65db420c643adfe2e457c",
            (
                "Qwen3VL-32B-Instruct-Q4_K_M.gguf",
                19_762_150_432,
                "5cf0136e721d6294718ec71fd8c93b17ab5dd4e2714d6079e83fa46571ad94c8",
            ),
            (
                "mmproj-Qwen3VL-32B-Instruct-F16.gguf",
                1_196_795_040,
                "8617824839df91f84b4840ad5084dcf50a1403a435a1f4cfc4d8c84ce6cac2fc",
            ),
        ),
        kv_bytes=2 * 64 * 8 * 128 * 2,
        context=262_144,
    ),
)


def names() -> list[str]:
    """Return the names of all models."""
    return [model.name for model in CATALOG]


def find(name: str) -> CatalogModel | None:
    """Return the model of that name, or None."""
    return next((model for model in CATALOG if model.name == name), None)


def get(name: str) -> CatalogModel:
    """Return the model of that name; ``ModelError`` with the nearest one if there is none."""
    if (model := find(name)) is not None:
        return model
    near = get_close_matches(name.lower(), names(), n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names())}"
    raise ModelError(f"{name}: not in the catalogue; {hint}")
