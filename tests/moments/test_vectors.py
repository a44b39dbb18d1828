"""Features as vectors: flattened or averaged over an image's own tokens, and moved by exactly what was asked."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unsee.errors import InputError
from unsee.models.features import Features, fitted
from unsee.moments.vectors import LONGEST, RUNS, Layout, layout, own_tokens, spreads

theorem = settings(deadline=None, derandomize=True, max_examples=50)
seeds, sizes = st.integers(0, 10**6), st.integers(1, 5)


def features(seed: int, images: int, *, vary: bool, crossings: int = 2) -> Features:
    """Random features with zeros beyond an image's own tokens, whose number varies where asked."""
    generator = torch.Generator().manual_seed(seed)
    values, counts = {}, {}
    for number in range(crossings):
        tokens, width = 3 + number, 4 + 2 * number
        count = torch.full((images,), tokens)
        if vary:
            count = torch.randint(1, tokens + 1, (images,), generator=generator)
        own = (torch.arange(tokens) < count[:, None])[..., None]
        values[f"c{number}"] = (10.0**number) * torch.randn(images, tokens, width, generator=generator) * own
        counts[f"c{number}"] = count
    return Features(values, counts)


def padded(found: Features, more: int) -> Features:
    return Features({n: fitted(v, v.shape[1] + more) for n, v in found.values.items()}, found.counts)


@theorem
@given(seeds, sizes)
def test_vectors_of_one_crossing_are_its_flattened_features(seed: int, images: int) -> None:
    found = features(seed, images, vary=False, crossings=1)
    how = layout(found, spreads(found))
    assert how.shapes == {"c0": (3, 4)}
    assert torch.equal(how.vectors(found), found.values["c0"].flatten(1))


@theorem
@given(seeds, st.integers(2, 5))
def test_every_crossing_varies_alike_in_a_vector(seed: int, images: int) -> None:
    found = features(seed, images, vary=False)
    vectors = layout(found, spreads(found)).vectors(found)
    assert vectors.shape == (images, 3 * 4 + 4 * 6)
    one, other = (part.var(0, correction=0).mean() for part in (vectors[:, :12], vectors[:, 12:]))
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@theorem
@given(seeds, sizes, st.integers(0, 4), st.integers(1, 5))
def test_pooled_vectors_are_means_over_runs_of_own_tokens(seed: int, images: int, more: int, runs: int) -> None:
    found = features(seed, images, vary=True)
    how = layout(found, dict.fromkeys(found.values, 1.0), runs)
    fewest = {n: min(runs, int(found.counts[n].min())) for n in found.values}
    assert how.shapes == {"c0": (fewest["c0"], 4), "c1": (fewest["c1"], 6)}
    vectors = how.vectors(found)
    torch.testing.assert_close(how.vectors(padded(found, more)), vectors)
    for image in range(images):
        own = []
        for name in found.values:
            tokens = found.values[name][image, : int(found.counts[name][image])]
            pieces = [tokens[[t * fewest[name] // len(tokens) == r for t in range(len(tokens))]] for r in range(5)]
            own += [piece.mean(0) for piece in pieces if len(piece)]
            assert max(map(len, pieces)) - min(len(piece) for piece in pieces if len(piece)) <= 1
        torch.testing.assert_close(vectors[image], torch.cat(own), rtol=1e-5, atol=1e-5)


def test_an_empty_run_has_the_mean_of_the_image() -> None:
    found = Features({"p": torch.tensor([[[1.0], [3.0], [0.0]]])}, {"p": torch.tensor([2])})
    assert Layout({"p": (3, 1)}, {"p": 1.0}, pooled=True).vectors(found).tolist() == [[1.0, 3.0, 2.0]]


@theorem
@given(seeds, st.integers(2, 5), st.integers(0, 4))
def test_spreads_do_not_depend_on_padding(seed: int, images: int, more: int) -> None:
    for vary in (False, True):
        found = features(seed, images, vary=vary)
        assert spreads(padded(found, more)) == pytest.approx(spreads(found), rel=1e-5)


@theorem
@given(seeds, sizes, st.integers(0, 3), st.integers(0, 3))
def test_a_shift_moves_vectors_by_itself_and_leaves_padding_zero(seed: int, images: int, runs: int, more: int) -> None:
    found = padded(features(seed, images, vary=runs > 0), more)
    how = replace(layout(found, dict.fromkeys(found.values, 1.0), runs), scales={"c0": 1.0, "c1": 3.0})
    before = how.vectors(found)
    shift = torch.randn(before.shape, generator=torch.Generator().manual_seed(seed + 1))
    moved = how.shifted(found, shift)
    for name, value in moved.values.items():
        assert not (value * (1 - own_tokens(found, name))).any()
        assert torch.equal(moved.counts[name], found.counts[name])
    if runs or not more:
        torch.testing.assert_close(how.vectors(moved), before + shift, rtol=1e-4, atol=1e-4)
    if runs and how.shapes["c0"][0] == 1:  # every token of an image moves alike
        step = (moved.values["c0"] - found.values["c0"])[:, 0]
        torch.testing.assert_close(step, shift[:, :4], rtol=1e-4, atol=1e-5)


@theorem
@given(seeds, sizes, st.integers(0, 3), st.integers(1, 6))
def test_along_a_basis_a_shift_moves_vectors_by_itself_and_features_within_its_rows_alone(
    seed: int, images: int, runs: int, rank: int
) -> None:
    found = features(seed, images, vary=runs > 0)
    whole = replace(layout(found, dict.fromkeys(found.values, 1.0), runs), scales={"c0": 1.0, "c1": 3.0})
    generator = torch.Generator().manual_seed(seed + 1)
    basis = torch.linalg.qr(torch.randn(whole.width, min(rank, whole.width), generator=generator)).Q.T
    how = replace(whole, basis=basis)
    before, shift = how.vectors(found), torch.randn(images, len(basis), generator=generator)
    assert before.shape == shift.shape
    assert how.width == whole.width
    torch.testing.assert_close(before, whole.vectors(found) @ basis.T)
    moved = how.shifted(found, shift)
    torch.testing.assert_close(how.vectors(moved), before + shift, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(whole.vectors(moved), whole.vectors(found) + shift @ basis, rtol=1e-4, atol=1e-4)


def test_crossings_that_are_not_asked_for_stay() -> None:
    found = features(0, 2, vary=False)
    how = layout(found.only(["c1"]), spreads(found.only(["c1"])))
    moved = how.shifted(found, torch.ones(2, 24))
    assert torch.equal(moved.values["c0"], found.values["c0"])
    torch.testing.assert_close(moved.values["c1"], found.values["c1"] + 1)


def test_long_features_are_pooled() -> None:
    for tokens, pooled in ((LONGEST // 8, False), (LONGEST // 8 + 1, True)):
        found = Features({"p": torch.zeros(1, tokens, 8)}, {"p": torch.tensor([tokens])})
        assert layout(found, {"p": 1.0}).shapes["p"][0] == (RUNS if pooled else tokens)
        assert layout(found, {"p": 1.0}).pooled == pooled


def test_spread_is_the_mean_squared_deviation() -> None:
    found = Features({"p": torch.tensor([[[1.0, 5.0]], [[3.0, 5.0]]])}, {"p": torch.tensor([1, 1])})
    assert spreads(found) == {"p": 0.5}


@pytest.mark.parametrize(
    ("tokens", "width", "pooled", "refused"),
    [(3, 4, False, False), (2, 4, False, True), (3, 5, False, True), (2, 4, True, False), (3, 5, True, True)],
)
def test_features_that_do_not_fit_the_layout_are_refused(tokens: int, width: int, pooled: bool, refused: bool) -> None:
    how = Layout({"c0": (1 if pooled else 3, 4)}, {"c0": 1.0}, pooled)
    found = Features({"c0": torch.ones(2, tokens, width)}, {"c0": torch.full((2,), tokens)})
    if not refused:
        assert how.vectors(found).shape[0] == 2
        return
    with pytest.raises(InputError, match=rf"of width 4 at c0, and here are \({tokens}, {width}\)"):
        how.vectors(found)


def test_another_crossing_is_refused() -> None:
    found = Features({"other": torch.ones(2, 3, 4)}, {"other": torch.full((2,), 3)})
    with pytest.raises(InputError, match="at c0, and here are None"):
        Layout({"c0": (3, 4)}, {"c0": 1.0}, pooled=False).vectors(found)
