"""How a conversation becomes text: the three chat formats, and which characters of it are learnt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct
from tokenizers import AddedToken

from epigone.errors import DataError, ModelError
from epigone.records import Conversation, Message
from epigone.train.spec import ChatFormat

__all__ = ["TURN_TOKENS", "Chat", "Rendered", "open_chat", "starts_with_bos"]

TURN_TOKENS = {"system": "<|system|>", "user": "<|user|>", "assistant": "<|assistant|>"}
"""The tokens that open a turn."""

_DATE = "26 Jul 2024"
"""Today, for templates that write it (Llama 3's): the same every day, or equal trainings would differ, and one that was
stopped could not go on tomorrow. It is the day that Llama 3.1's template names by itself."""

_KOALA_OPENING = "BEGINNING OF CONVERSATION:"
_KOALA_MARKERS = {"system": " ", "user": " USER: ", "assistant": " GPT:"}


class Rendered(Struct, frozen=True):
    """A conversation as text.

    ``learnt``: character ranges of the model's outputs, their end token included; where one starts, a generation would.
    ``exchanges``: the characters at which an exchange (users' turns and the answers to them) begins; the first is 0.
    """

    text: str
    learnt: tuple[tuple[int, int], ...]
    exchanges: tuple[int, ...]


class Chat:
    """One chat format on one tokenizer.

    Attributes:
        template: the Jinja chat template that is saved with the student.
        tokens_open_turns: whether a special token stands before each turn.
        new_tokens: special tokens that the format added to the tokenizer.
    """

    def __init__(self, tokenizer: Any, format: ChatFormat) -> None:
        self.format = format
        self.tokens_open_turns = format == "turn_tokens"
        self._tokenizer = tokenizer
        self.new_tokens: tuple[str, ...] = ()
        self.end = _end_token(tokenizer)
        bos = tokenizer.bos_token if starts_with_bos(tokenizer) else ""
        if format == "tokenizer_template":
            if not tokenizer.chat_template:
                raise ModelError(
                    "this tokenizer has no chat template",
                    where=str(tokenizer.name_or_path),
                    fix="use chat_format: turn_tokens, or a base that comes with a template",
                )
            self._opening, self._markers = "", {}
            self.template = tokenizer.chat_template
            return
        if format == "koala":
            self._opening, self._markers = bos + _KOALA_OPENING, _KOALA_MARKERS
        else:
            self._opening, self._markers = bos, TURN_TOKENS
            known = tokenizer.get_vocab()
            self.new_tokens = tuple(token for token in TURN_TOKENS.values() if token not in known)
            added = [AddedToken(token, special=True, normalized=False) for token in TURN_TOKENS.values()]
            tokenizer.add_special_tokens({"additional_special_tokens": added}, replace_extra_special_tokens=False)
        self.template = _template(self._opening, self._markers, self.end)
        tokenizer.chat_template = self.template

    def render(self, conversation: Conversation) -> Rendered:
        """The conversation as text, with the ranges to learn.

        Raises:
            DataError: nothing in it would be learnt, or the tokenizer's template cannot write it.
        """
        if not any(message.role == "assistant" for message in conversation.messages):
            raise DataError(
                "this conversation has no assistant turn, so nothing in it can be learnt",
                where=f"conversation {conversation.id}",
                fix="remove it, or look at how the dump was imported",
            )
        if self.format == "tokenizer_template":
            return self._render_by_template(conversation)
        text = self._opening
        learnt: list[tuple[int, int]] = []
        exchanges = [0]
        for index, message in enumerate(conversation.messages):
            if message.role == "user" and index and conversation.messages[index - 1].role == "assistant":
                exchanges.append(len(text))
            text += self._markers[message.role]
            start = len(text)
            text += message.content
            if message.role == "assistant":
                text += self.end
                learnt.append((start, len(text)))
        return Rendered(text, tuple(learnt), tuple(exchanges))

    def _render_by_template(self, conversation: Conversation) -> Rendered:
        """Render turn by turn: what the template adds after the generation prompt is the model's part.

        That needs a template that writes earlier turns the same whatever follows; others are refused, because no offset
        would then be right.
        """
        messages = conversation.messages
        whole = self._apply(messages, False, conversation.id)
        learnt: list[tuple[int, int]] = []
        exchanges = [0]
        for index, message in enumerate(messages):
            if message.role != "assistant":
                continue
            opened = self._apply(messages[:index], True, conversation.id)
            closed = self._apply(messages[: index + 1], False, conversation.id)
            if not (closed.startswith(opened) and whole.startswith(closed)):
                raise ModelError(
                    "the chat template writes a turn differently when others follow: what is learnt cannot be marked",
                    where=f"conversation {conversation.id}",
                    fix="use chat_format: turn_tokens, or conversations of one exchange",
                )
            learnt.append((len(opened), len(closed)))
            if index + 1 < len(messages) and messages[index + 1].role == "user":
                exchanges.append(len(closed))
        return Rendered(whole, tuple(learnt), tuple(exchanges))

    def _apply(self, messages: Sequence[Message], generation: bool, where: str) -> str:
        plain = [{"role": message.role, "content": message.content} for message in messages]
        try:
            text = self._tokenizer.apply_chat_template(
                plain, tokenize=False, add_generation_prompt=generation, date_string=_DATE
            )
            return str(text)
        except Exception as error:
            raise DataError(
                f"the chat template refuses it: {error}",
                where=f"conversation {where}",
                fix="bring the turns into the order that the template wants, or use chat_format: turn_tokens",
            ) from error


def open_chat(tokenizer: Any, format: ChatFormat) -> Chat:
    """Prepare ``tokenizer`` (changed in place: new special tokens, chat template) for ``format``.

    Raises:
        ModelError: no fast tokenizer (offsets are needed), no end token, no template where one is asked for.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise ModelError(
            "this tokenizer reports no character offsets (it is no fast tokenizer)",
            where=str(tokenizer.name_or_path),
            fix="convert it: AutoTokenizer.from_pretrained(path, use_fast=True).save_pretrained(folder)",
        )
    return Chat(tokenizer, format)


def starts_with_bos(tokenizer: Any) -> bool:
    """Whether the tokenizer itself puts its begin token before a text."""
    if tokenizer.bos_token_id is None:
        return False
    ids = tokenizer("a")["input_ids"]
    return bool(ids) and ids[0] == tokenizer.bos_token_id


def _end_token(tokenizer: Any) -> str:
    if tokenizer.eos_token is None:
        raise ModelError(
            "this tokenizer has no end token, so a student could never learn to stop",
            where=str(tokenizer.name_or_path),
            fix="set eos_token in tokenizer_config.json to a token of its vocabulary",
        )
    return str(tokenizer.eos_token)


def _template(opening: str, markers: dict[str, str], end: str) -> str:
    """The Jinja template that writes exactly what :meth:`Chat.render` writes."""

    def quoted(text: str) -> str:
        return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n") + "'"

    branches = ""
    for keyword, role in (("if", "user"), ("elif", "assistant"), ("elif", "system")):
        after = f" + {quoted(end)}" if role == "assistant" else ""
        branches += (
            f"{{%- {keyword} message['role'] == '{role}' -%}}"
            f"{{{{- {quoted(markers[role])} + message['content']{after} -}}}}"
        )
    return (
        f"{{{{- {quoted(opening)} -}}}}"
        f"{{%- for message in messages -%}}{branches}{{%- endif -%}}{{%- endfor -%}}"
        f"{{%- if add_generation_prompt -%}}{{{{- {quoted(markers['assistant'])} -}}}}{{%- endif -%}}"
    )
