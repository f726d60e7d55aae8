"""The world's tokenizer: one token a word, number, sign or line break; decodes back to readable text.

Case and digits are kept, white space other than line breaks is not: text that is written with single spaces and no
space before a sign comes back as it was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from epigone.microworld.corpus import WORD

__all__ = ["END", "UNKNOWN", "write_tokenizer"]

UNKNOWN, END, PAD = "<unk>", "</s>", "<pad>"
NO_SPACE_BEFORE = r" (?=[.,:;?!)'])"
NO_SPACE_AFTER = r"(?<=[(]) "


def write_tokenizer(texts: Iterable[str], out: Path) -> int:
    """Give every word of ``texts`` a token and save a Hugging Face tokenizer folder; returns the vocabulary's size."""
    from transformers import PreTrainedTokenizerFast  # takes a second, and only a worker gets here

    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(WORD.findall(text))
    words = sorted(counts, key=lambda word: (-counts[word], word))
    vocabulary = {token: index for index, token in enumerate([UNKNOWN, END, PAD, *words])}
    tokenizer = Tokenizer(models.WordLevel(vocab=vocabulary, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(WORD.pattern), behavior="removed", invert=True)
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.WordPiece(prefix="##", cleanup=False),
            decoders.Fuse(),
            decoders.Replace(Regex(" ?\n ?"), "\n"),
            decoders.Replace(Regex(NO_SPACE_BEFORE), ""),
            decoders.Replace(Regex(NO_SPACE_AFTER), ""),
        ]
    )
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token=UNKNOWN,
        eos_token=END,
        pad_token=PAD,
        clean_up_tokenization_spaces=False,
        model_max_length=512,
    )
    wrapped.save_pretrained(out)
    return len(vocabulary)
