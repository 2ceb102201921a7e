"""The dry run's own tokenizer counts as transformers' does."""

import json

import random_weights

from builder import dry_run, table
from builder.plan import Plan
from builder.prompts import count_tokens


def test_tokens_are_counted_as_transformers_does(tmp_path):
    """From CLIP's two files, and from one tokenizer.json, every prompt of the table has the tokens it has in use."""
    used = random_weights.build().tokenizer
    whole, parts = tmp_path / "whole" / "tokenizer", tmp_path / "parts" / "tokenizer"
    parts.mkdir(parents=True)
    used.save_pretrained(whole)
    model = json.loads((whole / "tokenizer.json").read_text())["model"]
    (parts / "vocab.json").write_text(json.dumps(model["vocab"]))
    (parts / "merges.txt").write_text(
        "#version: 0.2\n" + "\n".join(" ".join(merge) for merge in model["merges"]) + "\n"
    )
    plan = Plan(table.load(), scale=0.01)
    texts = {text for cell in plan.cells[::7] for pair in plan.prompts(cell) for text in pair}
    for folder in (whole, parts):
        tokenize = dry_run.tokenizer(str(folder.parent), "main")
        for text in [*texts, "It's (Émile:1.2)\n  it’s 2026, don't!"]:
            wanted = used(text, add_special_tokens=False).input_ids
            assert tokenize(text) == wanted
            assert count_tokens(text, tokenize) > 0
