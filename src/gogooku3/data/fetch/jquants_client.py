"""The official J-Quants client within the plan's rate, with retries and errors that a person can act on."""

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
import tenacity
from jquantsapi import ClientV2
from requests.adapters import HTTPAdapter

from gogooku3.data.fetch.pace import Pace
from gogooku3.errors import ConfigError, DataError
from gogooku3.settings import read_dotenv

API_KEY = "JQUANTS_API_KEY"
API_URL = "JQUANTS_API_URL"
"""Another address of the interface, such as a local stand-in's."""

REQUESTS_PER_MINUTE = {"free": 5, "light": 60, "standard": 120, "premium": 500}
"""By plan; <https://jpx-jquants.com/en/spec/rate-limits>."""

TRIES = 6
LONGEST_REST_S = 300.0
"""Whoever goes on above the limit is shut out for about five minutes."""

_PASSING = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
_RETRIED_STATUS = (429, 500, 502, 503, 504)


class NotInPlan(DataError):
    """The key is refused, or its plan does not hold what was asked for."""


class OutsideCoverage(DataError):
    """The plan does not hold the days asked for."""


class JQuantsClient:
    """Calls of the client's methods, paced and tried again.

    Args:
        api_key: sent in a header and written nowhere.
        per_minute: requests a minute, pages counted.
        timeout_s: seconds to wait for an answer.
        first_rest_s: seconds before the second try; doubled with each, or what the server asks for.
        url: address of the interface; None: the official one.

    Raises:
        ConfigError: the address is none.
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
                f"{API_URL} is '{url}', which is no address; write one as https://..., or unset it for "
                "J-Quants"
            )
        self.pace = Pace(per_minute)
        self.first_rest_s = first_rest_s
        self._client = _PacedClient(api_key, self.pace, timeout_s, url)

    def call(self, what: str, ask: Callable[[ClientV2], Any]) -> Any:
        """Ask the client for something; a passing failure is tried again after a rest.

        Args:
            what: is asked for, in words, for the messages.
            ask: the call.

        Raises:
            NotInPlan: the key or the plan does not allow it.
            OutsideCoverage: the plan does not reach to these days.
            DataError: the server still fails after several tries, or answers something unreadable.
        """
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_passes),
            stop=tenacity.stop_after_attempt(TRIES),
            wait=tenacity.wait_exponential_jitter(
                self.first_rest_s, LONGEST_REST_S, jitter=self.first_rest_s
            ),
            sleep=time.sleep,
            before_sleep=self._hold_all,
            reraise=True,
        )
        try:
            return retrying(ask, self._client)
        except requests.HTTPError as error:
            raise _explained(what, error) from None
        except KeyError as error:
            raise DataError(
                f"the J-Quants client can't read the answer for {what}: {str(error)[:99]}; the interface may "
                "have changed: nothing of it was kept; upgrade jquants-api-client"
            ) from None
        except (requests.RequestException, ValueError) as error:
            reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            raise DataError(
                f"J-Quants did not answer for {what} in {TRIES} tries ({type(error).__name__}: {reason}); "
                "run the same command again later: it goes on where it stopped"
            ) from None

    def _hold_all(self, state: tenacity.RetryCallState) -> None:
        """Above the limit, every thread rests as long as the server asks, or as this one will."""
        error = state.outcome.exception() if state.outcome else None
        response = getattr(error, "response", None)
        if response is not None and response.status_code == 429:
            rest = _asked_rest(response)
            self.pace.hold(rest if rest is not None else state.upcoming_sleep)


class _PacedClient(ClientV2):
    """The client with a session of ours: every request, each page too, waits for its turn."""

    def __init__(self, api_key: str, pace: Pace, timeout_s: float, url: str | None) -> None:
        super().__init__(api_key=api_key)
        self._timeout_s = timeout_s
        if url:
            self.JQUANTS_API_BASE = url.rstrip("/")
        self._session = requests.Session()
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, _PacedAdapter(pace))

    def _get(self, url: str, params: dict[str, Any] | None = None) -> requests.Response:
        response = self._session.get(
            url, params=params, headers=self._base_headers(), timeout=self._timeout_s, allow_redirects=False
        )
        self._raise_for_status(response)
        return response


class _PacedAdapter(HTTPAdapter):
    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        super().__init__(pool_maxsize=32)

    def send(self, *arguments: Any, **options: Any) -> requests.Response:
        self._pace.turn()
        return super().send(*arguments, **options)


def find_api_key(environment: Mapping[str, str] | None = None, folder: Path | None = None) -> str:
    """The key from the environment, or from `.env` in the working directory.

    Raises:
        ConfigError: there is none, or it can't be sent; the message doesn't repeat it.
    """
    environment = os.environ if environment is None else environment
    key = (environment.get(API_KEY) or read_dotenv(folder).get(API_KEY) or "").strip()
    if not key:
        raise ConfigError(
            f"no J-Quants key: set {API_KEY} in the environment, or write {API_KEY}=... into a file .env "
            "here. It is on the dashboard at https://jpx-jquants.com, and never taken as an option, so that "
            "it stays out of your shell's history"
        )
    # The library that sends it would name a bad one in its error.
    if not all("!" <= character <= "~" for character in key):
        raise ConfigError(
            f"{API_KEY} holds a blank, a line break or a letter that no key has, so it was not sent; copy "
            "the key again, alone on its line"
        )
    return key


def _passes(error: BaseException) -> bool:
    """Whether trying again may help."""
    if isinstance(error, requests.HTTPError):
        return error.response is not None and error.response.status_code in _RETRIED_STATUS
    # An answer that was cut or is no JSON is a ValueError.
    return isinstance(error, (*_PASSING, requests.exceptions.JSONDecodeError, ValueError))


def _asked_rest(response: requests.Response) -> float | None:
    text = response.headers.get("Retry-After", "")
    return min(float(text), LONGEST_REST_S) if text.isdecimal() else None


def _explained(what: str, error: requests.HTTPError) -> DataError:
    status = error.response.status_code if error.response is not None else 0
    said = _message(error.response)
    if status in (401, 403):
        return NotInPlan(
            f"J-Quants refuses {what} ({status}: {said}); check {API_KEY}, and whether your plan holds it"
        )
    if status == 400 and "subscription" in said.lower():
        return OutsideCoverage(f"J-Quants has no {what} for your plan ({said}); ask for days within it")
    if status in _RETRIED_STATUS:
        return DataError(
            f"J-Quants failed {TRIES} times for {what} ({status}: {said}); run the same command again later: "
            "it goes on where it stopped. If it says 429 at once, name your plan with --plan"
        )
    return DataError(
        f"J-Quants answered {status} for {what}: {said}; if the interface has changed, look for a newer "
        "gogooku3"
    )


def _message(response: requests.Response | None) -> str:
    if response is None:
        return "no answer"
    try:
        text = str(response.json().get("message", ""))
    except (ValueError, AttributeError):
        text = response.text
    return text.strip().replace("\n", " ")[:200] or response.reason or "no message"
