"""The dry run's own tokenizer counts as transformers' does."""

import json

import pytest

from builder.common.errors import UserError
from builder.models import tokenizer
from builder.plan import summary
from builder.plan.plan import Plan
from builder.spec import table
from builder.spec.prompt_syntax import count_tokens
from tests.fixtures import random_weights


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
        tokenize = tokenizer.tokenizer(str(folder.parent), "main")
        for text in [*texts, "It's (Émile:1.2)\n  it’s 2026, don't!"]:
            wanted = used(text, add_special_tokens=False).input_ids
            assert tokenize(text) == wanted
            assert count_tokens(text, tokenize) > 0


@pytest.mark.parametrize("files", [{}, {"vocab.json": "{}"}])
def test_a_model_without_a_whole_tokenizer_has_none_at_hand(tmp_path, files):
    (tmp_path / "tokenizer").mkdir()
    for name, text in files.items():
        (tmp_path / "tokenizer" / name).write_text(text)
    assert tokenizer.tokenizer(str(tmp_path), "main") is None


@pytest.mark.parametrize(
    "files", [{"vocab.json": "", "merges.txt": ""}, {"tokenizer.json": "{"}, {"tokenizer.json": '{"version": "1.0"}'}]
)
def test_a_damaged_tokenizer_is_one_line(tmp_path, files):
    (tmp_path / "tokenizer").mkdir()
    for name, text in files.items():
        (tmp_path / "tokenizer" / name).write_text(text)
    with pytest.raises(UserError, match=r"tokenizer: cannot be read: .*; is the model damaged") as caught:
        tokenizer.tokenizer(str(tmp_path), "main")
    assert "\n" not in str(caught.value)


def test_a_home_folder_of_nobody_is_one_line():
    with pytest.raises(UserError, match="~nobody1/x: there is no such user here"):
        tokenizer.tokenizer("~nobody1/x", "main")


def test_who_tells_minors_is_said(tmp_path):
    """Before anything is made: the attribute check's model, or nobody."""
    spec = table.load()
    said = list(summary.lines(Plan(spec, limit=2), None))
    assert "looks like a minor: rejected by openai/clip-vit-large-patch14, unless it is a classifier without" in said[3]
    bare = spec.changed(checks=spec.checks.without(["attribute"]))
    assert "looks like a minor: nobody can tell, for there is no attribute check" in summary.lines(Plan(bare), None)
