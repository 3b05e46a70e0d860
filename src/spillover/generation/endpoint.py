"""Turns prompts into completions by asking an OpenAI-compatible server, several at a time.

Works with anything that answers `/chat/completions` (vLLM, SGLang, Ollama, `transformers serve`,
hosted ones). The chat template and the sampling are the server's; `batch_size` is not used. Keeps
nothing on disk: what must survive a failure is handed to `on_completion` as it arrives.
"""

import asyncio
import json
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import httpx

from spillover.errors import ConfigError, EndpointError
from spillover.generation.protocol import GenerationSettings, OnCompletion
from spillover.generation.retries import Backoff, is_retriable, retry_after_seconds
from spillover.records import Completion, Prompt

_SHOWN = 200
_Outcome = Completion | EndpointError


@dataclass
class _Run:
    """What one call of `generate` shares between its requests."""

    client: httpx.AsyncClient
    settings: GenerationSettings
    on_completion: OnCompletion | None
    slots: asyncio.Semaphore
    n_unreachable: int = 0
    "Prompts in a row for which the server could not be reached at all."


class _UnreachableError(EndpointError):
    """No answer of any kind came, however often it was tried."""


class _Answer(NamedTuple):
    """What is read from a server's answer."""

    response: str
    finish_reason: str
    n_tokens: int


class EndpointGenerator:
    """A generator that asks a server."""

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        name: str,
        api_key: str | None = None,
        max_concurrency: int = 8,
        timeout: float = 60.0,
        max_retries: int = 5,
        backoff: float = 0.5,
        transport: httpx.AsyncBaseTransport | None = None,
        system_prompt: str | None = None,
    ) -> None:
        """Keep the address; nothing is sent before `generate`.

        Args:
            base_url: Address up to and including the version, such as `http://localhost:8000/v1`.
            model: Name by which the server knows the model.
            name: Name of the model in the study.
            api_key: Sent as a bearer token; never read from the environment, never written.
            max_concurrency: Most requests under way at once.
            timeout: Longest wait for one answer, in seconds.
            max_retries: Tries after the first one, on 429, 5xx, a time-out or a lost connection.
            backoff: Wait before the first retry, in seconds; doubles with each, with jitter.
            transport: How requests travel, for tests; None for the network.
            system_prompt: Sent before every prompt; None for none.

        Raises:
            ConfigError: If the address is no http address, or a number is out of its range.
        """
        if not base_url.startswith(("http://", "https://")):
            raise ConfigError(f"base_url is {base_url!r}; it must begin with http:// or https://")
        if max_concurrency < 1 or max_retries < 0 or timeout <= 0 or backoff < 0:
            raise ConfigError(
                f"endpoint {name!r}: max_concurrency {max_concurrency}, max_retries {max_retries}, "
                f"timeout {timeout}, backoff {backoff}; they must be at least 1, 0, above 0 and 0"
            )
        self.name = name
        self.url = base_url.rstrip("/") + "/chat/completions"
        self._model = model
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._max_concurrency = max_concurrency
        self._timeout = timeout
        self._max_retries = max_retries
        self._backoff = backoff
        self._transport = transport
        self._system_prompt = system_prompt

    def generate(
        self,
        prompts: Sequence[Prompt],
        *,
        settings: GenerationSettings,
        on_completion: OnCompletion | None = None,
        done: Sequence[Completion] = (),
    ) -> list[Completion]:
        """Return one completion for each prompt, in the same order.

        One prompt's failure does not stop the others. May be called where an event loop is
        running already; the requests, and then `on_completion`, run in a thread of their own.

        Args:
            prompts: What to ask.
            settings: How to sample; the seed is sent along and also draws the jitter.
            on_completion: Called with each new completion as it arrives, in any order.
            done: Completions of an earlier, interrupted call; they are not asked for again.

        Raises:
            EndpointError: If any prompt is without an answer in the end; the message says how
                many, and what the first failure was.
        """
        found = {completion.id: completion for completion in done}
        missing = [prompt for prompt in prompts if prompt.id not in found]
        outcomes = _run_to_end(self._complete_all(missing, settings, on_completion))
        failures = [outcome for outcome in outcomes if isinstance(outcome, EndpointError)]
        if failures:
            raise EndpointError(
                f"{len(failures)} of {len(prompts)} prompts have no completion by {self.name!r}; "
                f"the first failure: {failures[0]}. Run again: finished ones are kept"
            ) from failures[0]
        found |= {outcome.id: outcome for outcome in outcomes if isinstance(outcome, Completion)}
        return [found[prompt.id] for prompt in prompts]

    async def _complete_all(
        self,
        prompts: Sequence[Prompt],
        settings: GenerationSettings,
        on_completion: OnCompletion | None,
    ) -> list[_Outcome]:
        """Ask for all completions, at most `max_concurrency` at once."""
        async with httpx.AsyncClient(
            transport=self._transport,
            headers={"Content-Type": "application/json", **self._headers},
            timeout=self._timeout,
            limits=httpx.Limits(max_connections=self._max_concurrency),
        ) as client:
            slots = asyncio.Semaphore(self._max_concurrency)
            run = _Run(client, settings, on_completion, slots)
            return await asyncio.gather(*(self._outcome(run, prompt) for prompt in prompts))

    async def _outcome(self, run: _Run, prompt: Prompt) -> _Outcome:
        """Return one prompt's completion, or the error that was left after all retries."""
        async with run.slots:
            # A server that is down is not asked about every one of a thousand prompts.
            if run.n_unreachable >= 2 * self._max_concurrency:
                return _UnreachableError(f"{self.url}: not asked, as the server is unreachable")
            try:
                response = await self._ask(run, prompt)
                completion = self._completion(_parse(response), prompt)
            except _UnreachableError as error:
                run.n_unreachable += 1
                return error
            except EndpointError as error:
                run.n_unreachable = 0
                return error
            run.n_unreachable = 0
            if run.on_completion is not None:
                run.on_completion(completion)
            return completion

    async def _ask(self, run: _Run, prompt: Prompt) -> httpx.Response:
        """Send one request until it is answered or the retries are used up."""
        waits = Backoff(first=self._backoff, seed=run.settings.seed, stream=prompt.id)
        body = json.dumps(self._payload(prompt, run.settings)).encode()
        for attempt in range(self._max_retries + 1):
            try:
                response = await run.client.post(self.url, content=body)
            except httpx.TransportError as error:
                if attempt == self._max_retries:
                    raise self._unreachable(error) from error
                asked_wait = 0.0
            except httpx.HTTPError as error:
                raise EndpointError(f"{self.url}: unreadable answer ({error})") from error
            else:
                if response.is_success:
                    return response
                if attempt == self._max_retries or not is_retriable(response.status_code):
                    break
                asked_wait = retry_after_seconds(response.headers.get("retry-after", ""))
            await asyncio.sleep(max(waits.draw(attempt), asked_wait))
        raise _fault(response, "refused the request")

    def _unreachable(self, error: httpx.TransportError) -> _UnreachableError:
        """Say that the server could not be reached, and after how many tries."""
        return _UnreachableError(
            f"{self.url}: {type(error).__name__} on the last of {self._max_retries + 1} tries "
            f"({str(error) or 'no details'}); check that the server is up"
        )

    def _completion(self, answer: _Answer, prompt: Prompt) -> Completion:
        """Join a prompt and the server's answer."""
        return Completion(
            id=prompt.id,
            prompt=prompt.prompt,
            concept=prompt.concept,
            response=answer.response,
            model=self.name,
            n_tokens=answer.n_tokens,
            finish_reason=answer.finish_reason,
        )

    def _payload(self, prompt: Prompt, settings: GenerationSettings) -> dict[str, Any]:
        """Return the body of one request."""
        messages = [{"role": "user", "content": prompt.prompt}]
        if self._system_prompt is not None:
            messages.insert(0, {"role": "system", "content": self._system_prompt})
        return {
            "model": self._model,
            "messages": messages,
            "max_tokens": settings.max_new_tokens,
            "temperature": settings.temperature,
            "top_p": settings.top_p,
            "seed": settings.seed,
            "stream": False,
        }


def _parse(response: httpx.Response) -> _Answer:
    """Read a chat completion, or raise an EndpointError that shows what came instead."""
    try:
        body = json.loads(response.content)
        choice = body["choices"][0]
        message = choice["message"]
        # A server may put a refusal in a field of its own and leave the content empty.
        content = message["content"] if message.get("content") is not None else message["refusal"]
        finish_reason = choice.get("finish_reason")
        n_tokens = (body.get("usage") or {}).get("completion_tokens", -1)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise _fault(response, "sent no chat completion") from error
    if not isinstance(content, str):
        raise _fault(response, "sent no text as the content")
    return _Answer(
        response=content,
        finish_reason="length" if finish_reason == "length" else "stop",
        n_tokens=n_tokens if isinstance(n_tokens, int) else -1,
    )


def _fault(response: httpx.Response, what: str) -> EndpointError:
    """Return the error for an answer that is of no use, showing how it begins."""
    start = response.text[:_SHOWN]
    return EndpointError(f"{response.url}: {what} (status {response.status_code}): {start!r}")


def _run_to_end(coroutine: Coroutine[Any, Any, list[_Outcome]]) -> list[_Outcome]:
    """Run a coroutine, in a thread of its own where an event loop is running already."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(asyncio.run, coroutine).result()
