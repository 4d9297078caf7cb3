"""Two servers for the tests of this folder: one with a database for each test, one that asks for a password."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.database import Database
from secantus import SecantusDBServer

from mirror_helpers import ServerProcess

_numbers = itertools.count()


@pytest.fixture(scope="session")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongoClient[dict[str, Any]]]:
    with (
        SecantusDBServer(storage_path=str(tmp_path_factory.mktemp("server"))) as server,
        MongoClient(server.uri) as opened,
    ):
        yield opened


@pytest.fixture
def database(client: MongoClient[dict[str, Any]]) -> Database[dict[str, Any]]:
    return client[f"test_{next(_numbers)}"]


@pytest.fixture(scope="session")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server in a process of its own that asks for user and password."""
    server = ServerProcess(tmp_path_factory.mktemp("secured") / "data", auth=True)
    yield server
    server.stop()
