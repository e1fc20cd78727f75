"""An editor without a screen: yaml-language-server on its standard input and output, as editors run it."""

import itertools
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

_SERVER = Path(__file__).parent / "node_modules" / "yaml-language-server" / "bin" / "yaml-language-server"


class Editor:
    """A server that has been told the schema; each text is opened as a file of its own."""

    def __init__(self, process: subprocess.Popen[bytes], schema: Path) -> None:
        self._in = cast("BinaryIO", process.stdin)
        self._out = cast("BinaryIO", process.stdout)
        self._ids = itertools.count(1)
        self._settings = {"validate": True, "hover": True, "completion": True, "schemas": {schema.as_uri(): "*.yaml"}}
        self._ask("initialize", {"processId": None, "rootUri": None, "capabilities": {}})
        self._tell("initialized", {})
        self._tell("workspace/didChangeConfiguration", {"settings": {"yaml": self._settings}})
        while not self.flagged("no such key: 1\n"):  # it answers before it has read the schema, too
            pass

    def flagged(self, text: str) -> list[tuple[int, str]]:
        """What it underlines: the line, from 0, and the words."""
        uri = self._open(text)
        while True:
            message = self._read()
            if message.get("method") == "textDocument/publishDiagnostics" and message["params"]["uri"] == uri:
                found = message["params"]["diagnostics"]
                return [(one["range"]["start"]["line"], one["message"]) for one in found]

    def completed(self, text: str) -> list[str]:
        """What it offers where the text has a `^`."""
        offered = self._ask("textDocument/completion", self._at(text))
        return [one["label"] for one in (offered["items"] if isinstance(offered, dict) else offered)]

    def hover(self, text: str) -> str:
        """What it says of what stands behind the text's `^`."""
        told = self._ask("textDocument/hover", self._at(text))
        return str(told["contents"]["value"]) if told else ""

    def _at(self, text: str) -> dict[str, Any]:
        before, _, after = text.partition("^")
        position = {"line": before.count("\n"), "character": len(before) - before.rfind("\n") - 1}
        return {"textDocument": {"uri": self._open(before + after)}, "position": position}

    def _open(self, text: str) -> str:
        uri = f"file:///{next(self._ids)}.yaml"
        document = {"uri": uri, "languageId": "yaml", "version": 1, "text": text}
        self._tell("textDocument/didOpen", {"textDocument": document})
        return uri

    def _ask(self, method: str, params: Any) -> Any:
        number = next(self._ids)
        self._write({"id": number, "method": method, "params": params})
        while (message := self._read()).get("id") != number or "method" in message:
            pass
        assert "error" not in message, message
        return message["result"]

    def _tell(self, method: str, params: Any) -> None:
        self._write({"method": method, "params": params})

    def _write(self, message: dict[str, Any]) -> None:
        content = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self._in.write(b"Content-Length: %d\r\n\r\n" % len(content) + content)
        self._in.flush()

    def _read(self) -> dict[str, Any]:
        length = 0
        while line := self._out.readline().strip():
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        message: dict[str, Any] = json.loads(self._out.read(length))
        if message.get("method") == "workspace/configuration":  # the server's own question
            answers = [self._settings if item.get("section") == "yaml" else {} for item in message["params"]["items"]]
            self._write({"id": message["id"], "result": answers})
        elif "id" in message and "method" in message:
            self._write({"id": message["id"], "result": None})
        return message


@contextmanager
def editor(schema: Path) -> Iterator[Editor]:
    """An editor that checks `*.yaml` by the schema in a file, for as long as the context lasts."""
    node = shutil.which("node") or str(Path(sys.executable).parent / "node")
    process = subprocess.Popen(
        [node, str(_SERVER), "--stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        yield Editor(process, schema)
    finally:
        process.kill()
        process.communicate()
