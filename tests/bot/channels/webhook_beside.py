"""The webhook in a program of its own, over a served Bifocal: ``python webhook_beside.py PORT``."""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI

from bot import Settings
from bot.channels import webhook
from bot.channels.served import open_there
from bot.service.stores.shared_redis import SharedRedis


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    settings = Settings.usual()
    async with (
        open_there(os.environ["BIFOCAL_URL"], os.environ["BIFOCAL_KEY"]) as opening,
        await SharedRedis.of(settings) as redis,
        webhook.opened(settings.webhook, opening, redis, None) as app.state.webhook,
    ):
        yield


app = FastAPI(lifespan=_lifespan)
app.include_router(webhook.router)


@app.get("/readyz")
async def ready() -> None:
    """Say that it is there."""


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]))
