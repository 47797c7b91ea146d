"""The official J-Quants client with the plan's rate limit, retries, and errors that the user can act on."""

import os
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import requests
import tenacity
from jquantsapi import ClientV2
from requests.adapters import HTTPAdapter

from gogooku3.errors import ConfigError, DataError
from gogooku3.settings import read_dotenv

API_KEY = "JQUANTS_API_KEY"
API_URL = "JQUANTS_API_URL"
"""Another address of the interface, such as a local test server."""

REQUESTS_PER_MINUTE = {"free": 5, "light": 60, "standard": 120, "premium": 500}
"""By plan; <https://jpx-jquants.com/en/spec/rate-limits>."""
TRIES = 6
LONGEST_REST_S = 300.0
"""The server blocks a client that exceeds the limit for about five minutes."""

_RETRIED_STATUS = (429, 500, 502, 503, 504)


class NotInPlan(DataError):
    """The key is refused, or its plan does not include the request."""


class OutsideCoverage(DataError):
    """The plan does not include the requested days."""


class RateLimiter:
    """Spaces the requests of all threads evenly: one every `60 / per_minute` seconds."""

    def __init__(self, per_minute: float) -> None:
        self.seconds = 60.0 / per_minute
        self._lock = threading.Lock()
        self._next = time.monotonic()

    def acquire(self) -> None:
        """Wait until the next request is due."""
        with self._lock:
            due = max(self._next, time.monotonic())
            self._next = due + self.seconds
        if (wait := due - time.monotonic()) > 0:
            time.sleep(wait)

    def hold(self, seconds: float) -> None:
        """Delay the next request of every thread by at least `seconds` from now."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)


class JQuantsClient:
    """Calls methods of the official client within the rate limit, and retries them.

    Args:
        api_key: sent in a header, stored nowhere.
        per_minute: requests a minute; every page counts.
        timeout_s: seconds to wait for an answer.
        first_rest_s: seconds before the second try; doubled with each, unless the server sets the delay.
        url: address of the interface; None: the official one.

    Raises:
        ConfigError: `url` is not an address.
    """

    def __init__(
        self,
        api_key: str,
        per_minute: float,
        timeout_s: float = 30.0,
        first_rest_s: float = 2.0,
        url: str | None = None,
    ) -> None:
        if url and not (urlsplit(url).scheme in ("http", "https") and urlsplit(url).hostname):
            raise ConfigError(
                f"{API_URL} is '{url}', which is not an address; write one as https://..., or leave it unset "
                "to use J-Quants"
            )
        self._limiter = RateLimiter(per_minute)
        self._client = _LimitedClient(api_key, self._limiter, timeout_s, url)
        self._retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_is_passing),
            stop=tenacity.stop_after_attempt(TRIES),
            wait=tenacity.wait_exponential_jitter(first_rest_s, LONGEST_REST_S, jitter=first_rest_s),
            before_sleep=self._hold_all,
            reraise=True,
        )

    def call(self, what: str, ask: Callable[[ClientV2], Any]) -> Any:
        """Call the client (messages name `what`), and retry after a delay if the failure may pass.

        Raises:
            NotInPlan: the key or the plan does not allow it.
            OutsideCoverage: the plan does not include these days.
            DataError: the server still fails after `TRIES` tries, or its answer can't be read.
        """
        try:
            return self._retrying(ask, self._client)
        except requests.HTTPError as error:
            raise _explained(what, error) from None
        except KeyError as error:
            raise DataError(
                f"the J-Quants client can't read the answer for {what}: {str(error)[:99]}; the interface may "
                "have changed: the answer was not stored; install a newer jquants-api-client"
            ) from None
        except (requests.RequestException, ValueError) as error:
            reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            raise DataError(
                f"J-Quants did not answer for {what} in {TRIES} tries ({type(error).__name__}: {reason}); "
                "run the same command again later: it continues where it stopped"
            ) from None

    def _hold_all(self, state: tenacity.RetryCallState) -> None:
        """After a 429, hold every thread as long as the server asks, or as long as this one waits."""
        response = getattr(state.outcome and state.outcome.exception(), "response", None)
        if response is not None and response.status_code == 429:
            delay = response.headers.get("Retry-After", "")
            self._limiter.hold(
                min(float(delay), LONGEST_REST_S) if delay.isdecimal() else state.upcoming_sleep
            )


class _LimitedClient(ClientV2):
    """The official client; every request, each page too, waits for the limiter."""

    def __init__(self, api_key: str, limiter: RateLimiter, timeout_s: float, url: str | None) -> None:
        super().__init__(api_key=api_key)
        self._limiter, self._timeout_s = limiter, timeout_s
        if url:
            self.JQUANTS_API_BASE = url.rstrip("/")
        self._session = requests.Session()
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, HTTPAdapter(pool_maxsize=32))

    def _get(self, url: str, params: dict[str, Any] | None = None) -> requests.Response:
        self._limiter.acquire()
        response = self._session.get(
            url, params=params, headers=self._base_headers(), timeout=self._timeout_s, allow_redirects=False
        )
        self._raise_for_status(response)
        return response


def find_api_key() -> str:
    """The key from the environment, or from `.env` in the working directory.

    Raises:
        ConfigError: there is no key, or it can't be sent; the message does not repeat it.
    """
    key = (os.environ.get(API_KEY) or read_dotenv().get(API_KEY) or "").strip()
    if not key:
        raise ConfigError(
            f"no J-Quants key: set {API_KEY} in the environment, or write {API_KEY}=... into a file .env "
            "here. It is on the dashboard at https://jpx-jquants.com. There is no option for it, so that it "
            "stays out of your shell's history"
        )
    # The HTTP library would repeat an invalid key in its error.
    if not all("!" <= character <= "~" for character in key):
        raise ConfigError(
            f"{API_KEY} contains a blank, a line break or a character that no key has, so it was not sent; "
            "copy the key again, on a line without anything else"
        )
    return key


def _is_passing(error: BaseException) -> bool:
    """Return True if a retry may help."""
    if isinstance(error, requests.HTTPError):
        return getattr(error.response, "status_code", None) in _RETRIED_STATUS
    passing = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
    # ValueError: the answer was cut, or is not JSON.
    return isinstance(error, (*passing, ValueError))


def _explained(what: str, error: requests.HTTPError) -> DataError:
    response: Any = error.response  # Set by the client's check of the status.
    try:
        text = str(response.json().get("message", ""))
    except (ValueError, AttributeError):
        text = response.text
    message = text.strip().replace("\n", " ")[:200] or response.reason or "no message"
    status = response.status_code
    if status in (401, 403):
        return NotInPlan(
            f"J-Quants refuses {what} ({status}: {message}); check {API_KEY}, and whether your plan has it"
        )
    if status == 400 and "subscription" in message.lower():
        return OutsideCoverage(f"your plan does not cover {what} ({message}); choose days that it covers")
    if status in _RETRIED_STATUS:
        return DataError(
            f"J-Quants failed {TRIES} times for {what} ({status}: {message}); run the same command again "
            "later: it continues where it stopped. If it fails with 429 at once, name your plan with --plan"
        )
    return DataError(
        f"J-Quants answered {status} for {what}: {message}; if the interface changed, try a newer gogooku3"
    )
