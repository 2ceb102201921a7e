"""What becomes of a batch once the model has done its part: it is checked, written and committed."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from builder.checks.suite import Checks, Outcome
from builder.generation.batches import Try
from builder.plan.sample import Result
from builder.raw.rejected_pictures import RejectedPictures
from builder.raw.rows import rejection

THREADS = min(8, os.cpu_count() or 1)


def settle(checks: Checks, tries: list[Try], results: list[Result], rejects: RejectedPictures) -> None:
    """Check what was made, write the pictures that are kept, and commit every try's line, shard by shard; then a few of
    the rejected ones go to `rejects`.
    """
    with ThreadPoolExecutor(THREADS) as pool:
        outcomes = _outcomes(checks, pool, results)
        lines = list(pool.map(_line, tries, results, outcomes))
    for opened in {id(each.opened): each.opened for each in tries}.values():
        own = [(line, outcome) for each, line, outcome in zip(tries, lines, outcomes) if each.opened is opened]
        kept = [line for line, outcome in own if not outcome.reason]
        opened.writer.commit(kept, [line for line, outcome in own if outcome.reason])

    for each, result, outcome in zip(tries, results, outcomes):
        if outcome.reason and rejects.wants(outcome.reason):
            _keep_rejected(checks, each, result, outcome.reason, rejects)


def _keep_rejected(checks: Checks, each: Try, result: Result, reason: str, rejects: RejectedPictures) -> None:
    """Keep a rejected picture for a look: never one that was flagged, of which there is none here, and never one that
    any check bars, those included that it was not shown to since an earlier one had rejected it.
    """
    attempt, image = each.attempt, result.image
    if image is None or result.reason:
        return
    if any(check.judge([attempt.sample], [image])[0].barred for check in (*checks.single, *checks.batched)):
        return
    writer = each.opened.writer
    name = writer.rules.rejected_name(attempt.sample.id, attempt.number)
    rejects.keep(reason, name, lambda: writer.encoded(attempt, image))


def _outcomes(checks: Checks, pool: ThreadPoolExecutor, results: list[Result]) -> list[Outcome]:
    """Return what the checks say of each result; where there is no picture the reason is known already."""
    pictures = [(result.attempt.sample, result.image) for result in results if result.image]
    samples, images = [sample for sample, _ in pictures], [image for _, image in pictures]
    outcomes = list(pool.map(checks.look, samples, images))
    checks.read(samples, images, outcomes)
    of_pictures = iter(outcomes)
    return [next(of_pictures) if result.image else Outcome(result.reason or "") for result in results]


def _line(each: Try, result: Result, outcome: Outcome) -> dict[str, Any]:
    """Return the line to commit: a row, its picture being in its place, or a rejected try."""
    if outcome.reason:
        return rejection(each.attempt, outcome.reason, outcome.detail, outcome.checks)
    if result.image is None:
        raise ValueError(f"{each.attempt.sample.id}: neither a picture nor a reason why there is none")
    return each.opened.writer.write_picture(each.attempt, result.image, outcome.verified, outcome.checks)
