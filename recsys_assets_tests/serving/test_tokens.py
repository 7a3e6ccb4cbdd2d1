"""Client tokens: shown once, kept as hashes, recognised while they stand in the file.

Here: the file, the gate and the command line. Not here: what the collector answers (test_collector_door.py).
"""

from __future__ import annotations

import json
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from recsys_assets.cli import app as command_line
from recsys_assets.serving import tokens
from recsys_assets.serving.tokens import ANONYMOUS, TokenGate, TokenNameTaken, TokensBroken
from recsys_assets.settings import load_settings

NOON = datetime(2024, 1, 31, 12, tzinfo=UTC)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys" / "collector_tokens.json"


# --- tokens --------------------------------------------------------------------------------------------------------


def test_a_token_opens_the_door_for_its_client_and_stands_nowhere(file: Path) -> None:
    shop, app = (tokens.add(file, name, now=NOON) for name in ("shop", "app"))
    gate = TokenGate(file)
    assert [gate.client_of(f"Bearer {token}") for token in (shop, app)] == ["shop", "app"]
    assert gate.client_of(f"bearer  {shop}") == "shop"
    assert shop not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert tokens.names(file) == ["app", "shop"]
    assert len(shop) > 40


@pytest.mark.parametrize("wrong", [None, "", "Bearer", "Bearer ", "Bearer nonsense", "Basic {}", "{}", "Bearer {}x"])
def test_a_stranger_has_no_name(file: Path, wrong: str | None) -> None:
    token = tokens.add(file, "shop", now=NOON)
    assert TokenGate(file).client_of(wrong and wrong.format(token)) is None


def test_the_hash_that_is_kept_is_no_token(file: Path) -> None:
    tokens.add(file, "shop", now=NOON)
    kept = json.loads(file.read_text())["tokens"][0]["sha256"]
    assert TokenGate(file).client_of(f"Bearer {kept}") is None


def test_a_gate_that_runs_sees_who_comes_and_goes_and_never_opens_again(file: Path) -> None:
    gate = TokenGate(file)
    assert gate.is_open
    assert gate.client_of(None) == ANONYMOUS
    token = tokens.add(file, "shop", now=NOON)
    assert gate.client_of(None) is None
    assert not gate.is_open
    assert gate.client_of(f"Bearer {token}") == "shop"
    assert tokens.revoke(file, "shop") is True
    assert tokens.revoke(file, "shop") is False
    assert gate.client_of(f"Bearer {token}") is None
    assert gate.client_of(None) is None
    assert TokenGate(file).client_of(None) is None  # nor after a restart: an empty file is no open door
    file.unlink()
    assert gate.client_of(None) is None


def test_two_clients_of_one_name_and_one_that_is_nobody_are_refused(file: Path) -> None:
    tokens.add(file, "shop", now=NOON)
    for name in ("shop", ANONYMOUS):
        with pytest.raises(TokenNameTaken):
            tokens.add(file, name, now=NOON)
    with pytest.raises(ValueError, match="pattern"):
        tokens.add(file, "Shop!", now=NOON)
    assert tokens.names(file) == ["shop"]


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"tokens": [{"name": "a", "sha256": "b"}]}', b"\xff"])
def test_a_file_that_is_broken_lets_nobody_in_and_is_not_written_over(file: Path, content: bytes) -> None:
    file.parent.mkdir()
    gate = TokenGate(file)
    file.write_bytes(content)
    for _ in range(2):
        with pytest.raises(TokensBroken):
            gate.client_of(None)
    assert not gate.is_open
    for act in (
        lambda: tokens.add(file, "shop", now=NOON),
        lambda: tokens.revoke(file, "shop"),
        lambda: TokenGate(file),
    ):
        with pytest.raises(TokensBroken):
            act()
    assert file.read_bytes() == content


def test_the_command_line_shows_a_token_once_and_takes_it_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECSYS_HOME", str(tmp_path))

    def run(*words: str) -> tuple[int, str]:
        result = CliRunner().invoke(command_line, ["collector-token", *words])
        return result.exit_code, result.output

    code, token = run("add", "shop")
    assert code == 0
    assert TokenGate(load_settings().collector_tokens_file).client_of(f"Bearer {token.strip()}") == "shop"
    assert run("list") == (0, "shop\n")
    assert run("add", "shop")[0] == run("add", "No!")[0] == run("revoke", "other")[0] == 1
    assert run("revoke", "shop") == (0, "shop: revoked\n")
    assert run("list") == (0, "")
    (tmp_path / "keys" / "collector_tokens.json").write_text("broken")
    assert [run(*words)[0] for words in (("list",), ("add", "app"), ("revoke", "app"))] == [1, 1, 1]
