"""What a run would make, as a table: `builder/generate.py --dry-run`. Needs neither torch nor a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from builder.common.progress import counted
from builder.plan.cells import Cell
from builder.plan.plan import Plan
from builder.spec import prompt_syntax
from builder.spec.criteria import Criteria
from builder.spec.field_types import TWINS


def lines(plan: Plan, tokenize: Callable[[str], list[int]] | None) -> Iterator[str]:
    """Per attribute and feature: pictures, phrases, the longest prompt in tokens, and one prompt."""
    spec = plan.spec
    counts: Counter[str] = Counter()
    for cell in plan.cells:
        counts[cell.feature.name] += cell.chosen
    own = plan.chosen - plan.chosen_twins
    twins = f" and {counted(plan.chosen_twins, 'twin')}" if plan.twins else ""
    yield f"{spec.name}: {own:,} of {len(plan):,} pictures{twins} in {len(plan.shards):,} shards of {plan.shard_size}"
    yield f"model {spec.recipe.model}, {spec.recipe.steps} steps, guidance scale {spec.recipe.guidance_scale}"
    yield f"checks: {', '.join(_checks(plan.spec.checks)) or 'that a picture is neither black nor flat'}"
    yield f"looks like a minor: {_minors(plan.spec.checks)}"
    yield "" if tokenize else "(tokens: no tokenizer of this model at hand)"
    yield f"{'attribute / feature':<26}{'pictures':>9}{'phrases':>9}{'tokens':>8}  example"
    for attribute, features in spec.attributes.items():
        total = sum(counts[feature.name] for feature in features)
        if not total:
            continue
        yield f"{attribute:<26}{total:>9,}"
        for feature in features:
            cells = [cell for cell in plan.cells if cell.feature is feature and cell.chosen]
            if cells:
                phrases = len({phrase for cell in cells for phrase in feature.phrases[cell.sex]} - {""})
                tokens = _longest(plan, cells, tokenize) if tokenize else "-"
                example = plan.at(cells[0], 0).prompt
                yield f"  {feature.name:<24}{counts[feature.name]:>9,}{phrases:>9}{tokens:>8}  {example[:110]}"
    if twinned := [cell for cell in plan.cells if cell.plain and cell.chosen] if plan.twins else []:
        yield f"{TWINS:<26}{plan.chosen_twins:>9,}{'':>17}  {plan.twin(twinned[0], 0).prompt[:110]}"
    yield f"{'all':<26}{plan.chosen:>9,}"


def _checks(criteria: Criteria) -> Iterator[str]:
    """Yield the checks that are made, with the models that they use."""
    for name, values in vars(criteria).items():
        if values:
            model = {"face": "detector", "attribute": "model"}.get(name)
            yield f"{name} ({getattr(values, model)})" if model else name


def _minors(criteria: Criteria) -> str:
    """Return who tells whether a picture of an adult looks like a minor."""
    if criteria.attribute is None:
        return "nobody can tell, for there is no attribute check"
    return f"rejected by {criteria.attribute.model}, unless it is a classifier without a label child or teenager"


def _longest(plan: Plan, cells: list[Cell], tokenize: Callable[[str], list[int]]) -> str:
    """Return tokens of the longest positive and negative prompt that the cells can give."""
    positive = negative = 0
    for cell in cells:
        for prompt, negative_prompt in plan.prompts(cell):
            positive = max(positive, prompt_syntax.count_tokens(prompt, tokenize))
            negative = max(negative, prompt_syntax.count_tokens(negative_prompt, tokenize))
    return f"{positive}/{negative}"
