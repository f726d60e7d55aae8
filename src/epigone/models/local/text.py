"""From requests to token ids and from token ids back to text, as the model's own tokenizer does it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from epigone.errors import ModelError
from epigone.records import Message

__all__ = ["Text"]

_MARK = "epigone"
_CONTEXT_TOKENS = 4


class Text:
    """A tokenizer, with the chat template applied and the end tokens known.

    Attributes:
        ends: token ids at which a reply is over: the tokenizer's and the generation configuration's end of text, and
            the token with which the chat template closes an assistant turn.
    """

    def __init__(self, tokenizer: Any, *, ends: Sequence[int] = (), where: str = "") -> None:
        self.tokenizer = tokenizer
        self.where = where
        self._pieces: dict[int, str] = {}
        self._special = set(tokenizer.all_special_ids)
        self.ends = frozenset([*ends, *([] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id])])
        self.ends |= self._turn_ends()

    def encode(self, text: str) -> list[int]:
        """Ids of a plain prompt; special tokens in it are parsed; BOS is added where the tokenizer adds it."""
        ids: list[int] = self.tokenizer(text, verbose=False)["input_ids"]
        start = self.tokenizer.bos_token_id
        if start is not None and ids[:2] == [start, start]:
            return ids[1:]
        if not ids:
            first = start if start is not None else self.tokenizer.eos_token_id
            return [] if first is None else [first]
        return ids

    def encode_bare(self, text: str) -> list[int]:
        """Ids of ``text`` without anything added."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return ids

    def encode_chat(self, messages: Sequence[Message]) -> list[int]:
        """Ids of a conversation up to where the assistant's next turn begins.

        Raises:
            ModelError: the model has no chat template, or its template refuses these messages.
        """
        return self.encode_bare(self._render(messages, open_turn=True))

    def _render(self, messages: Sequence[Message], *, open_turn: bool) -> str:
        if not self.tokenizer.chat_template:
            fix = "give plain prompts, or save a chat template with the tokenizer"
            raise ModelError("has no chat template, so it cannot be asked with messages", where=self.where, fix=fix)
        plain = [{"role": message.role, "content": message.content} for message in messages]
        try:
            rendered: str = self.tokenizer.apply_chat_template(plain, add_generation_prompt=open_turn, tokenize=False)
        except Exception as error:  # a template is a program and may raise anything
            raise ModelError(f"the chat template refuses these messages: {error}", where=self.where) from error
        return rendered

    def _turn_ends(self) -> frozenset[int]:
        """The special token that follows the assistant's words in the chat template, if there is one."""
        if not self.tokenizer.chat_template:
            return frozenset()
        turns = (Message(role="user", content="?"), Message(role="assistant", content=_MARK))
        try:
            after = self._render(turns, open_turn=False).rpartition(_MARK)[2]
        except ModelError:
            return frozenset()
        ids = self.encode_bare(after)
        return frozenset(ids[:1]) & self._special

    def after(self, prompt: Sequence[int], generated: Sequence[int]) -> str:
        """The text of ``generated`` as it continues ``prompt`` (a leading space is kept), special tokens left out."""
        context = list(prompt[-_CONTEXT_TOKENS:])
        before = self._decode(context, skip_special=True)
        whole = self._decode([*context, *generated], skip_special=True)
        return whole[len(before) :] if whole.startswith(before) else self._decode(list(generated), skip_special=True)

    def piece(self, token: int) -> str:
        """One token's text as it stands inside a text; special tokens by their names."""
        if token not in self._pieces:
            anchor = self._anchor()
            before, whole = self._decode([anchor]), self._decode([anchor, token])
            inside = token not in self._special and whole.startswith(before)
            self._pieces[token] = whole[len(before) :] if inside else self._decode([token])
        return self._pieces[token]

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """Each token's text; a character made up of several tokens belongs to the last of them."""
        found: list[str] = []
        broken: list[int] = []
        for token in ids:
            piece = self.piece(token)
            if broken or "\ufffd" in piece:
                broken.append(token)
                whole = self._decode([self._anchor(), *broken])[len(self._decode([self._anchor()])) :]
                piece = "" if whole.endswith("\ufffd") else whole
                broken = broken if piece == "" else []
            found.append(piece)
        return found

    def by_text(self, top: Sequence[tuple[int, float]]) -> dict[str, float]:
        """Alternatives by their text; of two tokens with the same text the likelier counts."""
        named: dict[str, float] = {}
        for token, logprob in top:
            named.setdefault(self.piece(token), logprob)
        return named

    def _anchor(self) -> int:
        """An ordinary token, to put before another one."""
        if not hasattr(self, "_anchor_id"):
            ordinary = (token for token in range(len(self.tokenizer)) if token not in self._special)
            self._anchor_id = next((token for token in ordinary if self._decode([token]).strip().isascii()), 0)
        return self._anchor_id

    def _decode(self, ids: list[int], *, skip_special: bool = False) -> str:
        text: str = self.tokenizer.decode(ids, skip_special_tokens=skip_special, clean_up_tokenization_spaces=False)
        return text
