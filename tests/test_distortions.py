"""Each distortion against its law, its slow per-image form, and the report's words."""

import time
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ferhelpers import distortions
from ferhelpers.data import Split
from ferhelpers.distortions import NAMES, NOISE_READINGS, SEVERITIES, SEVERITY_TABLE, apply, sections
from ferhelpers.errors import InputError

FORMS = [("report", None)] + [("textbook", severity) for severity in SEVERITIES]


def pictures(n, low=0, high=256, seed=0):
    return np.random.default_rng(seed).integers(low, high, (n, 48, 48), dtype=np.uint8)


@settings(max_examples=40, deadline=None)
@given(n=st.integers(0, 7), seed=st.integers(0, 2**32), name=st.sampled_from(NAMES), form=st.sampled_from(FORMS))
def test_keeps_shape_type_and_input_and_repeats(n, seed, name, form):
    images = pictures(n, seed=seed)
    before = images.copy()
    out = apply(name, images, form=form[0], severity=form[1], seed=seed)
    assert out.dtype == np.uint8 and out.shape == images.shape
    assert not np.shares_memory(out, images) and np.array_equal(images, before)
    assert np.array_equal(out, apply(name, images, form=form[0], severity=form[1], seed=seed))


@pytest.mark.parametrize("form,severity", FORMS)
@pytest.mark.parametrize("name", NAMES[1:])
def test_other_seed_other_noise(name, form, severity):
    images = pictures(20, low=20)
    first, second = (apply(name, images, form=form, severity=severity, seed=s) for s in (0, 1))
    assert not np.array_equal(first, second)


@settings(max_examples=20, deadline=None)
@given(n=st.integers(1, 6), seed=st.integers(0, 2**32))
def test_report_blur_is_cv2_image_by_image(n, seed):
    images = pictures(n, seed=seed)
    out = apply("gaussian_blur", images, seed=seed)
    assert np.array_equal(out, [cv2.GaussianBlur(image, (7, 7), 0) for image in images])
    by_sigma = np.stack([cv2.GaussianBlur(image, (7, 7), 1.4) for image in images])
    assert np.abs(out.astype(int) - by_sigma).mean() < 1.5  # "sigma 0" takes fixed taps, close to this sigma


@pytest.mark.parametrize(
    "name,mean,sigma",
    [
        ("snippet", 75, 0.125),
        ("darkening", 75, 0),
        ("snippet_unit", 75, 31.875),
        ("variance", 100, 2),
        ("sigma", 100, 4),
    ],
)
def test_noise_readings_have_the_stated_mean_and_sigma(name, mean, sigma):
    noise = NOISE_READINGS[name](np.full((200, 48, 48), 100, np.uint8)).astype(float)
    expected = 0 if sigma < 0.2 else np.hypot(sigma, np.sqrt(1 / 12))  # rounding swallows little noise, adds to more
    assert noise.mean() == pytest.approx(mean, abs=0.25)
    assert noise.std() == pytest.approx(expected, rel=0.02, abs=0.02)


def test_normal_numbers_are_normal():
    numbers = distortions.normal(pictures(400), 0).ravel()
    assert stats.kstest(numbers, "norm").pvalue > 0.01
    assert np.abs(distortions.NORMAL).max() < 4.4 and distortions.NORMAL.std() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    "name,noise",
    [
        ("snippet", lambda normal: 0.25 * 2 * normal),
        ("snippet_cast", lambda normal: 0.25 * distortions._cast(2 * normal).astype(np.float32)),
        ("snippet_cast_quarter", lambda normal: distortions._cast(0.25 * 2 * normal).astype(np.float32)),
    ],
)
def test_readings_of_the_snippet_are_cv2_add_weighted_rounded(name, noise):
    images = pictures(50)
    pairs = zip(images.astype(np.float32), noise(distortions.normal(images, 7)))
    expected = np.array([cv2.addWeighted(image, 0.75, layer, 0.25, 0) for image, layer in pairs])
    assert np.abs(NOISE_READINGS[name](images, 7) - expected.clip(0, 255)).max() < 0.5001


def test_other_noise_readings():
    images = np.full((200, 48, 48), 100, np.uint8)
    below = stats.norm.cdf(-1, scale=2)  # noise at or below -1 wraps to 255, 254, ...
    assert (NOISE_READINGS["saturated"](images) == 255).mean() == pytest.approx(below, abs=0.005)
    assert np.isin(NOISE_READINGS["unit"](images), (0, 255)).mean() > 0.7
    report = NOISE_READINGS[distortions.REPORT_NOISE](images, np.random.default_rng([0, 1, 0]))
    assert np.array_equal(apply("gaussian_noise", images), report)


def test_report_speckle_wraps_the_noise_the_product_and_the_sum():
    images = pictures(3)
    gauss = distortions.normal(images, np.random.default_rng([5, NAMES.index("speckle"), 0])).astype(int)
    assert np.array_equal(apply("speckle", images, seed=5), images.astype(int) * (1 + gauss) % 256)


def test_report_salt_pepper_bounds_and_law():
    images = np.full((3000, 48, 48), 128, np.uint8)
    out = apply("salt_pepper", images)
    white, black = (out == 255).sum((1, 2)), (out == 0).sum((1, 2))
    assert np.isin(out, (0, 128, 255)).all()
    assert white.max() <= 500 and black.max() <= 500 and (white + black).min() >= 30
    # n draws with replacement leave 2304 (1 - (1 - 1/2304)^n) places hit; n is uniform on 30..500
    n = np.arange(30, 501)
    hit = 1 - (1 - 1 / 2304) ** n
    assert black.mean() == pytest.approx(2304 * hit.mean(), rel=0.03)
    assert white.mean() == pytest.approx(2304 * hit.mean() * (1 - hit.mean()), rel=0.03)  # black covers some
    assert black.min() < 40 and black.max() > 440
    assert np.abs((out != 128).mean(0) - (out != 128).mean()).max() < 0.05  # no place is favoured


@settings(max_examples=20, deadline=None)
@given(n=st.integers(1, 30), seed=st.integers(0, 2**32))
def test_report_occlusion_blackens_exactly_one_quarter(n, seed):
    images = pictures(n, low=1, seed=seed)

    def quarters(x):
        return x.reshape(n, 2, 24, 2, 24).swapaxes(2, 3).reshape(n, 4, 24, 24)

    before, after = quarters(images), quarters(apply("occlusion", images, seed=seed))
    black = (after == 0).all((2, 3))
    assert (black.sum(1) == 1).all()
    assert np.array_equal(after[~black], before[~black])


def test_report_occlusion_takes_all_quarters_equally():
    out = apply("occlusion", np.full((4000, 48, 48), 9, np.uint8))
    counts = [(out[:, r, c] == 0).sum() for r in (0, 24) for c in (0, 24)]
    assert sum(counts) == 4000 and stats.chisquare(counts).pvalue > 0.001


@pytest.mark.parametrize("severity", SEVERITIES)
def test_textbook_constants(severity):
    images = np.full((100, 48, 48), 100, np.uint8)

    def constant(name):
        return SEVERITY_TABLE[name][1][severity - 1]

    out = {name: apply(name, images, form="textbook", severity=severity).astype(float) for name in NAMES}
    assert (out["gaussian_blur"] == 100).all()
    assert out["gaussian_noise"].std() == pytest.approx(255 * constant("gaussian_noise"), rel=0.02)
    assert out["speckle"].std() == pytest.approx(100 * constant("speckle"), rel=0.02)
    for colour in (0, 255):
        assert (out["salt_pepper"] == colour).mean() == pytest.approx(constant("salt_pepper") / 2, rel=0.06)
    assert ((out["occlusion"] == 0).sum((1, 2)) == constant("occlusion") ** 2).all()


def test_a_pixel_that_is_salt_or_pepper_stays_so_at_every_higher_severity():
    grey = np.full((20, 48, 48), 100, np.uint8)
    steps = [apply("salt_pepper", grey, form="textbook", severity=severity) for severity in SEVERITIES]
    for milder, stronger in zip(steps, steps[1:]):
        assert (stronger[milder != 100] == milder[milder != 100]).all()


def test_textbook_blur_spreads_a_point_by_its_sigma():
    point = np.zeros((1, 48, 48), np.uint8)
    point[0, 20:28, 20:28] = 255
    for severity, sigma in zip(SEVERITIES, SEVERITY_TABLE["gaussian_blur"][1]):
        profile = apply("gaussian_blur", point, form="textbook", severity=severity)[0].astype(float).sum(0)
        place = np.arange(48) - np.average(np.arange(48), weights=profile)
        box = 63 / 12  # the variance of 8 equal columns
        assert np.average(place**2, weights=profile) == pytest.approx(box + sigma**2, rel=0.06)


@pytest.mark.parametrize("name", NAMES)
def test_severities_grow(name):
    smooth = np.stack([cv2.GaussianBlur(image, (0, 0), 2) for image in pictures(60)])
    change = [np.abs(apply(name, smooth, form="textbook", severity=s).astype(int) - smooth).mean() for s in SEVERITIES]
    assert change == sorted(change) and len(set(change)) == 5


def test_report_sections():
    assert [part.stop - part.start for part in sections(3589)] == [718, 718, 718, 718, 717]
    for n in range(12):
        expected = np.array_split(np.arange(n), 5)
        assert all(np.array_equal(np.arange(n)[part], e) for part, e in zip(sections(n), expected))


def test_test_sets():
    public, private = (Split(pictures(33, seed=s), np.arange(33, dtype=np.uint8) % 7) for s in (1, 2))
    sets = distortions.test_sets(SimpleNamespace(public=public, private=private))
    assert list(sets) == ["clean", "private", "sections", *NAMES]
    assert sets["clean"] is public and sets["private"] is private
    for name in NAMES:
        assert np.array_equal(sets[name].images, apply(name, public.images))
        assert sets[name].labels is public.labels
    for name, part in zip(NAMES, sections(33)):
        assert np.array_equal(sets["sections"].images[part], apply(name, public.images[part]))


@pytest.mark.parametrize(
    "wrong,words",
    [
        ({"name": "fog"}, "distortion 'fog' is unknown: choose one of gaussian_blur, "),
        ({"form": "real"}, "form 'real' is unknown: choose 'report' or 'textbook'"),
        ({"severity": 2}, "the report's form has none, only form='textbook' has"),
        ({"form": "textbook"}, "severity is None: the textbook form takes 1, 2, 3, 4 or 5"),
        ({"form": "textbook", "severity": 6}, "severity is 6"),
        ({"images": np.zeros((2, 48, 48))}, r"images are float64 \(2, 48, 48\): a distortion takes uint8"),
        ({"images": np.zeros((2, 32, 32), np.uint8)}, r"\(2, 32, 32\)"),
    ],
)
def test_mistakes_are_named(wrong, words):
    call = {"name": "speckle", "images": pictures(2)} | wrong
    with pytest.raises(InputError, match=words):
        apply(call.pop("name"), call.pop("images"), **call)


def test_all_five_on_the_test_set_in_a_second():
    images = pictures(3589)
    start = time.process_time()
    for name in NAMES:
        apply(name, images)
    assert time.process_time() - start < 1


def test_sharpness_is_the_variance_of_the_laplacian():
    flat, stripes = np.full((48, 48), 90, np.uint8), np.tile(np.uint8([0, 0, 100, 100]), (48, 12))
    # The Laplacian of the stripes is +100 or -100 everywhere: variance 100 squared.
    np.testing.assert_allclose(distortions.sharpness(np.stack([flat, stripes])), [0, 1e4])
