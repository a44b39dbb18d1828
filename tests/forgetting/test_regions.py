"""What every region promises, on Gaussian clouds."""

from dataclasses import replace

import pytest
import torch

from unsee.errors import InputError
from unsee.forgetting.regions import REGIONS, RegionSettings, TargetFeatures, appearance_directions, belonging, region
from unsee.linalg.discriminant import fit_discriminant
from unsee.moments.modes import Modes, RetainedFeatures, find_modes
from unsee.moments.vectors import Layout

WIDTH, CONCEPTS = 12, 9


@pytest.fixture
def cloud() -> tuple[TargetFeatures, RetainedFeatures]:
    generator = torch.Generator().manual_seed(0)
    centers = torch.randn(CONCEPTS + 1, WIDTH, generator=generator) * 6
    concept = torch.arange(CONCEPTS).repeat_interleave(20)
    kept = centers[concept] + torch.randn(len(concept), WIDTH, generator=generator)
    own = centers[CONCEPTS] + torch.randn(10, WIDTH, generator=generator)
    _, modes = find_modes(kept, concept, 1, 0)
    layout, spread = Layout({"p": (2, WIDTH // 2)}, {"p": 1.0}, pooled=False), {"p": kept.var().item()}
    within = torch.linalg.svd(kept - centers[concept], full_matrices=False).Vh[:3]
    known = RetainedFeatures(layout, spread, kept.mean(0), modes, within, fit_discriminant(kept, concept))
    return TargetFeatures(own, torch.zeros(10, dtype=torch.int64)), known


@pytest.mark.parametrize("name", REGIONS)
def test_a_shift_has_the_vectors_shape_and_grows_with_reach(name, cloud):
    one, two = (region(name)(*cloud, RegionSettings(1, 3, reach, 0)) for reach in (1.0, 2.0))
    assert one.shape == cloud[0].vectors.shape
    assert torch.allclose(2 * one, two)


@pytest.mark.parametrize("name", ["discriminant", "concept", "nearest", "neighbours", "mean"])
def test_what_varies_within_the_concept_stays(name, cloud):
    shift = region(name)(*cloud, RegionSettings(1, 8, 1.0, 0))
    assert (shift - shift[0]).abs().max() < 1e-4


@pytest.mark.parametrize("name", ["discriminant", "concept", "nearest", "random"])
def test_the_concept_is_named_before_and_not_in_its_region(name, cloud):
    target, known = cloud
    shift = region(name)(target, known, RegionSettings(1, 8, 1.0, 0))
    assert belonging(target.vectors, target.concept, target, known).min() > 0.9
    assert belonging(target.vectors + shift, target.concept, target, known).max() < 0.1


def test_the_nearest_region_is_the_nearest_retained_mean(cloud):
    target, known = cloud
    moved = (target.vectors + region("nearest")(target, known, RegionSettings(1, 8, 1.0, 0))).mean(0)
    gaps = (known.modes.centers - target.vectors.mean(0)).norm(dim=1)
    assert torch.allclose(moved, known.modes.centers[gaps.argmin()], atol=1e-4)


def test_the_discriminant_region_moves_only_the_asked_directions(cloud):
    target, known = cloud
    shift = region("discriminant")(target, known, RegionSettings(1, 3, 1.0, 0))
    basis = known.discriminant
    change = basis.coordinates(target.vectors + shift) - basis.coordinates(target.vectors)
    assert change[:, 3:].abs().max() < 1e-2
    assert change[:, :3].abs().max() > 1


def test_looks_are_what_modes_of_a_concept_differ_in_and_no_shift_goes_along_them(cloud):
    target, known = cloud
    apart = torch.eye(WIDTH)[:2]
    centers = known.modes.centers.repeat_interleave(3, 0) + torch.cat([apart, -apart.sum(0, keepdim=True)]).repeat(
        CONCEPTS, 1
    )
    modes = Modes(centers, torch.arange(CONCEPTS).repeat_interleave(3))
    found = appearance_directions(modes)
    assert torch.allclose(found @ found.T, torch.eye(len(found)), atol=1e-5)
    assert torch.allclose(apart @ found[:2].T @ found[:2], apart, atol=1e-4)
    one = replace(known, modes=modes)
    shift = region("discriminant")(target, one, RegionSettings(1, 8, 1.0, 0))
    assert (shift @ found.T).abs().max() < 1e-3 * shift.abs().max()
    assert len(appearance_directions(known.modes)) == 0


@pytest.mark.parametrize("aside", [0, 1, 3])
def test_no_shift_goes_along_what_varies_most_within_concepts(aside, cloud):
    target, known = cloud
    shift = region("discriminant")(target, known, RegionSettings(1, 8, 1.0, 0, aside=aside))
    along = (shift @ known.within.T).abs().amax(0) > 1e-4 * shift.abs().max()
    assert along.tolist() == [number >= aside for number in range(3)]


def test_a_direction_that_is_set_aside_twice_is_set_aside_once(cloud):
    """A look that is a direction within a mode too leaves everything else as it is."""
    target, known = cloud
    apart = torch.stack([known.within[0], -known.within[0]]).repeat(CONCEPTS, 1)
    centers = known.modes.centers.repeat_interleave(2, 0) + apart
    two = replace(known, modes=Modes(centers, torch.arange(CONCEPTS).repeat_interleave(2)))
    found = [region("discriminant")(target, two, RegionSettings(1, 8, 1.0, 0, aside=aside)) for aside in (0, 1)]
    assert torch.allclose(*found, atol=1e-3)


def test_where_the_regions_of_the_discriminant_lead(cloud):
    target, known = cloud
    concepts = known.discriminant.concepts[:, :8]
    own = known.discriminant.coordinates(target.vectors).mean(0)[:8]
    gaps = (concepts - own).norm(dim=1)

    def there(name):
        shift = region(name)(target, known, RegionSettings(1, 8, 1.0, 0))
        return known.discriminant.coordinates(target.vectors + shift).mean(0)[:8]

    assert torch.allclose(there("concept"), concepts[gaps.argsort()[CONCEPTS // 2]], atol=1e-2)
    chosen = gaps.argsort()[3:6]  # the third of nine at the middle distances
    towards, middle = there("discriminant") - own, concepts[chosen].mean(0) - own
    assert float(towards.norm()) == pytest.approx(float(gaps[chosen].mean()), rel=1e-3)
    assert float(towards @ middle / towards.norm() / middle.norm()) == pytest.approx(1, rel=1e-4)


def test_modes_find_the_clusters_of_a_concept():
    generator = torch.Generator().manual_seed(1)
    truth = torch.arange(3).repeat_interleave(5)
    vectors = truth[:, None] * 50.0 + torch.randn(15, WIDTH, generator=generator)
    member, modes = find_modes(vectors, torch.zeros(15, dtype=torch.int64), 3, 0)
    assert len(modes.centers) == 3
    assert all(len(set(member[truth == group].tolist())) == 1 for group in range(3))


def test_an_unknown_region_suggests_the_nearest():
    with pytest.raises(InputError, match="did you mean 'nearest'"):
        region("nearst")
