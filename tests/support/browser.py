"""Pages in a headless Chromium, driven over a pipe with the DevTools protocol."""

import fcntl
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no chromium: install it to test pages")

PHONE, DESK = 375, 1280
A4 = 717
"""Pixels between Chromium's margins on an A4 sheet."""


class Browser:
    """One headless tab; `events` holds all messages that are not answers."""

    def __init__(self, profile: Path) -> None:
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()
        # Above 3 and 4, the descriptors that Chromium uses.
        fds = [fcntl.fcntl(fd, fcntl.F_DUPFD, 60) for fd in (theirs_in, theirs_out)]
        flags = "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run"
        command = f'exec "$0" {flags} --remote-debugging-pipe "$@" 3<&{fds[0]} 4>&{fds[1]}'
        self.process = subprocess.Popen(
            ["bash", "-c", command, str(CHROMIUM), f"--user-data-dir={profile}", "about:blank"],
            pass_fds=fds,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for fd in (theirs_in, theirs_out, *fds):
            os.close(fd)
        self.reader, self.writer = os.fdopen(ours_in, "rb"), os.fdopen(ours_out, "wb", buffering=0)
        self.events: list[dict[str, Any]] = []
        self.number, self.session, self.rest, self.width = 0, "", b"", 0
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        self.writer.write(json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self.number:
                assert "error" not in answer, answer["error"]
                return answer["result"]
            self.events.append(answer)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self.rest:
            part = self.reader.read1(1 << 20)
            assert part, "Chromium has exited"
            self.rest += part
        message, self.rest = self.rest.split(b"\0", 1)
        return json.loads(message)

    def run(self, script: str) -> Any:
        """The value of an expression in the page."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def prefer(self, scheme: str) -> None:
        """Set the preferred colour scheme, light or dark."""
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def resize(self, width: int) -> None:
        """Set the width of the window."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=width == PHONE,
        )

    def start_print(self) -> None:
        """Lay the page out for A4 paper, as printing from the window does."""
        self.run("dispatchEvent(new Event('beforeprint'))")
        self.call("Emulation.setEmulatedMedia", media="print")
        self.resize(A4)
        self.settle()

    def end_print(self) -> None:
        """Lay the page out for the window again."""
        self.call("Emulation.setEmulatedMedia", media="")
        self.resize(self.width)
        self.run("dispatchEvent(new Event('afterprint'))")
        self.settle()

    def open(self, path: Path, width: int, scheme: str = "light") -> None:
        """Load a page at a width, and wait until it is drawn."""
        self.resize(width)
        self.prefer(scheme)
        self.width = width
        self.events.clear()
        self.call("Page.navigate", url=path.as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next())
        self.settle()

    def settle(self) -> None:
        """Wait for two animation frames."""
        self.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")

    def lines_of(self, selector: str, text: str) -> int:
        """Number of lines of a text in place of an element's own."""
        return self.run(f"""(place => {{
          const own = place.textContent, range = document.createRange();
          place.textContent = {json.dumps(text)};
          range.selectNodeContents(place);
          const lines = range.getClientRects().length;
          place.textContent = own;
          return lines;
        }})(document.querySelector({json.dumps(selector)}))""")

    def wait_for(self, script: str) -> None:
        """Wait until an expression is true, at most 200 frames."""
        for _ in range(100):
            if self.run(f"Boolean({script})"):
                return
            self.settle()
        raise AssertionError(f"never became true: {script}")

    def complaints(self) -> list[dict[str, Any]]:
        """Errors and warnings of the page since it was opened."""
        return [
            event
            for event in self.events
            if event["method"] in ("Runtime.exceptionThrown", "Log.entryAdded")
            or (
                event["method"] == "Runtime.consoleAPICalled"
                and event["params"]["type"] in ("error", "warning")
            )
        ]

    def requests(self) -> list[str]:
        """Requested addresses, the page first, without `data:` addresses."""
        asked = [
            e["params"]["request"]["url"] for e in self.events if e["method"] == "Network.requestWillBeSent"
        ]
        return [url for url in asked if not url.startswith("data:")]

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.reader.close()
        self.writer.close()
