"""`install_sc2.sh` against a server on this machine with small archives of the same shape as the real ones."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from envs.sc2 import ROOT
from envs.skirmish.scenario import map_names

SCRIPT = ROOT / "install_sc2.sh"
GAME, OLD_GAME, MAPS = "/SC2.4.10.zip", "/SC2.4.6.2.69232.zip", "/SMAC_Maps.zip"


def archive(files: dict[str, bytes]) -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as out:
        for name, content in files.items():
            out.writestr(name, content)
    return memory.getvalue()


def game_archive(build: int) -> bytes:
    top = "StarCraftII/"
    files = {f"{top}Versions/Base{build}/SC2_x64": b"#!/bin/sh\n", f"{top}Libs/libstdc++.so.6": os.urandom(200_000)}
    return archive(files | {f"{top}SC2Data/data.000": b"data", f"{top}.build.info": b"info"})


def maps_archive(names: list[str]) -> bytes:
    return archive({f"SMAC_Maps/{name}.SC2Map": name.encode() for name in names})


class Server(ThreadingHTTPServer):
    """Files by path; `cut` bytes are sent of the first answers to a path, `ranges` says if it can continue."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        names = map_names()
        self.files = {GAME: game_archive(75689), OLD_GAME: game_archive(69232), MAPS: maps_archive(names)}
        self.cut: dict[str, list[int]] = {}
        self.ranges = self.sizes = True
        self.asked: list[tuple[str, str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: Any) -> None:
        return

    def do_HEAD(self) -> None:
        self.do_GET(body=False)

    def do_GET(self, body: bool = True) -> None:
        content, wanted = self.server.files.get(self.path), self.headers.get("Range", "")
        self.server.asked.append((self.command, self.path, wanted))
        if content is None:
            self.send_error(404)
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.server.ranges else 0
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if self.server.sizes:
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if body:
            cuts = self.server.cut.get(self.path, [])
            self.wfile.write(content[start : start + cuts.pop(0)] if cuts else content[start:])


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.shutdown()


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """A copy in a folder with a space in its name, so that 3rdparty is not the repository's."""
    place = tmp_path / "my code"
    place.mkdir()
    return Path(shutil.copy(SCRIPT, place))


def run(script: Path, server: Server, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    places = {"SC2_PACKAGES": server.url, "SMAC_MAPS_URL": server.url + MAPS, "SC2_RETRY_SECONDS": "0"}
    kept = {name: value for name, value in os.environ.items() if name != "SC2PATH"}
    return subprocess.run(
        ["bash", str(script), *arguments],
        env=kept | places | variables,
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def assert_installed(folder: Path, build: int = 75689) -> None:
    assert os.access(folder / "Versions" / f"Base{build}" / "SC2_x64", os.X_OK)
    assert (folder / ".build.info").read_bytes() == b"info" and (folder / "SC2Data" / "data.000").is_file()
    assert len(list((folder / "Maps" / "SMAC_Maps").glob("*.SC2Map"))) == 23
    assert not (folder / ".install").exists()


def assert_failed(done: subprocess.CompletedProcess[str], code: int, message: str) -> None:
    assert done.returncode == code, done.stderr
    assert message in done.stderr.splitlines()[-1] and done.stderr.splitlines()[-1].startswith("error: ")


def test_it_installs_beside_itself_and_does_nothing_twice(script: Path, server: Server) -> None:
    done = run(script, server, "--accept-eula")
    assert done.returncode == 0, done.stderr
    assert_installed(script.parent / "3rdparty" / "StarCraftII")
    assert "doctor.py" in done.stdout and "SC2PATH" not in done.stdout
    server.asked.clear()
    assert run(script, server).returncode == 0  # no license to agree to, nothing to download
    assert server.asked == []


def test_sc2path_and_version(script: Path, server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "games of mine" / "StarCraftII"
    done = run(script, server, "4.6.2", "--accept-eula", SC2PATH=str(folder))
    assert done.returncode == 0, done.stderr
    assert_installed(folder, 69232)
    said = next(line for line in done.stdout.splitlines() if line.startswith("export SC2PATH="))
    told = subprocess.run(["bash", "-c", f'{said}; echo "$SC2PATH"'], capture_output=True, text=True, check=True)
    assert told.stdout == f"{folder}\n"
    assert_failed(run(script, server, "4.10", "--accept-eula", SC2PATH=str(folder)), 1, "to another folder")


def test_an_empty_folder_or_one_with_other_maps_is_filled(script: Path, server: Server, tmp_path: Path) -> None:
    other = tmp_path / "volume" / "Maps" / "Ladder" / "a.SC2Map"
    other.parent.mkdir(parents=True)
    other.write_text("mine")
    assert run(script, server, "--accept-eula", SC2PATH=str(tmp_path / "volume")).returncode == 0
    assert_installed(tmp_path / "volume")
    assert other.read_text() == "mine"


def test_missing_maps_alone_are_fetched(script: Path, server: Server, tmp_path: Path) -> None:
    assert run(script, server, "--accept-eula", SC2PATH=str(tmp_path / "game")).returncode == 0
    (tmp_path / "game" / "Maps" / "SMAC_Maps" / "3m.SC2Map").unlink()
    server.asked.clear()
    assert run(script, server, SC2PATH=str(tmp_path / "game")).returncode == 0
    assert {path for _, path, _ in server.asked} == {MAPS}
    assert_installed(tmp_path / "game")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["5.0", "--accept-eula"], "unknown version '5.0'; usage: bash install_sc2.sh [4.10|4.6.2] [--accept-eula]"),
        (["--accept"], "unknown option '--accept'"),
        (["4.10", "4.6.2"], "more than one version"),
        ([], "give --accept-eula to agree to the license"),
    ],
)
def test_bad_arguments_and_no_license(arguments: list[str], message: str, script: Path, server: Server) -> None:
    assert_failed(run(script, server, *arguments), 2, message)
    assert server.asked == [] and not (script.parent / "3rdparty" / "StarCraftII").exists()


def test_a_download_that_breaks_off_is_continued_in_the_same_run(script: Path, server: Server) -> None:
    server.cut[GAME] = [50_000, 70_000]
    assert run(script, server, "--accept-eula").returncode == 0
    ranges = [wanted for command, path, wanted in server.asked if command == "GET" and path == GAME]
    assert ranges == ["", "bytes=50000-", "bytes=120000-"]
    assert_installed(script.parent / "3rdparty" / "StarCraftII")


def test_a_run_that_gave_up_leaves_no_game_and_the_next_goes_on(script: Path, server: Server) -> None:
    folder = script.parent / "3rdparty" / "StarCraftII"
    server.cut[GAME] = [1000] * 5
    size = len(server.files[GAME])
    assert_failed(run(script, server, "--accept-eula"), 1, f"5000 of {size} bytes arrived; give the same command again")
    assert [path.name for path in folder.iterdir()] == [".install"]
    server.asked.clear()
    assert run(script, server, "--accept-eula").returncode == 0
    assert [wanted for command, path, wanted in server.asked if command == "GET" and path == GAME] == ["bytes=5000-"]
    assert_installed(folder)


def test_a_server_that_cannot_continue_is_asked_from_the_start(script: Path, server: Server) -> None:
    server.ranges, server.cut[GAME] = False, [50_000]
    assert run(script, server, "--accept-eula").returncode == 0
    assert_installed(script.parent / "3rdparty" / "StarCraftII")


def test_a_server_that_tells_no_sizes_will_do(script: Path, server: Server) -> None:
    server.sizes = False
    assert run(script, server, "--accept-eula").returncode == 0
    assert_installed(script.parent / "3rdparty" / "StarCraftII")


@pytest.mark.parametrize(
    ("path", "content", "message"),
    [
        (GAME, None, "the server refuses"),
        (GAME, b"no archive", "SC2.4.10.zip was damaged and is deleted"),
        (GAME, archive({"StarCraftII/readme": b""}), "holds no StarCraftII/Versions/Base75689/SC2_x64"),
        (MAPS, maps_archive(["8m"]), "holds no 3m.SC2Map"),
        (MAPS, maps_archive(["3m"]), "lacks maps: 8m 25m"),
    ],
)
def test_what_is_wrong_with_an_archive(
    path: str, content: bytes | None, message: str, script: Path, server: Server
) -> None:
    """One line; nothing half unpacked; once the server has the right file the same command succeeds."""
    folder, right = script.parent / "3rdparty" / "StarCraftII", server.files[path]
    if content is None:
        del server.files[path]
    else:
        server.files[path] = content
    done = run(script, server, "--accept-eula")
    assert_failed(done, 1, "cannot reach" if content is None else message)
    assert (folder / "Versions").exists() == (path == MAPS) and not (folder / "Maps" / "SMAC_Maps").exists()
    assert not any((folder / ".install" / name).exists() for name in ("unpacked", "maps"))
    server.files[path] = right
    shutil.rmtree(folder / ".install", ignore_errors=True)
    assert run(script, server, "--accept-eula").returncode == 0
    assert_installed(folder)


def test_a_damaged_file_is_noticed_by_its_checksum(script: Path, server: Server) -> None:
    broken = bytearray(server.files[GAME])
    broken[100_000] ^= 1
    server.files[GAME] = bytes(broken)
    assert_failed(run(script, server, "--accept-eula"), 1, "was damaged and is deleted; give the same command again")
    assert not (script.parent / "3rdparty" / "StarCraftII").exists()


@pytest.mark.skipif(shutil.which("zip") is None, reason="needs zip to make an archive with a password")
def test_archives_have_blizzards_password(script: Path, server: Server, tmp_path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(server.files[GAME])) as plain:
        plain.extractall(tmp_path / "plain")
    command = ["zip", "-q", "-r", "-P", "iagreetotheeula", str(tmp_path / "locked.zip"), "StarCraftII"]
    subprocess.run(command, cwd=tmp_path / "plain", check=True)
    server.files[GAME] = (tmp_path / "locked.zip").read_bytes()
    assert run(script, server, "--accept-eula").returncode == 0
    assert_installed(script.parent / "3rdparty" / "StarCraftII")


def test_too_little_room_is_said_before_the_download(script: Path, server: Server, tmp_path: Path) -> None:
    (tmp_path / "df").write_text("#!/bin/sh\necho header\necho disk 1 1 100 1% /\n")
    (tmp_path / "df").chmod(0o755)
    done = run(script, server, "--accept-eula", PATH=f"{tmp_path}:{os.environ['PATH']}")
    server.files[GAME] = b"x"
    assert_failed(done, 1, "0 MB free")


def test_help_is_the_head_of_the_script(script: Path, server: Server) -> None:
    done = run(script, server, "--help")
    assert done.returncode == 0 and "bash install_sc2.sh [4.10|4.6.2] [--accept-eula]" in done.stdout
    assert "#" not in done.stdout
