"""The application, for uvicorn: `uvicorn --factory bench.conventional.app:create_app`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from bench.conventional import sessions
from bench.conventional.database import Database
from bench.conventional.settings import read_settings
from bench.conventional.tables import Base
from bench.conventional.tokens import Tokens


def create_app() -> FastAPI:
    """Put the parts together."""
    app = FastAPI(title="AI sessions, the conventional way", lifespan=_lifespan)
    app.include_router(sessions.router)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    database = Database(read_settings())
    async with database.engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    app.state.database = database
    app.state.tokens = Tokens(database)
    yield
    await database.engine.dispose()
