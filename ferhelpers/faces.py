"""The built-in source: drawn faces, for a study without a download.

A face is drawn as polygons on a canvas of twice the size and then photographed: who it is (head, skin, hair,
spacing, glasses, beard), how it is held (rotation, shift, scale, turn of the head), how it is lit, and which facial
muscles work. The expression is written in the action units of the Facial Action Coding System (Ekman and Friesen
1978); emotions use the combinations of Ekman and Friesen's EMFACS, so emotions that share muscles look alike, as
they do in life: fear and surprise, anger and disgust, sadness and a neutral face. Each face comes with a mask of
where its expression is drawn.

Coordinates are in face units: the origin lies between the eyes, x to the right, y down, 1 is about half the width
of the head. Only the last step knows pixels.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from ferhelpers.errors import InputError
from ferhelpers.readers import CLASSES, IMAGE_SIZE, OFFICIAL_COUNTS

SIZES = (2000, 400, 400)  # faces in the training, public and private splits of the built-in data set
LABEL_NOISE = 0.03  # chance that a face shows the other emotion of its label's pair; happy has no pair
PAIRS = (1, 0, 5, 3, 6, 2, 4)  # angry-disgust, fear-surprise, sad-neutral, by label

CANVAS = 2 * IMAGE_SIZE  # pixels a side

# Action units: 1 inner and 2 outer brow raiser, 4 brow lowerer, 5 upper lid raiser, 6 cheek raiser, 7 lid tightener,
# 9 nose wrinkler, 10 upper lip raiser, 12 lip corner puller, 15 lip corner depressor, 17 chin raiser, 20 lip stretcher,
# 23 lip tightener, 25 lips part, 26 jaw drop. By emotion: unit -> strength at full intensity; a face never shows all of
# its emotion's units (_muscles).
EMOTIONS = (
    {4: 1.0, 5: 0.5, 7: 0.8, 17: 0.4, 23: 0.9, 25: 0.2},  # angry
    {4: 0.6, 7: 0.6, 9: 1.0, 10: 1.0, 15: 0.4, 17: 0.3, 25: 0.2},  # disgust
    {1: 0.9, 2: 0.55, 4: 0.6, 5: 0.9, 20: 0.8, 25: 0.6, 26: 0.4},  # fear
    {6: 0.8, 12: 1.0, 25: 0.7, 26: 0.15},  # happy
    {1: 0.9, 4: 0.5, 7: 0.2, 15: 1.0, 17: 0.5},  # sad
    {1: 0.9, 2: 1.0, 5: 0.8, 25: 0.7, 26: 0.9},  # surprise
    {},  # neutral
)
UNITS = sorted(set().union(*EMOTIONS))


@dataclass(frozen=True)
class Faces:
    """Drawn faces: images uint8 (n, 48, 48); labels uint8 (n,); masks bool (n, 48, 48), True where the expression is
    drawn; emotions uint8 (n,), what each face shows, which its label misses now and then."""

    images: np.ndarray
    labels: np.ndarray
    masks: np.ndarray
    emotions: np.ndarray


def draw(n: int, seed: int = 0, emotions: np.ndarray | None = None) -> Faces:
    """Draw faces of n different people.

    Args:
        n: number of faces.
        seed: int from 0. The same seed gives the same people, poses and light, whatever their emotions.
        emotions: uint8 (n,), what to draw, 0..6; the labels then equal it. None draws labels with the shares of
            FER-2013's training split and LABEL_NOISE.

    Returns:
        Faces: images uint8 (n, 48, 48), 0..255; labels and emotions uint8 (n,); masks bool (n, 48, 48).

    Raises:
        InputError: emotions of another length, or outside 0..6.

    Source: Ekman and Friesen, Facial Action Coding System (1978).
    """
    who, how, what, photo = (np.random.default_rng([seed, part]) for part in range(4))
    if emotions is None:
        shares = np.array(OFFICIAL_COUNTS["training"]) / sum(OFFICIAL_COUNTS["training"])
        labels = what.choice(len(CLASSES), n, p=shares).astype(np.uint8)
        emotions = np.where(what.random(n) < LABEL_NOISE, np.take(PAIRS, labels), labels).astype(np.uint8)
    else:
        labels = emotions = np.asarray(emotions, np.uint8)
        if labels.shape != (n,) or (n and labels.max() >= len(CLASSES)):
            raise InputError(f"emotions has shape {labels.shape}: draw({n}) takes {n} integers from 0 to 6")
    person = _person(n, who)
    both = person, _muscles(emotions, how)
    shapes = [*_head(person), *_nose(*both), *_eyes(*both), *_mouth(*both), *_glasses(person)]  # from back to front
    pose = _pose(n, photo)
    images, masks = _paint(shapes, person, pose, photo)
    return Faces(_photograph(images, pose, photo), labels, masks, emotions)


# Arrays of one value a face are (n, 1, 1), so that a curve of K points is (n, 1, K), or (n, 2, K) for a left and right.
SIDE = np.array([-1, 1])[None, :, None]
T = np.linspace(-1, 1, 11)[None, None, :]  # along a curve
RING = np.linspace(0, 2 * np.pi, 21)[None, None, :]  # around a closed one


def _person(n, rng):
    """Who it is: dict of (n, 1, 1) arrays, in face units, grey levels 0..255 or yes/no."""

    def normal(mean, spread, sides=1):
        return mean + spread * rng.standard_normal((n, sides, 1)).clip(-2.2, 2.2)

    def chance(share):
        return rng.random((n, 1, 1)) < share

    skin = rng.triangular(105, 170, 210, (n, 1, 1))
    grey_haired = chance(0.1)
    hair = np.where(grey_haired, normal(170, 20), (skin - 100 + normal(0, 30)).clip(12, 130))
    bald = chance(0.06)
    long = chance(0.4) & ~bald
    return {
        "skin": skin,
        "hair": hair,
        "bald": bald,
        "long": long,
        "glasses": chance(0.08),
        "beard": chance(0.05) & ~long,
        "moustache": chance(0.04) & ~long,
        "frame": normal(45, 15),
        "iris": normal(55, 18),
        "lips": normal(0.72, 0.06),
        "width": normal(1.0, 0.05),
        "jaw": normal(0.2, 0.07),
        "chin": normal(1.4, 0.06),
        "hairline": normal(-0.78, 0.1),
        "parting": normal(0, 0.12),
        "sides": normal(0.0, 0.2),
        "volume": normal(0.14, 0.05),
        "eye_x": normal(0.42, 0.025),
        "eye_width": normal(0.24, 0.02),
        "eye_open": normal(0.1, 0.016),
        "eye_tilt": normal(0, 0.02),
        "brow_y": normal(-0.28, 0.02) + normal(0, 0.008, 2),
        "brow_thick": normal(0.05, 0.014),
        "brow_arch": normal(0.05, 0.02),
        "brow_tilt": normal(0, 0.02),
        "nose_y": normal(0.5, 0.04),
        "nose_width": normal(0.17, 0.02),
        "mouth_y": normal(0.88, 0.03),
        "mouth_width": normal(0.42, 0.03),
        "mouth_rest": normal(0, 0.02),
        "lip_up": normal(0.065, 0.015),
        "lip_low": normal(0.09, 0.018),
        "folds": normal(0.1, 0.1).clip(0),
        "gaze": normal(0, 0.02),
    }


def _muscles(emotions, rng):
    """What the face does: dict of action unit -> (n, 1, 1) strength, 0..1.

    A face shows its emotion with an intensity of 0.9..1.3, each unit of it stronger or weaker, and a little of any
    other unit besides.
    """
    typical = np.array([[emotion.get(unit, 0) for unit in UNITS] for emotion in EMOTIONS])[emotions]
    strength = typical * rng.uniform(0.9, 1.3, (len(emotions), 1)) * rng.uniform(0.9, 1.1, typical.shape)
    strength = strength + np.abs(0.03 * rng.standard_normal(typical.shape))
    return {unit: column[:, None, None] for unit, column in zip(UNITS, strength.clip(0, 1).T)}


@dataclass(frozen=True)
class _Shape:
    points: np.ndarray  # (n, polygons, K, 2), face units
    grey: np.ndarray  # (n,), 0..255
    shown: np.ndarray  # (n,) bool
    soft: bool = False  # blurred: drawn before everything that is not
    expressive: bool = False  # belongs to the mask; what lies within such a shape need not say so again


def _shape(x, y, grey, shown=True, **kind):
    x, y, grey, shown = np.broadcast_arrays(x, y, grey, shown)
    return _Shape(np.stack([x, y], -1), grey[:, 0, 0].clip(0, 255), shown[:, 0, 0], **kind)


def _between(x, y, x_back, y_back):
    """The polygon along one curve and back along another."""

    def join(there, back):
        return np.concatenate(np.broadcast_arrays(there, np.flip(back, -1)), -1)

    x, x_back, y, y_back = np.broadcast_arrays(x, x_back, y, y_back)
    return join(x, x_back), join(y, y_back)


def _stroke(x, y, thick):
    """A lying line as a polygon, `thick` high."""
    return _between(x, y - thick / 2, x, y + thick / 2)


def _upright(x, y, thick):
    """A standing line as a polygon, `thick` wide."""
    return _between(x - thick / 2, y, x + thick / 2, y)


def _head(p):
    skin, hair, cos, sin = p["skin"], p["hair"], np.cos(RING), np.sin(RING)
    below = sin.clip(0)
    outline_x = p["width"] * (1 - p["jaw"] * below**2) * np.sign(cos) * np.abs(cos) ** 0.85
    outline_y = np.where(sin > 0, p["chin"], 1.25) * sin
    crown = 1 + p["volume"]
    long_x = outline_x * (crown + 0.08) + 0.12 * np.sign(cos) * below
    yield _shape(long_x, outline_y * crown + 0.3 * below, hair * 0.8, p["long"], soft=True)
    yield _shape(0.55 * np.sign(cos), 1.6 + 0.7 * np.sign(sin), skin * 0.7, soft=True)  # neck
    yield _shape(1.5 * cos, 2.35 + 0.6 * sin, 255 - hair, soft=True)  # clothes
    yield _shape(SIDE * (p["width"] + 0.02) + 0.09 * cos, 0.15 + 0.2 * sin, skin * 0.85, ~p["long"], soft=True)  # ears
    yield _shape(outline_x, outline_y, skin, soft=True)
    # hair on the forehead: along the crown, back along the hairline
    round_x, flat = np.sin(T * np.pi / 2), 1 - np.cos(T * np.pi / 2)
    top = 1.25 * crown * (flat - 1) + p["sides"] * flat
    parted = p["hairline"] + p["parting"] * T
    line = parted + (p["sides"] - parted) * np.abs(T) ** 5
    front = _between(p["width"] * 1.04 * crown**0.6 * round_x, top, 0.98 * p["width"] * T, line)
    yield _shape(*front, hair, ~p["bald"], soft=True)
    jaw_x, jaw_y = outline_x[..., 1:10], outline_y[..., 1:10]  # the outline from ear to ear, by the chin
    beard = _between(jaw_x, jaw_y, 0.97 * jaw_x, 0.62 - 0.4 * np.abs(jaw_x / p["width"]) ** 3)
    yield _shape(*beard, skin * 0.35 + hair * 0.5, p["beard"], soft=True)
    yield _shape(SIDE * p["eye_x"] + 0.3 * cos, -0.04 + 0.17 * sin, skin * 0.86, soft=True)  # eye sockets
    yield _shape(SIDE * 0.55 + 0.2 * cos, 0.42 + 0.16 * sin, skin * 1.06, soft=True)  # cheeks


def _nose(p, au):
    skin, cos, sin, down = p["skin"], np.cos(RING), np.sin(RING), (T + 1) / 2
    base = p["nose_y"] - 0.07 * au[9] - 0.03 * au[10]
    wide = p["nose_width"] * (1 + 0.15 * au[9] + 0.12 * au[12])
    flank = _upright(SIDE * (0.1 + (wide - 0.08) * down**2), -0.1 + (base + 0.02) * down, 0.06)
    yield _shape(*flank, skin * 0.9, soft=True)
    yield _shape(*_upright(0, -0.05 + (base - 0.05) * down, 0.1), skin * 1.08, soft=True)  # its back catches the light
    yield _shape(wide * 0.9 * cos, base + 0.05 + 0.06 * sin, skin * 0.8, soft=True)
    yield _shape(SIDE * wide * 0.55 + 0.065 * cos, base + 0.03 * sin, skin * 0.42, expressive=True)  # nostrils
    wings = _upright(SIDE * (wide + 0.03 - 0.05 * T**2), base - 0.03 + 0.09 * T, 0.04)
    yield _shape(*wings, skin * 0.7, expressive=True)
    for k in range(3):  # AU 9: wrinkles across the bridge
        wrinkle = _stroke(0.16 * T, 0.02 + 0.1 * k + 0.05 * np.abs(T), 0.035 * (1 - T**2) + 0.01)
        yield _shape(*wrinkle, skin * (1 - 0.45 * au[9]), au[9] > 0.3, expressive=True)


def _eyes(p, au):
    skin, cos, sin = p["skin"], np.cos(RING), np.sin(RING)
    x, half = SIDE * p["eye_x"], p["eye_width"]
    open_up = p["eye_open"] * (1 + 0.9 * au[5] - 0.45 * au[7] - 0.3 * au[6] - 0.25 * au[9]).clip(0.25)
    open_low = 0.055 * (1 + 0.25 * au[5] - 0.6 * au[7] - 0.75 * au[6] - 0.4 * au[9]).clip(0.1)

    def upper_lid(t):
        return p["eye_tilt"] * t - open_up * (1 - np.abs(t) ** 2.3)

    def lower_lid(t):
        return p["eye_tilt"] * t + open_low * (1 - t**2)

    along, lid_up, lid_low = x + SIDE * half * T, upper_lid(T), lower_lid(T)
    yield _shape(*_between(along, lid_up, along, lid_low), skin * 0.3 + 135, expressive=True)
    for radius, grey in ((0.1, p["iris"]), (0.05, 8)):  # iris and pupil, as far as the lids leave them free
        ball_x = p["gaze"] + radius * cos
        t = SIDE * ball_x / half
        yield _shape(x + ball_x, np.clip(radius * sin - 0.02, upper_lid(t), lower_lid(t)), grey)
    yield _shape(*_stroke(along, lid_up, 0.045), skin * 0.28)
    yield _shape(*_stroke(along, lid_low, 0.02), skin * 0.62)
    crease = _stroke(along, lid_up - 0.06 + 0.02 * au[5], 0.02)
    yield _shape(*crease, skin * 0.72, au[5] < 0.6, expressive=True)
    pouch = _stroke(along * 1.02, lid_low + 0.09 - 0.02 * au[6], 0.03)
    yield _shape(*pouch, skin * (0.95 - 0.25 * np.maximum(au[6], 0.6 * au[7])), expressive=True)
    for slope in (-0.4, 0.35):  # AU 6: crow's feet
        foot = _stroke(x + SIDE * (half + 0.09 + 0.06 * T), slope * (0.06 + 0.06 * T), 0.02)
        yield _shape(*foot, skin * (1 - 0.3 * au[6]), au[6] > 0.3, expressive=True)
    inner, outer = (1 - T) / 2, (1 + T) / 2
    brow = p["brow_y"] - p["brow_arch"] * (1 - T**2) + p["brow_tilt"] * T + 0.05 * au[9] * inner
    brow = brow - 0.2 * au[1] * inner**1.3 - 0.2 * au[2] * outer**1.2 + au[4] * (0.06 + 0.14 * inner**1.5)
    across = x + SIDE * (0.04 + 0.29 * T - 0.06 * au[4] * inner)
    brows = _stroke(across, brow, p["brow_thick"] * (1.1 + 0.9 * inner))
    yield _shape(*brows, p["hair"] * 0.55 + skin * 0.15, expressive=True)
    frown = _upright(SIDE * 0.07, p["brow_y"] + 0.06 + 0.1 * T, 0.035)
    yield _shape(*frown, skin * (1 - 0.4 * au[4]), au[4] > 0.25, expressive=True)


def _mouth(p, au):
    skin, lips, hair = p["skin"], p["skin"] * p["lips"], p["hair"]
    bow, down = 1 - T**2, (T + 1) / 2
    wide = p["mouth_width"] * (1 + 0.3 * au[12] + 0.3 * au[20] - 0.22 * au[23] - 0.1 * au[17] - 0.18 * au[26])
    along = wide * T
    corner = p["mouth_rest"] - 0.22 * au[12] + 0.2 * au[15] + 0.05 * au[20]
    middle = p["mouth_y"] + 0.03 * au[12] + corner * np.abs(T) ** 1.6 - (0.06 * au[17] + 0.03 * au[10]) * bow
    parted = au[25] * (0.03 + 0.13 * au[12] + 0.08 * au[20] + 0.08 * au[10])
    gap = (parted + 0.38 * au[26]) * (1 - 0.6 * au[17])
    upper = middle - (0.25 * gap + 0.07 * au[10] * au[25]) * bow
    lower = middle + 0.75 * gap * bow**0.8
    full = (1 - 0.65 * au[23]) * (1 - 0.25 * au[20]) * (1 - 0.25 * au[12]) * bow**0.6
    lip_up = p["lip_up"] * full * (1 + 0.3 * au[10]) * (1 - 0.3 * np.exp(-((T / 0.18) ** 2)))
    lip_low = p["lip_low"] * full
    # the folds from the nose to the corners of the mouth
    top, end = p["nose_y"] - 0.04 - 0.07 * au[9], p["mouth_y"] - 0.06 - 0.08 * au[12] + 0.08 * au[15]
    fold_x = p["nose_width"] + 0.06 + (wide + 0.02 - p["nose_width"]) * down**1.2 + 0.05 * np.sin(np.pi * down)
    depth = np.maximum.reduce([au[12], au[10], 0.9 * au[9], p["folds"]])
    yield _shape(*_upright(SIDE * fold_x, top + (end - top) * down, 0.045), skin * (1 - 0.3 * depth), expressive=True)
    moustache = _stroke(0.26 * T, p["nose_y"] + 0.21 - 0.06 * au[10], 0.06 + 0.04 * bow)
    yield _shape(*moustache, hair * 0.7 + skin * 0.2, p["moustache"] | p["beard"])
    yield _shape(*_between(along, upper - lip_up, along, upper), lips, expressive=True)
    yield _shape(*_between(along, lower, along, lower + lip_low), lips * 1.12, expressive=True)
    yield _shape(*_between(along, upper, along, lower), 0.18 * skin, gap > 0.015, expressive=True)
    teeth = _between(along * 0.92, upper, along * 0.92, np.minimum(upper + 0.11 * bow**0.5, lower))
    yield _shape(*teeth, skin * 0.25 + 165, gap * (au[12] + au[20] + au[10]) > 0.02)
    yield _shape(*_stroke(along, upper, 0.03), skin * 0.4)
    under = _stroke(0.6 * along, lower + p["lip_low"] + 0.05 + 0.02 * T**2, 0.05 * bow + 0.01)
    yield _shape(*under, skin * (0.88 - 0.25 * au[17]), expressive=True)


def _glasses(p):
    x = SIDE * p["eye_x"]
    across, down = (np.sign(f) * np.abs(f) ** 0.7 for f in (np.cos(RING), np.sin(RING)))
    frame = _between(x + 0.32 * across, 0.03 + 0.23 * down, x + 0.27 * across, 0.03 + 0.18 * down)
    yield _shape(*frame, p["frame"], p["glasses"])
    yield _shape(*_stroke(0.12 * T, -0.04 - 0.03 * (1 - T**2), 0.045), p["frame"], p["glasses"])


def _pose(n, rng):
    """How the head is held: dict of (n, 1, 1) arrays, in radians and pixels of the final image."""

    def normal(mean, spread):
        return mean + spread * rng.standard_normal((n, 1, 1)).clip(-2.5, 2.5)

    return {
        "roll": normal(0, 0.03),
        "yaw": normal(0, 0.05),
        "pitch": normal(0, 0.02),
        "scale": normal(18.5, 0.5),
        "x": normal(IMAGE_SIZE / 2, 0.4),
        "y": normal(IMAGE_SIZE / 2 - 2.5, 0.4),
    }


def _place(points, person, pose):
    """Face units -> pixels of the final image: turn the head (its points have a depth), then roll, scale, shift."""
    x, y = points[..., 0], points[..., 1]
    depth = 0.8 * np.sqrt((1 - (x / person["width"]) ** 2 - (y / 1.45) ** 2).clip(0))
    turned_x = x * np.cos(pose["yaw"]) + depth * np.sin(pose["yaw"])
    turned_y = y * np.cos(pose["pitch"]) + depth * np.sin(pose["pitch"])
    cos, sin = np.cos(pose["roll"]), np.sin(pose["roll"])
    rolled = np.stack([cos * turned_x - sin * turned_y, sin * turned_x + cos * turned_y], -1)
    return np.concatenate([pose["x"], pose["y"]], -1)[:, :, None] + pose["scale"][..., None] * rolled


def _paint(shapes, person, pose, rng):
    """Rasterise: images and masks, uint8 and bool (n, 48, 48)."""
    n = len(person["skin"])
    prepared = []
    for shape in sorted(shapes, key=lambda shape: not shape.soft):
        pixels = _place(shape.points, person, pose) * (CANVAS / IMAGE_SIZE) - 0.5
        sixteenths = np.rint(pixels * 16).astype(np.int32, order="C")  # what fillPoly takes
        prepared.append((sixteenths, shape.grey.tolist(), shape.shown.tolist(), shape.soft, shape.expressive))
    wall = rng.uniform(40, 190, n)
    near = np.ones((3, 3), np.uint8)
    images, masks = np.empty((2, n, IMAGE_SIZE, IMAGE_SIZE), np.uint8)
    for k in range(n):
        canvas, mask = np.full((CANVAS, CANVAS), wall[k], np.uint8), np.zeros((IMAGE_SIZE, IMAGE_SIZE), np.uint8)
        blurred = False
        for points, grey, shown, soft, expressive in prepared:
            if not shown[k]:
                continue
            if not soft and not blurred:
                canvas, blurred = cv2.blur(canvas, (3, 3)), True
            polygons = list(points[k])
            cv2.fillPoly(canvas, polygons, grey[k], cv2.LINE_AA, 4)
            if expressive:
                cv2.fillPoly(mask, polygons, 255, cv2.LINE_8, 5)  # the same points at half the scale
        images[k] = cv2.resize(canvas, (IMAGE_SIZE, IMAGE_SIZE), interpolation=cv2.INTER_AREA)
        masks[k] = cv2.morphologyEx(cv2.dilate(mask, near), cv2.MORPH_CLOSE, near)
    return images, masks > 0


def _photograph(images, pose, rng):
    """Light from one side, exposure, a lens that is not quite sharp, and the noise of the sensor."""
    n = len(images)
    for image, sigma in zip(images, rng.uniform(0.25, 0.5, n)):
        image[:] = cv2.GaussianBlur(image, (0, 0), sigma)
    light_x, light_y = rng.normal(0, 0.05, (n, 1, 1)), rng.normal(-0.05, 0.03, (n, 1, 1))
    across = ((np.arange(IMAGE_SIZE)[None, None, :] - pose["x"]) / 26).astype(np.float32)
    down = ((np.arange(IMAGE_SIZE)[None, :, None] - pose["y"] - 2) / 30).astype(np.float32)
    towards = np.sqrt((1 - 0.7 * (across**2 + down**2)).clip(0.05))  # the head as half an egg: its normal to the camera
    light = 0.35 + 0.65 * (towards + light_x.astype(np.float32) * across + light_y.astype(np.float32) * down).clip(0)
    exposure = rng.uniform(0.9, 1.15, (n, 1, 1)).astype(np.float32)
    noise = rng.uniform(1, 3, (n, 1, 1)).astype(np.float32) * rng.standard_normal(images.shape, dtype=np.float32)
    return np.clip(np.rint(images * light * exposure + noise), 0, 255).astype(np.uint8)
