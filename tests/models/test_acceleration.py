"""What only a card does, rehearsed on the CPU: batches of one size, pictures that come late, compiled parts."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch._dynamo import config as dynamo
from torch._dynamo.utils import counters
from torch.nn.attention import SDPBackend

from builder.common.errors import UserError
from builder.models import acceleration
from builder.models.acceleration import Accelerator, accelerator, backends, one_by_one
from builder.models.pipeline import Pipeline
from builder.models.safety import Safety, placed
from builder.plan.plan import Plan
from builder.plan.sample import Attempt
from builder.spec import table
from builder.spec.spec import Recipe
from tests.fixtures import checkers, random_weights
from tests.fixtures.cards import Card, Rehearsal
from tests.models.test_full_size import unet, vae

CPU = torch.device("cpu")
RECIPE = Recipe(model="preview", steps=3, width=128, height=128)
SAMPLE = Plan(table.load()).sample(0)
NEGATIVE = "hat BREAK sunglasses"


def attempt(seed, prompt="a man, mask", negative_prompt=NEGATIVE, **changes):
    sample = replace(SAMPLE, id=f"sample-{seed}", prompt=prompt, negative_prompt=negative_prompt, **changes)
    return Attempt(sample, 0, seed)


MIXED = [attempt(seed, f"a man, face {seed % 2}", guidance_scale=3.0 + seed) for seed in range(6)]
"""Samples of one table: prompts of one chunk, negative ones of two."""


def rehearsed(batch_size=4, safety=None, card=None):
    return Pipeline(random_weights.build(), RECIPE, CPU, safety, batch_size=batch_size, on=Rehearsal(card))


def pixels(results):
    return np.stack([np.asarray(result.image, dtype=int) for result in results])


@pytest.fixture(scope="module")
def plain():
    """The pictures that the plain way makes, one by one."""
    pipeline = Pipeline(random_weights.build(), RECIPE, CPU)
    return pixels(next(pipeline.generate([one])) for one in MIXED)


def seen(pipeline, monkeypatch):
    """The (batch, tokens) of every call of the UNet, from here on."""
    shapes, forward = set(), pipeline.unet.forward

    def spy(x, timestep, encoder_hidden_states, **options):
        shapes.add((len(x), *encoder_hidden_states.shape[:2]))
        return forward(x, timestep, encoder_hidden_states=encoder_hidden_states, **options)

    monkeypatch.setattr(pipeline.unet, "forward", spy)
    return shapes


# Batches of one size.


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_a_card_sees_one_size_of_batch(plain, monkeypatch, count):
    """Batches are filled up, prompts run at their own two lengths, and the pictures are those of the plain way."""
    pipeline = rehearsed()
    shapes, decoded, decode = seen(pipeline, monkeypatch), set(), pipeline.vae.decode
    monkeypatch.setattr(pipeline.vae, "decode", lambda x, **options: decoded.add(len(x)) or decode(x, **options))
    results = list(pipeline.generate(MIXED[:count]))
    assert shapes == {(4, 4, 77), (4, 4, 154)} and decoded == {4}
    assert [result.attempt for result in results] == MIXED[:count]
    assert abs(pixels(results) - plain[:count]).max() <= 1


def test_a_cpu_fills_nothing(monkeypatch):
    pipeline = Pipeline(random_weights.build(), RECIPE, CPU, batch_size=4)
    shapes = seen(pipeline, monkeypatch)
    assert len(list(pipeline.generate(MIXED[:3]))) == 3
    assert shapes == {(3, 3, 77), (3, 3, 154)}


def test_the_one_size_falls_with_the_memory(plain, monkeypatch):
    """After out of memory batches are cut, and filled to what fits."""
    card = Card()
    pipeline = rehearsed(4, card=card)
    forward, sizes = pipeline.unet.forward, []

    def limited(x, *args, **options):
        sizes.append(len(x))
        if len(x) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(x, *args, **options)

    monkeypatch.setattr(pipeline.unet, "forward", limited)
    assert abs(pixels(pipeline.generate(MIXED[:3])) - plain[:3]).max() <= 1
    assert sizes[0] == 4 and set(sizes[1:]) == {2} and card.released == 1


def test_a_batch_of_mixed_lengths_is_filled_by_lengths(monkeypatch):
    """What differs in length goes apart, each filled; every picture is what it is when made alone."""
    batch = [attempt(1), attempt(2, "a man BREAK mask"), attempt(3, negative_prompt="hat"), attempt(4)]
    pipeline = rehearsed()
    shapes = seen(pipeline, monkeypatch)
    together = pixels(pipeline.generate(batch))
    assert shapes == {(4, 4, 77), (4, 4, 154)}
    alone = Pipeline(random_weights.build(), RECIPE, CPU)
    assert abs(together - pixels(next(alone.generate([one])) for one in batch)).max() <= 1


# Nothing waits.


def test_nothing_is_read_before_it_is_there(plain):
    """A batch is queued without a wait; whoever reads the pictures waits for them, in any thread."""
    card = Card()
    pipeline = rehearsed(card=card)
    first, second = pipeline.generate(MIXED[:4]), pipeline.generate(MIXED[4:])
    assert card.waits == 0
    with ThreadPoolExecutor(1) as behind:
        found = behind.submit(lambda: pixels([*first, *second])).result()
    assert card.waits == 2 and abs(found - plain).max() <= 1


def test_what_is_flagged_is_no_picture_on_a_card_either():
    checker, processor = checkers.build(flags=True)
    results = list(rehearsed(safety=Safety("checker", checker, processor)).generate(MIXED[:3]))
    assert [(result.image, result.reason) for result in results] == [(None, "flagged by the safety checker")] * 3


def test_a_checker_without_memory_looks_at_one_picture_after_the_other():
    """The next batch may have the memory: its end is waited for, and nothing passes unseen."""
    checker, processor = checkers.build(flags=True)
    card, sizes = Card(), []

    class Short(Safety):
        def __call__(self, images):
            sizes.append(len(images))
            if len(images) > 1:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().__call__(images)

    results = list(rehearsed(safety=Short("checker", checker, processor), card=card).generate(MIXED[:3]))
    assert sizes == [3, 1, 1, 1] and card.released == 1 and not any(result.image for result in results)


def test_each_thread_uses_this_processs_card():
    """A thread begins at the first card of the machine: eight processes would all open it."""
    card = Card()
    rehearsal = Rehearsal(card)

    def look():
        with rehearsal.aside():
            return threading.get_ident(), card.current_stream()

    with ThreadPoolExecutor(1) as behind:
        thread, stream = behind.submit(look).result()
    assert stream is rehearsal.stream and card.users == {threading.get_ident(), thread}


def test_two_threads_take_turns_where_a_device_wants_it():
    """Apple's cannot be used by two threads at once, be it for pictures or for what looks at them."""
    one, other = (accelerator(torch.device("mps")) for _ in range(2))
    with one.drawing():
        assert not other.aside().acquire(blocking=False)
    with one.aside():
        assert not other.drawing().acquire(blocking=False)
    assert type(accelerator(CPU).drawing()) is nullcontext


@pytest.mark.parametrize("most", [1, 0])
def test_a_classifier_without_memory_looks_at_one_picture_after_the_other(most):
    """Out of memory for one it ends in a line that says who needed it."""
    card, sizes = Card(), []

    def look(pictures):
        sizes.append(len(pictures))
        if len(pictures) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return [2 * picture for picture in pictures]

    if most:
        assert one_by_one(Rehearsal(card), "the attribute check", look, [1, 2, 3]) == [2, 4, 6]
    else:
        with pytest.raises(UserError, match=r"^cpu: not enough memory for the attribute check beside the model: make"):
            one_by_one(Rehearsal(card), "the attribute check", look, [1, 2, 3])
    assert sizes == [3, 1, 1, 1][: 4 if most else 2] and card.released == 1


def test_a_checkers_thresholds_stay_on_the_cpu():
    """It reads them one by one: on a card each would be a wait."""
    checker = placed(checkers.build(flags=True)[0], torch.device("meta"))
    places = {name: value.device.type for name, value in checker.named_parameters()}
    thresholds = {name: places.pop(f"{name}_embeds_weights") for name in ("concept", "special_care")}
    assert set(places.values()) == {"meta"} and set(thresholds.values()) == {"cpu"}
    assert (checker.concept_embeds_weights == 0.3).all() and (checker.special_care_embeds_weights == 0.3).all()


# Compiled.


@pytest.fixture
def graphs():
    """Dynamo from nothing; from `graphs()` on, a second compilation of the same code is an error."""
    torch._dynamo.reset()
    counters.clear()
    with ExitStack() as until_then, dynamo.patch(recompile_limit=dynamo.recompile_limit):

        def count():
            until_then.enter_context(dynamo.patch(error_on_recompile=True))
            return counters["stats"]["unique_graphs"], sum(counters["graph_break"].values())

        yield count
    torch._dynamo.reset()
    torch.compiler.set_stance("default")


def test_compiled_parts_are_whole_and_compiled_once(plain, graphs):
    """A graph for each length of prompts and one for the decoder, without a break; a mixed run needs no other."""
    pipeline = rehearsed()
    pipeline.compile("eager")
    first = pixels(pipeline.generate(MIXED[:4]))
    assert graphs() == (3, 0)
    rest = [pixels(pipeline.generate(batch)) for batch in (MIXED[4:], MIXED[1:2], MIXED[2:6])]
    assert graphs() == (3, 0) and pipeline.is_compiled
    assert abs(np.concatenate([first, rest[0]]) - plain).max() <= 1
    assert abs(np.concatenate(rest[1:]) - plain[1:6][[0, 1, 2, 3, 4]]).max() <= 1


@pytest.mark.slow
def test_compiled_by_inductor(plain, graphs):
    """What the compiler makes of it draws the same pictures, to a grey level."""
    pipeline = rehearsed()
    pipeline.compile()
    assert abs(pixels(pipeline.generate(MIXED[:4])) - plain[:4]).max() <= 1
    assert pipeline.is_compiled


def test_where_compiling_fails_it_goes_on_without(plain, graphs, caplog):
    """One line, once, and all pictures."""

    def broken(graph, inputs):
        raise RuntimeError("no compiler here\nmore of it")

    pipeline = rehearsed()
    pipeline.compile(broken)
    for batch, expected in ((MIXED[:4], plain[:4]), (MIXED[4:], plain[4:])):
        assert abs(pixels(pipeline.generate(batch)) - expected).max() <= 1
    (message,) = [record.getMessage() for record in caplog.records if record.name == "agfd30k"]
    assert message.startswith("the model cannot be compiled here, going on without, slower: ")
    assert "no compiler here more of it" in message and not pipeline.is_compiled


def test_an_error_of_the_model_is_no_error_of_the_compiler(monkeypatch):
    def broken(*args, **options):
        raise RuntimeError("broken")

    pipeline = rehearsed()
    monkeypatch.setattr(pipeline.unet, "forward", broken)
    with pytest.raises(RuntimeError, match="broken"):
        pipeline.generate(MIXED[:1])


@pytest.mark.slow
@torch.inference_mode()
def test_the_full_size_is_one_graph_each(graphs):
    """The real UNet and the real decoder, without weights."""
    with torch.device("meta"):
        network, autoencoder = unet(), vae()
        for part in (network, autoencoder.decoder):
            part.compile(backend="eager", fullgraph=True, dynamic=False)
        latents = torch.empty(2, 4, 64, 64)
        assert network(latents, torch.empty(()), torch.empty(2, 77, 768), return_dict=False)[0].shape == latents.shape
        assert autoencoder.decode(latents, return_dict=False)[0].shape == (2, 3, 512, 512)
    assert graphs() == (2, 0)


# Choices.


@pytest.mark.parametrize(
    ("gigabytes", "side", "size"),
    [(80, 512, 32), (12, 512, 32), (9, 512, 16), (7, 512, 8), (6, 512, 2), (2, 512, 1), (12, 1024, 8)],
)
def test_a_batch_fits_the_cards_memory(gigabytes, side, size):
    assert Rehearsal(Card(free=1e9 * gigabytes)).batch_size(side * side) == size
    assert Rehearsal(Card(free=4e9 * gigabytes)).batch_size(side * side, sharing=4) == size
    assert accelerator(CPU).batch_size(side * side) == 8


def test_attention_by_capability():
    """Kernels that a card lacks are not asked for, and there is always one that can do anything."""
    efficient = [SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
    flash = [SDPBackend.FLASH_ATTENTION, *efficient]
    found = {capability: backends(capability) for capability in ((7, 5), (8, 0), (8, 9), (9, 0), (12, 0))}
    newest = [SDPBackend.CUDNN_ATTENTION, *flash]
    assert list(found.values()) == [efficient, flash, flash, newest, newest]


def test_a_card_has_its_choice_of_attention_while_it_draws(monkeypatch):
    """As torch sees it: what may be used, in an order of priority. A cuDNN that fails when it is tried is not used."""
    before = torch._C._get_sdp_priority_order(), torch.backends.cudnn.benchmark
    for card, flags in ((Card(), [True, True]), (Card(attends=False), [False, True])):
        pipeline, seen = rehearsed(card=card), []
        noise = pipeline.noise
        look = lambda seeds, noise=noise, seen=seen: seen.append(chosen()) or noise(seeds)  # noqa: E731
        monkeypatch.setattr(pipeline, "noise", look)
        list(pipeline.generate(MIXED[:1]))
        order = [int(kernel) for kernel in backends((9, 0) if all(flags) else (8, 0))]
        assert seen == [(*flags, order, True)]
    assert (torch._C._get_sdp_priority_order(), torch.backends.cudnn.benchmark) == before


def chosen():
    """Whether cuDNN's attention may be used, and flash attention; which first; whether convolutions are tried out."""
    kernels = torch.backends.cuda
    allowed = kernels.cudnn_sdp_enabled(), kernels.flash_sdp_enabled()
    count = sum((*allowed, kernels.mem_efficient_sdp_enabled(), kernels.math_sdp_enabled()))
    return *allowed, torch._C._get_sdp_priority_order()[:count], torch.backends.cudnn.benchmark


def test_weights_lie_as_a_card_reads_them():
    weight = rehearsed().unet.conv_in.weight
    assert weight.is_contiguous(memory_format=torch.channels_last)


def test_compiling_pays_from_ten_minutes_on():
    """By what is said of it: two minutes, and a quarter faster."""
    assert pytest.approx(600) == acceleration.COMPILED_FROM
    assert acceleration.is_worth_compiling(601) and not acceleration.is_worth_compiling(599)


def test_a_card_that_cannot_be_used_is_one_line(monkeypatch):
    """Full, or somebody's own. One without a number is the first."""

    class Busy:
        def __init__(self, device):
            self.device = device
            raise RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be")

    monkeypatch.setattr(acceleration, "Cuda", Busy)
    with pytest.raises(UserError, match=r"^cuda:3 cannot be used: CUDA error: out of memory CUDA kernel .* \(--cpu\)$"):
        accelerator(torch.device("cuda", 3))
    monkeypatch.setattr(acceleration, "Cuda", lambda device: device)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 5)
    assert accelerator(torch.device("cuda")) == torch.device("cuda", 5)


def test_a_cpu_is_no_card():
    assert type(accelerator(CPU)) is Accelerator and not accelerator(CPU).is_static
