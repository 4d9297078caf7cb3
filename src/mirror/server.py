"""Where the MongoDB server is and how to talk to it, without its password ever being shown."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from utils.errors import UserError

if TYPE_CHECKING:
    from pymongo import MongoClient

VARIABLE = "MONGO_URL"
DATABASE = "sacred"  # the one Sacred and Omniboard look into unless told otherwise
SCHEMES = ("mongodb://", "mongodb+srv://")
SELECT_MS = 2500  # for a server to be found
CONNECT_MS = 10000  # for a connection, and for the driver's own heartbeat: after it all requests under way are cut off
ANSWER_MS = 20000  # for one request
REFUSALS = (13, 18)  # MongoDB's error codes Unauthorized and AuthenticationFailed

_PASSWORD = re.compile(r"(mongodb(?:\+srv)?://[^:/@\s]*):\S*@")


@dataclass(frozen=True)
class Server:
    """A server and a database on it.

    Args:
        url: complete, with the password if there is one.
        database: name of the database.
        place: host and port, as they may be shown.
    """

    url: str = field(repr=False)
    database: str
    place: str

    def connect(self) -> MongoClient[dict[str, Any]]:
        """A client, not yet connected.

        Each request is acknowledged from the server's journal, so that what counts as sent survives its crash. The
        driver repeats none by itself: a repeated request must first find out what became of the one before.
        """
        from pymongo import MongoClient

        return MongoClient(
            self.url,
            serverSelectionTimeoutMS=SELECT_MS,
            connectTimeoutMS=CONNECT_MS,
            socketTimeoutMS=ANSWER_MS,
            journal=True,
            retryWrites=False,
            retryReads=False,
        )


def find_server(url: str) -> Server | None:
    """The server at `url` or, if that is empty, at the environment's MONGO_URL; None if neither is set.

    Raises:
        UserError: the URL is none of a MongoDB server. The message has no password in it.
    """
    key = "mongo_url" if url else VARIABLE
    url = url or os.environ.get(VARIABLE, "")
    if not url:
        return None
    example = "mongodb://USER:PASSWORD@HOST:27017/sacred"
    if not url.startswith(SCHEMES):
        raise UserError(f"{key} must begin with {' or '.join(SCHEMES)}, as in {example}")
    check_escaped(url, key)
    return Server(url, *_split(url, key))


def check_escaped(url: str, key: str) -> None:
    """Raise `UserError` where a user name or password has characters that would be read as the path, and be shown."""
    user, at, _ = url.partition("://")[2].rpartition("@")
    if at and any(character in user for character in "/?#"):
        raise UserError(f"{key}: write / as %2F, ? as %3F, # as %23, @ as %40 in a user name or password")


def _split(url: str, key: str) -> tuple[str, str]:
    """Database and shown address of a URL."""
    from pymongo.errors import PyMongoError
    from pymongo.uri_parser import parse_uri

    try:
        if url.startswith(SCHEMES[1]):  # `parse_uri` would ask the network about these
            parts = urlsplit(url)
            return parts.path.strip("/") or DATABASE, parts.hostname or ""
        parsed = parse_uri(url, warn=False)
    except (PyMongoError, ValueError) as error:
        raise UserError(f"{key}: {without_password(str(error))}") from None
    if parsed["options"].get("w") == 0:
        raise UserError(f"{key}: w=0 asks for no acknowledgement, without which nothing can be said to be sent")
    return parsed["database"] or DATABASE, ",".join(f"{host}:{port}" for host, port in parsed["nodelist"])


def without_password(text: str) -> str:
    """Replace the password of every MongoDB URL in `text` by ***."""
    return _PASSWORD.sub(r"\1:***@", text)


def reason(error: Exception) -> str:
    """Why a request failed: the first clause of the driver's message, which can be very long."""
    return without_password(str(error)).split(" (configured timeouts")[0].split(", full error")[0][:160]


def is_refusal(error: Exception) -> bool:
    """Tell whether the server is there but does not let us in."""
    return getattr(error, "code", None) in REFUSALS
