"""Every part of a bot, made once from the settings.

The one place that knows which class stands behind which seam. What is slow to load (the encoder,
Redis, the index, the model) is loaded at the same time.
"""

import asyncio
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING

from bot.compose import Prompts
from bot.models.choose import capabilities, load_model
from bot.settings import Settings
from bot.turn import Parts
from memory.redis_history import RedisHistory
from prompts import load_prompt
from retrievers.encoders import Encoder
from retrievers.encoders.registry import load_encoder
from retrievers.fusion import default_weights
from retrievers.ingest.ocr import read_words
from retrievers.library import Library
from retrievers.picture import PictureRetriever
from retrievers.text import TextRetriever
from retrievers.vectors import VectorIndex

if TYPE_CHECKING:
    from retrievers.ingest.pipeline import Ingestor


async def build(settings: Settings, stack: AsyncExitStack) -> Parts:
    """Return the parts; closing ``stack`` gives them back."""
