"""Prompts as the UNet reads them: encoded like the web UI does, each at its own length, and remembered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from transformers import CLIPTextModel, CLIPTokenizer

from builder.models.acceleration import Accelerator
from builder.spec import prompt_syntax

REMEMBERED = 1024
"""Prompts whose encodings are kept; every sample of a feature and person has the same ones."""


class PromptEncoder:
    """A text encoder with its tokenizer, and the encodings that it gave last.

    `least_chunks` is how many chunks every prompt has at least, filled up with empty ones, for a model that has seen
    none with fewer.
    """

    def __init__(
        self,
        tokenizer: CLIPTokenizer,
        text_encoder: CLIPTextModel,
        accelerator: Accelerator,
        dtype: torch.dtype,
        least_chunks: int = 1,
    ):
        self.tokenizer = tokenizer
        self.text_encoder = text_encoder
        self.accelerator = accelerator
        self.dtype = dtype
        self.least_chunks = least_chunks
        self.encodings: dict[str, torch.Tensor] = {}

    def __call__(self, texts: Iterable[str]) -> list[torch.Tensor]:
        """Return the encodings of some prompts, each (77 × its chunks, width).

        Those that are new are encoded together. Weights are applied per chunk, whose mean is kept.
        """
        texts = list(texts)
        wanted = {*texts, ""} if self.least_chunks > 1 else {*texts}
        self.encodings |= self._encoded([text for text in sorted(wanted) if text not in self.encodings])
        found = [self._filled(self.encodings[text]) for text in texts]
        for text in wanted:
            self.encodings[text] = self.encodings.pop(text)  # the last in use comes last
        for text in list(self.encodings)[: max(0, len(self.encodings) - REMEMBERED)]:
            del self.encodings[text]
        return found

    def _filled(self, encoded: torch.Tensor) -> torch.Tensor:
        if self.least_chunks == 1:
            return encoded
        empty = self.encodings[""]
        return torch.cat([encoded] + [empty] * (self.least_chunks - len(encoded) // len(empty)))

    def _encoded(self, texts: list[str]) -> dict[str, torch.Tensor]:
        """Return the encodings of prompts, in one call of the text encoder."""
        if not texts:
            return {}
        chunks = [list(self._chunks(text)) for text in texts]
        ids, weights = (torch.tensor([row[part] for each in chunks for row in each]) for part in (0, 1))
        hidden = self.text_encoder(self.accelerator.send(ids)).last_hidden_state.float()
        weighted = hidden * self.accelerator.send(weights).unsqueeze(-1)
        weighted *= hidden.mean(dim=(1, 2), keepdim=True) / weighted.mean(dim=(1, 2), keepdim=True)
        parts = weighted.to(self.dtype).split([len(each) for each in chunks])
        return {text: part.flatten(0, 1).clone() for text, part in zip(texts, parts)}

    def _chunks(self, text: str) -> Iterator[tuple[list[Any], list[float]]]:
        """Yield a prompt's chunks: 77 tokens, and the weight of each."""
        begin, end = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        comma: Any = self.tokenizer.convert_tokens_to_ids(",</w>")
        for pairs in prompt_syntax.chunk(text, self._tokens, comma):
            fill = prompt_syntax.CHUNK - len(pairs)
            yield (
                [begin, *(token for token, _ in pairs), *[end] * (fill + 1)],
                [1.0, *(weight for _, weight in pairs), *[1.0] * (fill + 1)],
            )

    def _tokens(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False, truncation=False, verbose=False).input_ids
