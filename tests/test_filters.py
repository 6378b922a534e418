"""Measures of filters, on filters and pictures whose answer is known by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from zfnb import aliasing, chance, filters
from zfnb.data.pictures import Preprocessing
from zfnb.errors import BadInput
from zfnb.filters import Answers
from zfnb.models import Network


def grating(size: int, down: float, right: float, phase: float = 0.0) -> torch.Tensor:
    """A wave (1, 1, size, size) of `down` and `right` cycles a pixel."""
    y, x = torch.meshgrid(*(torch.arange(size, dtype=torch.float64),) * 2, indexing="ij")
    return torch.cos(2 * math.pi * (down * y + right * x) + phase)[None, None]


def gabor(size: int, frequency: float, angle: float = 0.0, width: float = 0.25) -> torch.Tensor:
    """A wave under a round bell, one grey filter (1, 1, size, size)."""
    at = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    bell = torch.exp(-(at[:, None] ** 2 + at[None] ** 2) / (2 * (width * size) ** 2))
    down, right = frequency * math.sin(angle), frequency * math.cos(angle)
    return bell * torch.cos(2 * math.pi * (down * at[:, None] + right * at[None]))[None, None]


def spot(size: int = 7, row: int = 3, column: int = 3) -> torch.Tensor:
    """One tap of 1."""
    weight = torch.zeros(1, 1, size, size, dtype=torch.float64)
    weight[0, 0, row, column] = 1
    return weight


def network(*weights: torch.Tensor, stride: int = 1, bias: float = 0.0, size: int = 16) -> Network:
    """Layers conv1, conv2, ... with these filters, each with a ReLU."""
    layers = {}
    for n, weight in enumerate(weights, start=1):
        maps, channels, h, w = weight.shape
        conv = nn.Conv2d(channels, maps, (h, w), stride=stride, padding=h // 2)
        conv.weight.data, conv.bias.data = weight.float().clone(), torch.full((maps,), bias)
        layers[f"conv{n}"] = nn.Sequential(conv, nn.ReLU())
    plain = Preprocessing(resize=size, crop=size, mean=(0, 0, 0), std=(1, 1, 1))
    return Network(layers, name="small", input_size=size, preprocessing=plain, weights="by hand")


@pytest.fixture
def noise_filters():
    return torch.randn(200, 3, 7, 7, generator=torch.Generator().manual_seed(5)).double()


# ---------------------------------------------------------------- spectra


def test_energy_is_that_of_the_taps(noise_filters):
    power = filters.power_spectrum(noise_filters)
    assert power.shape == (200, 3, filters.SIZE, filters.SIZE)
    assert torch.allclose(power.mean((2, 3)), noise_filters.square().sum((2, 3)))


def test_a_spot_has_all_frequencies_alike_and_a_constant_none_but_low():
    assert torch.allclose(filters.power_spectrum(spot()), torch.ones(()).double())
    # The bands of a spot are as large as their areas; a disc of radius 1/6 has pi / 36.
    low, middle, high, beyond = filters.band_shares(spot())[0]
    assert low == pytest.approx(math.pi / 36, rel=0.02)
    assert low + middle == pytest.approx(4 * math.pi / 36, rel=0.02)
    assert beyond == 0 and low + middle + high == pytest.approx(1)
    flat = torch.ones(1, 1, 11, 11)
    assert filters.band_shares(flat)[0, 0] > 0.9
    assert filters.peak_frequency(flat)[0] == 0
    # Of equals, the lowest: a spot is even, and two opposite taps on a diagonal answer best to all
    # waves with fy + fx = 1/2.
    assert filters.peak_frequency(spot())[0] == 0
    pair = spot(7, 2, 2) - spot(7, 3, 3)
    assert filters.peak_frequency(pair)[0] == pytest.approx(math.sqrt(2) / 4)


@pytest.mark.parametrize("limit", [0.5, 1 / 3])
@pytest.mark.parametrize(("part", "band"), [(0.15, 0), (0.5, 1), (0.85, 2)])
@pytest.mark.parametrize("angle", [0.0, 0.4, math.pi / 2])
def test_a_gabor_is_in_its_band_whatever_the_size_of_its_window(limit, part, band, angle):
    shares = [filters.band_shares(gabor(n, part * limit, angle), limit)[0] for n in (15, 31)]
    assert [one.argmax() for one in shares] == [band, band]
    assert shares[1][band] > shares[0][band]  # a longer wave is a purer one
    assert sum(shares[0]) == pytest.approx(1)


def test_a_gabor_peaks_at_its_frequency():
    for frequency in (0.1, 0.2, 0.3, 0.45):
        for angle in (0.0, 0.7):
            peak = filters.peak_frequency(gabor(21, frequency, angle))[0]
            assert peak == pytest.approx(frequency, abs=1 / filters.SIZE)
    assert filters.peak_bands(torch.cat([gabor(21, f) for f in (0.05, 0.25, 0.3, 0.45)])) == {
        "low": 0.25,
        "middle": 0.5,
        "high": 0.25,
        "beyond": 0.0,
    }


def test_what_the_pictures_do_not_hold_is_beyond():
    fine = gabor(21, 0.45)
    assert filters.band_shares(fine, limit=1 / 3)[0, 3] > 0.95
    assert filters.peak_bands(fine, limit=1 / 3)["beyond"] == 1
    # 0.3 along both axes is a radius of 0.42, and yet within the square of 1/3.
    oblique = gabor(31, 0.3 * math.sqrt(2), math.pi / 4)
    assert filters.band_shares(oblique, limit=1 / 3)[0, 2] > 0.9


def test_bands_are_thirds_of_the_limit_with_the_edges_in_the_lower_one():
    size = filters.SIZE
    band = filters._bands(1 / 3)
    third = size // 9  # 10.67: no frequency lies on this edge
    assert [int(band[0, n]) for n in (0, third, third + 1)] == [0, 0, 1]
    assert [int(band[0, n]) for n in (size // 3, size // 3 + 1)] == [2, 3]
    half = filters._bands(0.5)
    assert [int(half[n, 0]) for n in (size // 6, size // 6 + 1)] == [0, 1]
    assert [int(half[n, 0]) for n in (size // 3, size // 3 + 1)] == [1, 2]
    assert not (half == 3).any()


def test_measures_do_not_depend_on_scale_or_place(noise_filters):
    weight = noise_filters[:20]
    wide = torch.zeros(20, 3, 11, 11, dtype=torch.float64)
    moved = wide.clone()
    wide[:, :, :7, :7], moved[:, :, 4:, 3:10] = weight, weight
    spectrum = aliasing.natural_spectrum()
    for measure in (
        filters.band_shares,
        filters.peak_frequency,
        filters.colour_share,
        filters.nearest_likeness,
        lambda w: aliasing.aliased_share(w, 4, spectrum),
    ):
        expected = measure(weight)
        for other in (wide, moved, 30 * weight, -weight):
            assert np.allclose(measure(other), expected, atol=1e-9)


def test_grey_and_colour_add_up(noise_filters):
    grey, colour = filters.grey_and_colour(noise_filters)
    assert torch.allclose(grey + colour, noise_filters)
    parts = [filters.power_spectrum(part).sum(1) for part in (grey, colour)]
    assert torch.allclose(sum(parts), filters.power_spectrum(noise_filters).sum(1))
    one = spot().expand(1, 3, 7, 7)
    opponent = one * torch.tensor([1.0, -0.5, -0.5])[:, None, None]
    red = one * torch.tensor([1.0, 0, 0])[:, None, None]
    shares = filters.colour_share(torch.cat((one, opponent, red)))
    assert np.allclose(shares, [0, 1, 2 / 3])


def test_rings_hold_what_is_at_their_distance():
    centres, shares = filters.radial_spectrum(filters.power_spectrum(gabor(41, 0.2, 0.5)), rings=10)
    assert np.allclose(centres, np.arange(0.025, 0.5, 0.05))
    assert shares.shape == (1, 10)
    assert shares[0, 3:5].sum() > 0.9  # 0.15 to 0.25
    centres, shares = filters.radial_spectrum(filters.power_spectrum(spot()), rings=24)
    # All frequencies alike: as the areas, and the corners are left out.
    assert shares.sum() == pytest.approx(math.pi / 4, rel=0.03)
    assert shares[0, 20] / shares[0, 10] == pytest.approx(centres[20] / centres[10], rel=0.2)


def test_filters_of_zeros_have_no_shares():
    weight = torch.cat((torch.zeros(1, 1, 7, 7), spot().float()))
    for measure in (filters.band_shares, filters.peak_frequency, filters.colour_share):
        values = measure(weight)
        assert np.isnan(values[0]).all() and not np.isnan(values[1]).any()
    assert filters.peak_bands(weight)["low"] == 1
    assert np.isnan(aliasing.aliased_share(weight, 2, aliasing.natural_spectrum(channels=1)))[0]


# ---------------------------------------------------------------- dead and dominating


def scaled(*scales: float) -> torch.Tensor:
    """One filter of the RMS `scale` each."""
    noise = torch.randn(len(scales), 3, 5, 5, generator=torch.Generator().manual_seed(2)).double()
    noise = noise / noise.square().mean((1, 2, 3), keepdim=True).sqrt()
    return noise * torch.tensor(scales, dtype=torch.float64)[:, None, None, None]


def test_dead_and_dominating_filters_stand_out_from_the_median():
    weight = scaled(1, 1, 1, 0.2, 0.05, 0.0, 2.5, 4.0, 1)
    assert filters.faint(weight).tolist() == [False] * 4 + [True, True] + [False] * 3
    assert filters.dominating(weight).tolist() == [False] * 7 + [True, False]
    assert np.array_equal(filters.faint(7 * weight), filters.faint(weight))
    assert filters.faint(scaled(0, 0, 0, 1)).tolist() == [True, True, True, False]


def test_effective_number_by_hand():
    assert filters.effective_number(scaled(3, 3, 3, 3)) == pytest.approx(4, rel=1e-5)
    assert filters.effective_number(scaled(1, 0, 0)) == pytest.approx(1, rel=1e-5)
    # Energies 1 and 4: 25 / 17.
    assert filters.effective_number(scaled(1, 2)) == pytest.approx(25 / 17, rel=1e-5)


def test_likeness_finds_the_copy_and_its_negative():
    other = scaled(1, 1)
    weight = torch.cat((other, -3 * other[:1], torch.zeros(1, 3, 5, 5)))
    likeness = filters.nearest_likeness(weight)
    assert likeness[0] == pytest.approx(1) and likeness[2] == pytest.approx(1)
    a, b = other.flatten(1)
    assert likeness[1] == pytest.approx(abs(a @ b / a.norm() / b.norm()).item())
    assert np.isnan(likeness[3])


def test_answers_count_silent_and_even_maps():
    # Map 0 needs more than any picture has, map 1 gives the brightest pixel, map 2 its bias alone.
    net = network(torch.cat((-spot(3, 1, 1), spot(3, 1, 1), 0 * spot(3, 1, 1))).repeat(1, 3, 1, 1))
    net.conv1[0].bias.data = torch.tensor([-0.1, 0.0, 2.0])
    images = torch.zeros(4, 3, 16, 16)
    images[0, :, 5, 5], images[1, 0, 9, 2] = 1.0, 3.0
    answers = filters.map_answers(net, images, batch_size=3)["conv1"]
    assert np.allclose(answers.share, [0, 0.5, 1])
    assert np.allclose(answers.mean, [0, 1.5, 2])
    assert np.allclose(answers.spread, [0, 1.5, 0])
    assert answers.silent.tolist() == [True, False, False]
    assert answers.even.tolist() == [False, False, True]


def test_a_filter_idle_for_two_reasons_counts_once():
    weight = scaled(1, 1, 1, 0.01, 5)
    share, mean = np.array([1.0, 0, 1, 0, 1]), np.ones(5)
    answers = Answers(share, mean, spread=np.array([1.0, 1, 0.0, 0.0, 1]))
    assert filters.faint(weight).tolist() == [False, False, False, True, False]
    assert filters.idle(weight, answers).tolist() == [False, True, True, True, False]


def test_answers_go_up_all_layers_of_filters(small_zfnet, noise):
    images = noise(5, 64)
    answers = filters.map_answers(small_zfnet, images, batch_size=2)
    assert list(answers) == [f"conv{n}" for n in range(1, 6)]
    with torch.no_grad():
        best = small_zfnet(images, to="conv4").amax((2, 3)).double()
    assert np.allclose(answers["conv4"].mean, best.mean(0), rtol=1e-5)
    assert np.allclose(answers["conv4"].spread, best.std(0, correction=0), atol=1e-5)
    assert np.allclose(answers["conv4"].share, (best > 0).double().mean(0))


def test_census_counts_by_layer():
    weight = scaled(1, 1, 1, 0.01, 5)
    upper = torch.randn(2, 5, 3, 3, generator=torch.Generator().manual_seed(0))
    net = network(weight, upper)
    rows = filters.census(net)
    assert [row["layer"] for row in rows] == ["conv1", "conv2"]
    first = rows[0]
    assert (first["filters"], first["faint"], first["dominating"]) == (5, 1, 1)
    energy = 3 + 25 + 0.01**2
    assert first["largest share"] == pytest.approx(25 / energy, rel=1e-5)
    assert first["effective part"] == pytest.approx(energy**2 / (3 + 625) / 5, rel=1e-4)
    assert "silent" not in first
    quiet = Answers(np.array([0.0, 1.0]), np.array([0.0, 1.0]), np.array([0.0, 0.01]))
    many = Answers(np.ones(5), np.ones(5), np.ones(5))
    rows = filters.census(net, {"conv1": many, "conv2": quiet})
    assert [(row["silent"], row["even"]) for row in rows] == [(0, 0), (1, 1)]


def test_random_start_is_untrained_repeatable_and_leaves_the_network_alone(small_zfnet):
    before = {key: value.clone() for key, value in small_zfnet.state_dict().items()}
    state = torch.get_rng_state()
    one, same, other = (filters.random_start(small_zfnet, seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    weights = [net.conv1[0].weight for net in (one, same, other, small_zfnet)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
    assert not torch.equal(weights[0], weights[3])
    assert one.weights is None and one.shapes == small_zfnet.shapes
    assert all(torch.equal(before[key], v) for key, v in small_zfnet.state_dict().items())


def test_first_filters_are_those_of_layer_1(trunk):
    weight, stride = filters.first_filters(trunk)
    assert weight.shape == (64, 3, 11, 11) and stride == 4
    assert torch.equal(weight, trunk.conv1[0].weight)
    with pytest.raises(BadInput, match="no layer of filters"):
        filters.first_filters(nn.Linear(3, 3))
    with pytest.raises(BadInput, match="steps of 1 pixels down and 2 across"):
        filters.first_filters(nn.Sequential(nn.Conv2d(3, 2, 3, stride=(1, 2))))


def test_enlarging_adds_no_frequencies():
    assert filters.highest_frequency(64, 96) == pytest.approx(1 / 3)
    assert filters.highest_frequency(256, 224) == 0.5
    with pytest.raises(BadInput, match="at least 1 pixel"):
        filters.highest_frequency(0, 96)


# ---------------------------------------------------------------- aliasing


@pytest.mark.parametrize(
    ("stride", "down", "right", "share"),
    [
        (4, 0, 5 / 48, 0),
        (4, 0, 6 / 48, 0.5),  # exactly 1/8: every fourth pixel holds one of two phases
        (4, 6 / 48, 6 / 48, 0.75),
        (4, 0, 7 / 48, 1),
        (4, 7 / 48, 2 / 48, 1),  # along one axis is enough
        (4, 5 / 48, 5 / 48, 0),
        (2, 3 / 48, 12 / 48, 0.5),
        (2, 0, 7 / 48, 0),
        (2, 0, 13 / 48, 1),
        (1, 0, 0.5, 0),
        (1, 23 / 48, 23 / 48, 0),
    ],
)
def test_a_grating_is_aliased_above_nyquist(stride, down, right, share):
    wave = grating(48, down, right, phase=0.4)
    x = torch.fft.fft2(wave)[0]
    spectrum = torch.einsum("cyx,dyx->cdyx", x, x.conj())
    filter_ = gabor(7, 0.2, 0.3) + 0.1
    assert aliasing.aliased_share(filter_, stride, spectrum)[0] == pytest.approx(share, abs=1e-9)


def test_the_aliased_share_is_that_of_the_dense_response():
    """The definition, plainly: respond at every pixel, transform, add up what is too fine."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(3, 2, 20, 20, generator=generator).double().cumsum(2).cumsum(3)
    weight = torch.randn(4, 2, 5, 5, generator=generator).double()
    ours = aliasing.aliased_share(weight, 4, aliasing.picture_spectrum(images))
    x = aliasing.faded(images)
    around = torch.nn.functional.pad(x, (0, 4, 0, 4), mode="circular")
    energy = torch.fft.fft2(torch.nn.functional.conv2d(around, weight)).abs().square().sum(0)
    frequency = torch.fft.fftfreq(20).abs()
    fine = (frequency[:, None] > 0.1251) | (frequency[None] > 0.1251)
    expected = (energy * fine).sum((1, 2)) / energy.sum((1, 2))
    assert np.allclose(ours, expected.numpy(), atol=1e-9)
    assert ours.min() > 0.02 and ours.max() < 0.98


def moved_and_compared(weight: torch.Tensor, images: torch.Tensor, stride: int) -> np.ndarray:
    """`shift_error`, slowly: move the picture by pixels and run the strided layer on it."""
    x, taps = aliasing.faded(images), weight.shape[-1] - 1
    shifts = [(a, b) for a in range(stride) for b in range(stride)]
    maps = {}
    for a, b in shifts:
        moved = torch.roll(x, (-a, -b), (2, 3))
        around = torch.nn.functional.pad(moved, (0, taps, 0, taps), mode="circular")
        maps[a, b] = torch.nn.functional.conv2d(around, weight, stride=stride)
    axis = torch.fft.fftfreq(x.shape[-1] // stride).double()
    error, energy = 0, 0
    for right in (axis, torch.where(axis == -0.5, 0.5, axis)):  # at Nyquist, either sign
        for (a, b), from_ in maps.items():
            for (c, d), to in maps.items():
                by = (axis[:, None] * (c - a) + right[None] * (d - b)) / stride
                turn = torch.exp(2j * math.pi * by)
                foretold = torch.fft.ifft2(torch.fft.fft2(from_) * turn)
                error = error + (foretold - to).abs().square().sum((0, 2, 3))
                energy = energy + to.square().sum((0, 2, 3))
    return (error / energy).numpy()


@pytest.mark.parametrize(("stride", "side"), [(1, 9), (2, 14), (2, 16), (3, 15), (4, 20), (4, 24)])
def test_shift_error_is_what_moving_the_picture_shows_and_twice_the_share(stride, side):
    generator = torch.Generator().manual_seed(4)
    images = torch.randn(2, 3, side, side, generator=generator).double()
    weight = torch.randn(3, 3, 5, 5, generator=generator).double()
    error = aliasing.shift_error(weight, images, stride)
    assert np.allclose(error, moved_and_compared(weight, images, stride), atol=1e-9)
    share = aliasing.aliased_share(weight, stride, aliasing.picture_spectrum(images))
    assert np.allclose(error, 2 * share, atol=1e-9)
    assert (error.max() < 1e-9) == (stride == 1)


def test_a_map_holds_a_coarse_wave_and_takes_a_fine_one_for_another():
    for frequency, seen_as in ((5, 5), (6, 6), (7, 12 - 7), (13, 13 - 12), (23, 24 - 23)):
        wave, other = (grating(48, 0, n / 48)[0] for n in (frequency, seen_as))
        response = aliasing.respond(spot(1, 0, 0)[0], wave, stride=4)
        assert torch.allclose(response.dense, wave[0])
        assert torch.equal(response.kept, response.dense[::4, ::4])
        assert torch.allclose(response.held[::4, ::4], response.kept)
        assert torch.allclose(response.held, other[0], atol=1e-9)
    filter_, image = gabor(5, 0.2)[0], torch.randn(1, 12, 12).double()
    response = aliasing.respond(filter_, image, stride=1)
    around = torch.nn.functional.pad(image[None], (0, 4, 0, 4), mode="circular")
    assert torch.allclose(response.dense, torch.nn.functional.conv2d(around, filter_[None])[0, 0])
    assert torch.allclose(response.held, response.dense)


def test_energy_beyond_is_that_of_the_fine_waves():
    x = torch.cat([torch.fft.fft2(grating(48, 0, n / 48)[0]) for n in (4, 20)])
    for channels, share in ((x, 0.5), (x * torch.tensor([3.0, 1.0])[:, None, None], 0.1)):
        spectrum = torch.einsum("cyx,dyx->cdyx", channels, channels.conj())
        assert aliasing.energy_beyond(spectrum, 1 / 3) == pytest.approx(share)
    assert aliasing.energy_beyond(spectrum, 0.5) == 0


def test_sampled_inputs_are_spread_over_the_dataset(small_zfnet):
    pictures = [(torch.full((3, 64, 64), float(n)), 0) for n in range(10)]
    values = [x[0, 0, 0].item() for x in filters.sample_inputs(small_zfnet, pictures, 4)]
    assert values == [0, 3, 6, 9]
    assert len(filters.sample_inputs(small_zfnet, pictures, 99)) == 10


def test_a_smoother_filter_and_a_smaller_stride_alias_less():
    spectrum = aliasing.natural_spectrum(channels=1)
    share = {
        (size, stride): aliasing.aliased_share(gabor(size, 0.0), stride, spectrum)[0]
        for size in (7, 15)
        for stride in (1, 2, 4)
    }
    assert share[15, 4] < share[7, 4] and share[7, 1] == 0
    assert share[7, 1] < share[7, 2] < share[7, 4]


def test_natural_spectrum_by_hand():
    spectrum = aliasing.natural_spectrum(24, channels=3, correlation=0.5, limit=1 / 3)
    assert spectrum.shape == (3, 3, 24, 24)
    assert spectrum[0, 0, 0, 0] == 0
    assert spectrum[0, 0, 0, 1] / spectrum[0, 0, 0, 3] == pytest.approx(9)
    assert spectrum[0, 1, 2, 3] / spectrum[2, 2, 2, 3] == pytest.approx(0.5)
    assert spectrum[0, 0, 0, 8] != 0 and spectrum[0, 0, 0, 9] == 0
    # Grey pictures excite no colour filter.
    grey = aliasing.natural_spectrum(24, correlation=1.0)
    opponent = spot().expand(1, 3, 7, 7) * torch.tensor([1.0, -1.0, 0.0])[:, None, None]
    total = torch.einsum(
        "cdyx,cyx,dyx->", grey, *(torch.fft.fft2(opponent[0].to(torch.complex128), s=(24, 24)),) * 2
    )
    assert abs(total) < 1e-9


def test_picture_spectrum_leaves_out_the_mean_and_keeps_correlations():
    image = grating(32, 0.25, 0.0).repeat(1, 2, 1, 1) * torch.tensor([1.0, -2.0])[:, None, None]
    spectrum = aliasing.picture_spectrum(image + 5)
    at = spectrum[:, :, 8, 0].real
    assert torch.allclose(at / at[0, 0], torch.tensor([[1.0, -2], [-2, 4]]).double())
    energy = spectrum[0, 0].real
    assert energy[7:10, -1:].sum() + energy[7:10, :2].sum() > 0.45 * energy.sum()  # half: f and -f
    assert aliasing.picture_spectrum(torch.full((1, 2, 8, 8), 3.0)).abs().max() < 1e-9


# ---------------------------------------------------------------- projections


def test_projections_finer_than_the_maps():
    coarse, fine = grating(48, 0.05, 0), grating(48, 0.05, 0.2)
    shares = aliasing.projected_finer(torch.cat((coarse, fine)), stride=4)
    assert shares[0] < 0.1 and shares[1] > 0.9
    assert (aliasing.projected_finer(torch.cat((coarse, fine)), stride=1) == 0).all()
    with_border = fine.clone()
    with_border[..., :5, :] = torch.nan
    zeroed = with_border.nan_to_num()
    assert aliasing.projected_finer(with_border, 2) == aliasing.projected_finer(zeroed, 2)
    assert np.isnan(aliasing.projected_finer(torch.zeros(1, 3, 9, 9), 2))[0]


def test_fine_detail_of_each_map():
    coarse, fine = grating(48, 0.05, 0), grating(48, 0.05, 0.3)
    nothing = torch.zeros(1, 1, 48, 48)
    maps = [torch.cat((coarse, fine, nothing)), torch.cat((fine, fine)), nothing]
    shares = aliasing.finer_by_map(maps, 2)
    assert shares[:2] == pytest.approx([0.5, 1], abs=0.05) and np.isnan(shares[2])


def test_the_same_pictures_are_no_cleaner_under_one_limit():
    """What a limit of each network's own stride would say of pictures without any network."""
    noise = torch.randn(40, 1, 3, 48, 48, generator=torch.Generator().manual_seed(1)).double()
    natural = torch.nn.functional.avg_pool3d(noise, (1, 3, 3), 1, (0, 1, 1))
    own = [aliasing.projected_finer(natural[:, 0], stride).mean() for stride in (2, 4)]
    assert own[0] < own[1]
    halves = [aliasing.finer_by_map(list(half), 2) for half in (natural[:20], natural[20:])]
    assert chance.clearly_less(*halves) == "within chance"


@pytest.mark.parametrize("stride", [2, 4])
def test_a_grid_stands_out_at_its_own_stride(stride):
    smooth = torch.randn(20, 3, 48, 48, generator=torch.Generator().manual_seed(3)).double()
    plain = aliasing.grid_energy(smooth, stride).excess
    assert plain == pytest.approx(1, abs=0.15)  # noise has no grid
    blocks = torch.zeros(48, 48, dtype=torch.float64)
    blocks[::stride, ::stride] = 3.0
    assert aliasing.grid_energy(smooth + blocks, stride).excess > 2
    assert aliasing.grid_energy(7 * smooth, stride).excess == pytest.approx(plain)
    empty = torch.zeros(1, 3, 48, 48)
    assert aliasing.grid_energy(torch.cat((smooth, empty)), stride).excess == pytest.approx(plain)
    assert math.isnan(aliasing.grid_energy(empty, stride).excess)


def test_the_grid_s_share_is_what_is_near_its_points():
    # Waves at 1/4 and at 1/8, energies 1 and 4, in one channel each.
    waves = torch.cat((grating(48, 0.25, 0)[0], 2 * grating(48, 0.125, 0.0)[0]))[None]
    assert aliasing.grid_energy(waves, 4).share == pytest.approx(0.2, abs=0.01)
    assert aliasing.grid_energy(waves, 8).share == pytest.approx(1, abs=0.01)
    assert aliasing.grid_energy(waves, 2).share < 0.01


def test_filters_without_their_mean_give_nothing_for_one_colour(noise_filters):
    plain = filters.without_mean(noise_filters + 5)
    assert torch.allclose(plain.mean((2, 3)), torch.zeros(()).double(), atol=1e-12)
    assert torch.allclose(plain, filters.without_mean(noise_filters))
    assert filters.peak_frequency(filters.without_mean(gabor(15, 0.2) + 9))[0] > 0.15
    assert filters.peak_frequency(gabor(15, 0.2) + 9)[0] < 0.05


def test_an_upsampled_map_leaves_a_grid_that_a_matched_filter_takes_out():
    """Every fourth pixel through 3 x 3 holes, and through a filter that overlaps evenly."""
    maps = torch.rand(8, 1, 12, 12, generator=torch.Generator().manual_seed(0)).double()
    even = torch.ones(1, 1, 8, 8, dtype=torch.float64)  # each pixel under four of them
    holes = torch.ones(1, 1, 3, 3, dtype=torch.float64)
    up = torch.nn.functional.conv_transpose2d
    clean, blocky = (up(maps, taps, stride=4)[..., 4:44, 4:44] for taps in (even, holes))
    assert aliasing.grid_energy(clean, 4).excess < 1.5 < 3 < aliasing.grid_energy(blocky, 4).excess


# ---------------------------------------------------------------- errors


def test_bad_input_is_named(small_zfnet, noise):
    weight = torch.ones(2, 3, 5, 5)
    spectrum = aliasing.natural_spectrum(24)
    flat = Network(
        {"fc1": nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 2))}, name="flat", input_size=8
    )
    for call, words in (
        (lambda: filters.power_spectrum(weight[0]), "must be a tensor"),
        (lambda: filters.power_spectrum(weight.numpy()), "must be a tensor"),
        (lambda: filters.power_spectrum(weight * torch.nan), "NaN"),
        (lambda: filters.power_spectrum(weight, size=4), "do not fit"),
        (lambda: filters.band_shares(weight, limit=0.6), "limit"),
        (lambda: filters.band_shares(weight, limit=0), "limit"),
        (lambda: filters.peak_bands(0 * weight), "All filters are zero"),
        (lambda: filters.effective_number(0 * weight), "All filters are zero"),
        (lambda: filters.nearest_likeness(weight[:1]), "Two filters"),
        (lambda: filters.radial_spectrum(torch.ones(2, 3, 4)), "spectrum"),
        (lambda: filters.radial_spectrum(torch.ones(2, 4, 4), rings=0), "ring"),
        (lambda: filters.map_answers(small_zfnet, noise(1, 64)), "at least two"),
        (lambda: filters.map_answers(small_zfnet, noise(2, 32)), "64"),
        (lambda: filters.sample_inputs(small_zfnet, [], 3), "At least one picture"),
        (lambda: aliasing.energy_beyond(spectrum, 0.7), "limit"),
        (lambda: aliasing.respond(weight[0], torch.ones(3, 9, 9), 2), "multiple"),
        (lambda: aliasing.respond(weight[0], torch.ones(3, 8, 8), 0), "stride"),
        (lambda: aliasing.natural_spectrum(correlation=2), "correlation"),
        (lambda: aliasing.natural_spectrum(limit=1), "limit"),
        (lambda: aliasing.picture_spectrum(torch.ones(1, 3, 8, 9)), "Pictures"),
        (lambda: aliasing.aliased_share(weight[:, :1], 2, spectrum), "1 channels"),
        (lambda: aliasing.aliased_share(weight, 0, spectrum), "stride"),
        (lambda: aliasing.aliased_share(weight, 1.5, spectrum), "stride"),
        (lambda: aliasing.shift_error(weight, torch.ones(1, 3, 9, 9), 2), "multiple"),
        (lambda: aliasing.shift_error(weight, torch.ones(1, 1, 8, 8), 2), "1 in the pictures"),
        (lambda: aliasing.respond(weight[0], torch.ones(1, 8, 8), 2), "1 in the pictures"),
        (lambda: aliasing.respond(weight[0, :1], torch.ones(3, 8, 8), 2), "but 1 in the filters"),
        (lambda: aliasing.projected_finer(torch.ones(1, 3, 97, 97), 2), "Projections of 97 x 97"),
        (lambda: aliasing.grid_energy(torch.ones(1, 3, 97, 97), 2), "Projections of 97 x 97"),
        (lambda: filters.map_answers(flat, noise(2, 8)), "no layer of filters"),
        (lambda: aliasing.grid_energy(torch.ones(1, 3, 9, 9), 1), "at least 2"),
        (lambda: aliasing.grid_energy(torch.ones(1, 3, 23, 23), 4), "too small"),
    ):
        with pytest.raises(BadInput, match=words):
            call()
