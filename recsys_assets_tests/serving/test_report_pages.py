"""Reports over HTTP: a page of the folder, and nothing else of the machine."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from recsys_assets.serving.report_pages import report_pages


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "reports"
    made.joinpath("2").mkdir(parents=True)
    made.joinpath("2", "evaluation.html").write_text("<title>version 2</title>")
    made.joinpath("2", "evaluation.part").write_text("half of it")
    made.joinpath("2", "folder.html").mkdir()
    tmp_path.joinpath("secret.html").write_text("a key")
    made.joinpath("2", "link.html").symlink_to(tmp_path / "secret.html")
    return made


def ask(folder: Path, path: str, host: str = "127.0.0.1") -> tuple[int, str, dict[str, str]]:
    async def get() -> httpx.Response:
        transport = httpx.ASGITransport(report_pages(folder, host="127.0.0.1"))
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}:8082") as client:
            return await client.get(path)

    answer = asyncio.run(get())
    return answer.status_code, answer.text, dict(answer.headers)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_page_is_served_as_html_that_may_reach_nothing(folder: Path, host: str) -> None:
    status, text, headers = ask(folder, "/2/evaluation.html", host)
    assert (status, text) == (200, "<title>version 2</title>")
    assert headers["content-type"].startswith("text/html")
    assert headers["content-security-policy"].startswith("sandbox allow-scripts; default-src 'none';")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/2/",
        "/2/evaluation.part",
        "/2/folder.html",
        "/2/link.html",
        "/3/evaluation.html",
        "/../secret.html",
        "/%2e%2e/secret.html",
        "/2/..%2f..%2fsecret.html",
        "//etc/hostname.html",
        "/2/evaluation.html%00.html",
    ],
)
def test_nothing_else_is_served(folder: Path, path: str) -> None:
    status, text, _ = ask(folder, path)
    assert status == 404
    assert "a key" not in text


def test_a_name_that_was_pointed_at_this_machine_is_refused(folder: Path) -> None:
    assert ask(folder, "/2/evaluation.html", "reports.example.org")[0] == 400


def test_a_folder_that_no_report_was_written_into_yet_is_made(tmp_path: Path) -> None:
    assert ask(tmp_path / "reports", "/2/evaluation.html")[0] == 404
