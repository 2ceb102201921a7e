"""What only a card does, rehearsed on the CPU: batches of one size, pictures that come late, compiled parts."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch._dynamo import config as dynamo
from torch._dynamo.utils import counters
from torch.nn.attention import SDPBackend

from builder.models import acceleration
from builder.models.acceleration import Accelerator, accelerator, backends
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
    assert shapes == {(4, 4, 77), (4, 4, 154), (8, 8, 154), (8, 8, 77)}
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


def test_a_stream_aside_is_this_threads_own():
    card = Card()
    rehearsal = Rehearsal(card)
    with rehearsal.aside():
        assert card.current_stream() is rehearsal.stream
        other = []
        thread = threading.Thread(target=lambda: other.append(card.current_stream()))
        thread.start()
        thread.join()
        assert other == [None]
    assert card.current_stream() is None


def test_a_checkers_thresholds_stay_on_the_cpu():
    """It reads them one by one: on a card each would be a wait."""
    checker = placed(checkers.build(flags=True)[0], torch.device("meta"))
    places = {name: value.device.type for name, value in checker.named_parameters()}
    thresholds = {name: places.pop(f"{name}_embeds_weights") for name in ("concept", "special_care")}
    assert set(places.values()) == {"meta"} and set(thresholds.values()) == {"cpu"}
    assert (checker.concept_embeds_weights == 0.3).all() and (checker.special_care_embeds_weights == 0.3).all()


# Compiled.


@pytest.fixture
def graphs(monkeypatch):
    """Dynamo from nothing; from `graphs()` on, a second compilation of the same code is an error."""
    torch._dynamo.reset()
    counters.clear()

    def count():
        monkeypatch.setattr(dynamo, "error_on_recompile", True)
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


@torch.inference_mode()
def test_the_full_size_is_one_graph_each(graphs):
    """The real UNet at both lengths of prompts, and the real decoder, without weights."""
    with torch.device("meta"):
        network, autoencoder = unet(), vae()
        for part in (network, autoencoder.decoder):
            part.compile(backend="eager", fullgraph=True, dynamic=False)
        latents = torch.empty(2, 4, 64, 64)
        for tokens in (77, 154):
            (said,) = network(latents, torch.empty(()), torch.empty(2, tokens, 768), return_dict=False)
            assert said.shape == latents.shape
        assert autoencoder.decode(latents, return_dict=False)[0].shape == (2, 3, 512, 512)
    assert graphs() == (3, 0)


# Choices.


@pytest.mark.parametrize(
    ("gigabytes", "side", "size"),
    [(80, 512, 32), (12, 512, 32), (9, 512, 16), (7, 512, 8), (6, 512, 2), (2, 512, 1), (12, 1024, 8)],
)
def test_a_batch_fits_the_cards_memory(gigabytes, side, size):
    assert Rehearsal(Card(free=1e9 * gigabytes)).batch_size(side * side) == size
    assert accelerator(CPU).batch_size(side * side) == 8


def test_attention_by_capability():
    """Kernels that a card lacks are not asked for, and there is always one that can do anything."""
    efficient = [SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
    flash = [SDPBackend.FLASH_ATTENTION, *efficient]
    found = {capability: backends(capability) for capability in ((7, 5), (8, 0), (8, 9), (9, 0), (12, 0))}
    newest = [SDPBackend.CUDNN_ATTENTION, *flash]
    assert list(found.values()) == [efficient, flash, flash, newest, newest]


def test_a_card_has_its_choice_of_attention_while_it_draws(monkeypatch):
    """As torch sees it: `sdpa_kernel` with an order of priority."""
    pipeline, orders = rehearsed(card=Card(capability=(8, 0))), []
    noise = pipeline.noise
    monkeypatch.setattr(pipeline, "noise", lambda seeds: orders.append(enabled()) or noise(seeds))
    list(pipeline.generate(MIXED[:1]))
    assert orders == [(False, True)] and enabled() != (False, True)


def enabled():
    """Whether cuDNN's attention may be used, and flash attention."""
    return torch.backends.cuda.cudnn_sdp_enabled(), torch.backends.cuda.flash_sdp_enabled()


def test_weights_lie_as_a_card_reads_them():
    weight = rehearsed().unet.conv_in.weight
    assert weight.is_contiguous(memory_format=torch.channels_last)


def test_compiling_pays_from_ten_minutes_on():
    """By what is said of it: two minutes, and a quarter faster."""
    assert pytest.approx(600) == acceleration.COMPILED_FROM
    assert acceleration.is_worth_compiling(601) and not acceleration.is_worth_compiling(599)


def test_a_card_is_this_processs_own():
    """Whatever names no card, such as pinned memory, means this one: eight processes would all use the first."""
    card = Card()
    assert Rehearsal(card).device is card.device is not None


def test_a_cpu_is_no_card():
    assert type(accelerator(CPU)) is Accelerator and not accelerator(CPU).is_static
