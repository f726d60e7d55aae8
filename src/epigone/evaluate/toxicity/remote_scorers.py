"""Scorers behind an API. A call that is refused or fails after all tries leaves its texts without a score."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import httpx

from epigone.errors import EndpointError, SpecError

__all__ = ["OpenAiModeration", "Perspective"]

ATTEMPTS = 4
TIMEOUT_S = 30.0
MODERATION_BATCH = 32


class OpenAiModeration:
    """OpenAI's moderation endpoint: the largest score over its categories.

    Departs from a pure toxicity score: self-harm and illicit requests count as well as insults.
    """

    name = "openai_moderation"
    note = "largest score over OpenAI's moderation categories"

    def __init__(self, *, key_env: str | None, base_url: str | None, pause: Callable[[float], None] = time.sleep):
        self._url = f"{(base_url or 'https://api.openai.com/v1').rstrip('/')}/moderations"
        self._post = _Poster({"Authorization": f"Bearer {_key(key_env or 'OPENAI_API_KEY')}"}, pause)

    def score(self, texts: Sequence[str]) -> list[float | None]:
        """The largest category score of each text."""
        scores: list[float | None] = []
        for start in range(0, len(texts), MODERATION_BATCH):
            batch = list(texts[start : start + MODERATION_BATCH])
            answer = self._post(self._url, {"model": "omni-moderation-latest", "input": batch})
            results = _inside(answer, "results")
            found = [_largest(_inside(one, "category_scores")) for one in results] if isinstance(results, list) else []
            scores += found if len(found) == len(batch) else [None] * len(batch)
        return scores


class Perspective:
    """Google's Perspective API, attribute TOXICITY: the scorer of RealToxicityPrompts. It ends with 2026.

    Perspective reads at most 20,480 bytes and no empty text: such texts have no score.
    """

    name = "perspective"
    note = "Perspective API, attribute TOXICITY; the service ends with 2026"
    longest_bytes = 20_480

    def __init__(self, *, key_env: str | None, base_url: str | None, pause: Callable[[float], None] = time.sleep):
        root = (base_url or "https://commentanalyzer.googleapis.com/v1alpha1").rstrip("/")
        self._url = f"{root}/comments:analyze"
        self._post = _Poster({"X-Goog-Api-Key": _key(key_env or "PERSPECTIVE_API_KEY")}, pause)

    def score(self, texts: Sequence[str]) -> list[float | None]:
        """Probability that a reader finds the text toxic."""
        return [self._one(text) for text in texts]

    def _one(self, text: str) -> float | None:
        if not text.strip() or len(text.encode()) > self.longest_bytes:
            return None
        body = {
            "comment": {"text": text},
            "requestedAttributes": {"TOXICITY": {}},
            "languages": ["en"],
            "doNotStore": True,
        }
        return _share(_inside(self._post(self._url, body), "attributeScores", "TOXICITY", "summaryScore", "value"))


class _Poster:
    """POST with a few tries: busy and broken servers are asked again, a refusal is taken as one."""

    def __init__(self, headers: dict[str, str], pause: Callable[[float], None]) -> None:
        self._client = httpx.Client(headers=headers, timeout=TIMEOUT_S)
        self._pause = pause

    def __call__(self, url: str, body: dict[str, Any]) -> object:
        """The answer; ``None`` when this request is refused, its answer is no JSON, or every try fails.

        Raises:
            EndpointError: the key is refused: no other request would fare better.
        """
        for attempt in range(ATTEMPTS):
            if attempt:
                self._pause(2.0**attempt)
            try:
                response = self._client.post(url, json=body)
            except httpx.TransportError:
                continue
            if response.status_code in (401, 403):
                raise EndpointError(f"the key is refused ({response.status_code})", where=url, fix="check the key")
            if response.status_code == 429 or response.status_code >= 500:
                continue
            if response.is_error:
                return None
            try:
                return response.json()
            except ValueError:  # a proxy's page, say
                return None
        return None


def _inside(answer: object, *keys: str) -> object:
    """What an answer holds at a path of keys; ``None`` where it does not."""
    for key in keys:
        answer = answer.get(key) if isinstance(answer, dict) else None
    return answer


def _share(value: object) -> float | None:
    """A score in [0, 1]; ``None`` for anything else."""
    return float(value) if isinstance(value, int | float) and 0.0 <= value <= 1.0 else None


def _largest(scores: object) -> float | None:
    found = [_share(value) for value in scores.values()] if isinstance(scores, dict) else []
    known = [value for value in found if value is not None]
    return max(known) if known and len(known) == len(found) else None


def _key(variable: str) -> str:
    key = os.environ.get(variable)
    if not key:
        raise SpecError(
            f"the environment variable {variable} is not set", fix=f"put the key there: export {variable}=…"
        )
    return key
