"""The drawn faces: the same each time, FER-2013's shares, expressions inside their masks, of middling difficulty."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from ferhelpers import faces
from ferhelpers.errors import InputError

ANGRY, DISGUST, FEAR, HAPPY, SAD, SURPRISE, NEUTRAL = range(7)


@pytest.fixture(scope="module")
def many():
    return faces.draw(3000)


@pytest.fixture(scope="module")
def same_people():
    """The same 60 people with each of the seven emotions."""
    return [faces.draw(60, 5, np.full(60, emotion)) for emotion in range(7)]


@settings(max_examples=15, deadline=None)
@given(n=st.integers(0, 12), seed=st.integers(0, 2**32))
def test_same_seed_same_bytes(n, seed):
    first, second = faces.draw(n, seed), faces.draw(n, seed)
    for name, dtype, shape in [
        ("images", np.uint8, (n, 48, 48)),
        ("labels", np.uint8, (n,)),
        ("masks", bool, (n, 48, 48)),
        ("emotions", np.uint8, (n,)),
    ]:
        values = getattr(first, name)
        assert values.dtype == dtype and values.shape == shape
        assert np.array_equal(values, getattr(second, name))


def test_seeds_are_different_people(many):
    other = faces.draw(200, 1)
    assert len(np.unique(np.concatenate([many.images, other.images]), axis=0)) == 3200


def test_shares_of_fer2013(many):
    counts = np.bincount(many.labels, minlength=7)
    official = faces.OFFICIAL_COUNTS["training"]
    expected = 3000 * np.array(official) / sum(official)
    assert sum(official) == 28709 and counts.min() > 20
    assert stats.chisquare(counts, expected).pvalue > 0.001


def test_label_noise_is_between_pairs_at_its_rate(many):
    wrong = many.labels != many.emotions
    assert np.array_equal(many.emotions[wrong], np.take(faces.PAIRS, many.labels[wrong]))
    assert not wrong[many.labels == HAPPY].any()
    can_be_wrong = many.labels != HAPPY
    assert stats.binomtest(int(wrong.sum()), int(can_be_wrong.sum()), faces.LABEL_NOISE).pvalue > 0.001
    assert all(faces.PAIRS[faces.PAIRS[label]] == label for label in range(7))


def test_asked_emotions_are_their_labels():
    asked = np.arange(7).repeat(3)
    drawn = faces.draw(21, 2, asked)
    assert np.array_equal(drawn.labels, asked) and np.array_equal(drawn.emotions, asked)


def test_images_use_the_range(many):
    assert many.images.min() == 0 and many.images.max() == 255
    assert many.images.std((1, 2)).min() > 6
    assert 70 < many.images.mean() < 170


def test_masks_are_where_a_face_is_expressive(many):
    share = many.masks.mean((1, 2))
    assert share.min() > 0.1 and share.max() < 0.45 and 0.15 < share.mean() < 0.3
    often = many.masks.mean(0)  # how often a pixel belongs to the mask
    assert often[:6].max() < 0.02 and often[:, :2].max() < 0.05 and often[:, -2:].max() < 0.05
    assert often[17:20, 14:19].min() > 0.7 and often[17:20, 29:34].min() > 0.7  # both eyes
    assert often[35:38, 20:28].min() > 0.8  # the mouth


@settings(max_examples=21, deadline=None)
@given(pair=st.lists(st.sampled_from(range(7)), min_size=2, max_size=2, unique=True))
def test_an_emotion_changes_a_face_inside_its_mask(same_people, pair):
    one, other = (same_people[emotion] for emotion in pair)
    change = np.abs(one.images.astype(float) - other.images)
    inside = one.masks | other.masks
    assert change[inside].sum() > 0.95 * change.sum()
    assert change[inside].mean() > 3 > 20 * change[~inside].mean()


def distance(one, other):
    return np.abs(one.images.astype(float) - other.images).mean()


@pytest.mark.parametrize("one,other", [(FEAR, SURPRISE), (SAD, NEUTRAL), (ANGRY, DISGUST)])
def test_pairs_look_alike(same_people, one, other):
    """Each of a pair is closer to the other than to the mean of all."""
    between = np.array([[distance(a, b) for b in same_people] for a in same_people])
    typical = between[one].sum() / 6, between[other].sum() / 6
    assert between[one, other] < min(typical)


def test_muscles_move_as_named(same_people):
    """Rough anatomy: a surprised mouth is the tallest, a happy or frightened one the widest, brows rise and fall."""
    mouth = [people.masks[:, 32:].any(2).sum(1).mean() for people in same_people]
    assert np.argmax(mouth) == SURPRISE
    wide = [people.masks[:, 33:40].any(1).sum(1).mean() for people in same_people]
    assert np.argmax(wide) in (HAPPY, FEAR)
    top = [people.masks.any(2).argmax(1).mean() for people in same_people]
    assert max(top[SURPRISE], top[FEAR]) < top[NEUTRAL] < top[ANGRY]


def test_neither_trivial_nor_hopeless(many):
    """What a linear reader of the pixels achieves (always "happy" is 25 %), and that it errs between the pairs."""

    def small(images):
        return images.reshape(-1, 24, 2, 24, 2).mean((2, 4)).reshape(-1, 576)

    reader = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1).fit(small(many.images[:2000]), many.labels[:2000])
    labels, read = many.labels[2000:], reader.predict(small(many.images[2000:]))
    wrong = read != labels
    assert faces.LABEL_NOISE / 2 < wrong.mean() < 0.4  # the labels alone are wrong about as often as that
    between_pairs = (read == np.take(faces.PAIRS, labels))[wrong].mean()
    assert between_pairs > 0.3  # 0.15 if errors fell anywhere


@pytest.mark.parametrize("emotions", [np.zeros(4, int), np.array([0, 1, 7])])
def test_mistakes_are_named(emotions):
    with pytest.raises(InputError, match=r"draw\(3\) takes 3 integers from 0 to 6"):
        faces.draw(3, emotions=emotions)


def test_speed():
    """About 2,500 faces a second on one idle core of a 2020s server; 1,000 leaves room for a busy one."""

    def seconds():
        start = time.process_time()
        faces.draw(500, 3)
        return time.process_time() - start

    assert min(seconds() for _ in range(4)) < 0.5
