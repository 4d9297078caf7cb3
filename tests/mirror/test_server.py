"""URLs of servers, and that no message shows their passwords."""

from __future__ import annotations

import pytest

from mirror.server import find_server, reason, without_password
from utils.errors import UserError
from utils.mongoruns import read_server


def test_no_url_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MONGO_URL", raising=False)
    assert find_server("") is None
    monkeypatch.setenv("MONGO_URL", "")
    assert find_server("") is None


@pytest.mark.parametrize(
    ("url", "database", "place"),
    [
        ("mongodb://localhost", "sacred", "localhost:27017"),
        ("mongodb://u:secret%40@db:1/runs?authSource=admin", "runs", "db:1"),
        ("mongodb://u:secret@a:1,b:2/?replicaSet=r", "sacred", "a:1,b:2"),
        ("mongodb+srv://u:secret@cluster.example.org/runs", "runs", "cluster.example.org"),
        ("mongodb+srv://cluster.example.org", "sacred", "cluster.example.org"),
    ],
)
def test_database_and_place(url: str, database: str, place: str) -> None:
    server = find_server(url)
    assert server is not None
    assert (server.url, server.database, server.place) == (url, database, place)
    assert "secret" not in repr(server)


def test_the_key_is_stronger_than_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONGO_URL", "mongodb://far")
    assert find_server("mongodb://near").place == "near:27017"  # type: ignore[union-attr]
    assert find_server("").place == "far:27017"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("localhost:27017", "mongo_url must begin with mongodb:// or mongodb\\+srv://"),
        ("mongodb://", "at least one hostname"),
        ("mongodb://u:sec@ret@host", "must be escaped"),
        ("mongodb://u:secret@host:70000", "Port must be"),
        ("mongodb://u:secret@host/?nonsense=1", "Unknown option"),
        ("mongodb://u:secret@host/?w=0", "w=0 asks for no acknowledgement"),
    ],
)
def test_bad_urls(url: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        find_server(url)
    assert "u:sec" not in str(caught.value)


def test_the_variable_is_named_if_its_value_is_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONGO_URL", "host")
    with pytest.raises(UserError, match=r"^MONGO_URL must"):
        find_server("")


def test_passwords_are_hidden_wherever_they_stand() -> None:
    text = "cannot read mongodb://u:p@ss/w:rd@host/db and mongodb+srv://v:secret@host, mongodb://host"
    shown = without_password(text)
    assert shown == "cannot read mongodb://u:***@host/db and mongodb+srv://v:***@host, mongodb://host"
    assert reason(ValueError("mongodb://u:secret@h went " + "on " * 200)).startswith("mongodb://u:***@h went on")
    assert len(reason(ValueError("x" * 1000))) == 160


@pytest.mark.parametrize("scheme", ["mongodb", "mongodb+srv"])
@pytest.mark.parametrize("password", ["pa/SECRET", "pa?SECRET", "pa#SECRET"])
def test_a_password_that_is_not_escaped_is_not_shown(scheme, password):
    """It would be read as the database's name, which messages do show."""
    url = f"{scheme}://user:{password}@host/db"
    for read in (find_server, read_server):
        with pytest.raises(UserError, match="%2F") as caught:
            read(url)
        assert "SECRET" not in str(caught.value)
