"""Train the pocket CLIP: a CLIPModel of about 0.8 million weights that knows the drawn shapes.

Run ``python tests/pocket/train_clip.py`` (about ten minutes on one core); it writes ``clip/``
beside this file: config, float16 safetensors, a CLIP tokenizer and an image processor. Two stages:
the vision tower alone under four linear heads (without it kinds of shape are hardly learned), then
both towers with the contrastive loss of CLIP (Radford et al. 2021, arXiv:2103.00020), where a
caption that leaves something out is true of every picture in the batch that it suits.
"""

import argparse
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from clip_shapes import COLOURS, GROUNDS, KINDS, PLACES, Scene, draw, say, scenes
from PIL import Image
from torch import Tensor, nn
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPTextConfig,
    CLIPTokenizer,
    CLIPVisionConfig,
)

FOLDER = Path(__file__).parent / "clip"
SIDE = 64
CHOICES = (tuple(COLOURS), KINDS, tuple(PLACES), tuple(GROUNDS))


def make_tokenizer() -> CLIPTokenizer:
    """Return a byte-pair tokenizer of CLIP's kind, trained on the captions."""
    rng = random.Random(5)
    corpus = [say(scene, rng)[0] for scene in scenes() for _ in range(20)]
    untrained: Any = CLIPTokenizer()  # its methods have no types
    tokenizer: CLIPTokenizer = untrained.train_new_from_iterator(
        corpus, vocab_size=700, show_progress=False
    )
    tokenizer.model_max_length = 32
    return tokenizer


def make_model(tokenizer: CLIPTokenizer) -> CLIPModel:
    """Return an untrained CLIPModel with small towers for 64-pixel pictures."""
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=96,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=32,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        projection_dim=64,
    )
    vision = CLIPVisionConfig(
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=3,
        num_attention_heads=4,
        image_size=SIDE,
        patch_size=8,
        projection_dim=64,
    )
    config = CLIPConfig(
        text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=64
    )
    return CLIPModel(config)


def make_pool(count: int, processor: CLIPImageProcessorPil) -> tuple[list[Scene], Tensor]:
    """Draw ``count`` training pictures; return scenes and pixels (count, 3, 64, 64) float16."""
    rng = random.Random(7)
    known = [scene for scene in scenes() if not scene.held_out]
    drawn = [known[i % len(known)] for i in range(count)]
    pixels = torch.empty(count, 3, SIDE, SIDE, dtype=torch.float16)
    for start in range(0, count, 256):
        batch = [draw(scene, rng) for scene in drawn[start : start + 256]]
        pixels[start : start + len(batch)] = prepare(batch, processor).half()
    return drawn, pixels


def prepare(pictures: Sequence[Image.Image], processor: CLIPImageProcessorPil) -> Tensor:
    """Return pixels (n, 3, 64, 64) float32 as the model takes them."""
    found: Tensor = processor(images=list(pictures), return_tensors="pt")["pixel_values"]
    return found


def labels(drawn: Sequence[Scene]) -> Tensor:
    """Return (n, 4) int64: the number of each scene's colour, kind, place and background."""
    rows = [
        [
            options.index(str(value))
            for options, value in zip(CHOICES, (s.colour, s.kind, s.place, s.ground), strict=True)
        ]
        for s in drawn
    ]
    return torch.tensor(rows)


def schedule(optimiser: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LambdaLR:
    """Return a rate that warms up over 5 % of the steps and then falls as half a cosine."""
    warm = max(1, steps // 20)
    return torch.optim.lr_scheduler.LambdaLR(
        optimiser,
        lambda step: min(1.0, (step + 1) / warm) * (0.51 + 0.49 * np.cos(np.pi * step / steps)),
    )


def train_tower(model: CLIPModel, drawn: Sequence[Scene], pixels: Tensor, steps: int) -> None:
    """Stage 1: the vision tower under one linear head for each attribute."""
    heads = nn.ModuleList(nn.Linear(128, len(options)) for options in CHOICES)
    wanted = labels(drawn)
    parameters = [*model.vision_model.parameters(), *heads.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.02)
    rates = schedule(optimiser, steps)
    began = time.monotonic()
    for step in range(steps):
        rows = torch.randint(len(drawn), (96,))
        pooled = model.vision_model(pixel_values=pixels[rows].float()).pooler_output
        loss = torch.zeros(())
        right = []
        for column, head in enumerate(heads):
            logits = head(pooled)
            loss = loss + nn.functional.cross_entropy(logits, wanted[rows, column])
            right.append((logits.argmax(1) == wanted[rows, column]).float().mean().item())
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        rates.step()
        if step % 100 == 0 or step == steps - 1:
            shown = " ".join(f"{value:.2f}" for value in right)
            print(
                f"tower {step:5d} loss {loss.item():.3f} right {shown}"
                f" {time.monotonic() - began:.0f} s",
                flush=True,
            )


def train_pair(
    model: CLIPModel, tokenizer: CLIPTokenizer, drawn: Sequence[Scene], pixels: Tensor, steps: int
) -> None:
    """Stage 2: both towers; the target of a row is spread over all that suit each other."""
    rng = random.Random(11)
    slow = list(model.vision_model.parameters())
    fast = [p for n, p in model.named_parameters() if not n.startswith("vision_model.")]
    optimiser = torch.optim.AdamW(
        [{"params": slow, "lr": 3e-4}, {"params": fast, "lr": 1.5e-3}], weight_decay=0.02
    )
    rates = schedule(optimiser, steps)
    began = time.monotonic()
    for step in range(steps):
        rows = torch.randint(len(drawn), (96,))
        seen = [drawn[row] for row in rows.tolist()]
        told = [say(scene, rng) for scene in seen]
        inputs = tokenizer(
            [text for text, _ in told], padding=True, truncation=True, return_tensors="pt"
        )
        out = model(pixel_values=pixels[rows].float(), **inputs)
        suits = torch.tensor([[said.suits(scene) for scene in seen] for _, said in told]).float()
        logits = out.logits_per_text  # (texts, pictures)
        by_text = suits / suits.sum(1, keepdim=True)
        by_picture = suits.T / suits.T.sum(1, keepdim=True)
        loss = (
            nn.functional.cross_entropy(logits, by_text)
            + nn.functional.cross_entropy(logits.T, by_picture)
        ) / 2
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        rates.step()
        with torch.no_grad():
            model.logit_scale.clamp_(max=float(np.log(30.0)))
        if step % 100 == 0 or step == steps - 1:
            hit = suits[torch.arange(len(seen)), logits.argmax(1)].mean().item()
            print(
                f"pair {step:5d} loss {loss.item():.3f} text finds {hit:.2f}"
                f" {time.monotonic() - began:.0f} s",
                flush=True,
            )


def main() -> None:
    """Train and write the folder."""
    parser = argparse.ArgumentParser(description="train the pocket CLIP on drawn shapes")
    parser.add_argument("--out", type=Path, default=FOLDER)
    parser.add_argument("--pool", type=int, default=16_000, help="pictures drawn for training")
    parser.add_argument("--tower-steps", type=int, default=1200)
    parser.add_argument("--pair-steps", type=int, default=900)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(1)
    processor = CLIPImageProcessorPil(
        size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}
    )
    tokenizer = make_tokenizer()
    model = make_model(tokenizer)
    began = time.monotonic()
    drawn, pixels = make_pool(given.pool, processor)
    print(
        f"{given.pool} pictures drawn in {time.monotonic() - began:.0f} s,"
        f" {model.num_parameters():,} weights, {len(tokenizer)} tokens",
        flush=True,
    )
    train_tower(model, drawn, pixels, given.tower_steps)
    train_pair(model, tokenizer, drawn, pixels, given.pair_steps)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.data = parameter.data.half()
    model.save_pretrained(given.out)
    tokenizer.save_pretrained(given.out)
    processor.save_pretrained(given.out)


if __name__ == "__main__":
    main()
