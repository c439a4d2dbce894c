"""The settings of the service, from environment variables."""

from functools import lru_cache
from os import environ

from pydantic import BaseModel, Field


class Settings(BaseModel):
    """Where the sessions are, and with how many connections to reach them."""

    database_url: str
    pool_size: int = Field(default=16, ge=1)


@lru_cache
def read_settings() -> Settings:
    """Read the settings once."""
    return Settings(
        database_url=environ["CONVENTIONAL_DATABASE_URL"],
        pool_size=int(environ.get("CONVENTIONAL_POOL_SIZE", "16")),
    )
