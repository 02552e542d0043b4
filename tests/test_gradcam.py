"""Grad-CAM: the map peaks where a network with known weights looks, and a trained one looks at the expression."""

import keras
import numpy as np
import pytest
from keras import layers

from ferhelpers import backend, faces, gradcam
from ferhelpers.errors import InputError
from ferhelpers.models import build_cnn, build_efficientnet

pytestmark = pytest.mark.slow

SIDE = 12


def bright_or_dark():
    """Two 1x1 filters, x and 255 - x; class 0 wants the bright one, class 1 the dark one, class 2 neither."""
    inputs = keras.Input((SIDE, SIDE, 1))
    both = layers.Conv2D(2, 1, activation="relu", name="both")(inputs)
    pooled = layers.GlobalAveragePooling2D()(both)
    model = keras.Model(inputs, layers.Dense(3, name="output")(pooled))
    model.get_layer("both").set_weights([np.array([[[[1.0, -1.0]]]]), np.array([0.0, 255.0])])
    model.get_layer("output").set_weights([np.array([[1.0, -1.0, -1.0], [-1.0, 1.0, -1.0]]), np.zeros(3)])
    return model


def two_stages():
    """`edges` finds vertical edges at full size; `deep`, after pooling, passes them on; only class 0 wants them."""
    inputs = keras.Input((SIDE, SIDE, 1))
    x = layers.Conv2D(1, 3, padding="same", activation="relu", name="edges")(inputs)
    x = layers.MaxPooling2D()(x)
    x = layers.Conv2D(1, 1, activation="relu", name="deep")(x)
    model = keras.Model(inputs, layers.Dense(2, name="output")(layers.Flatten()(x)))
    sobel = np.array([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]).reshape(3, 3, 1, 1)
    model.get_layer("edges").set_weights([sobel, np.zeros(1)])
    model.get_layer("deep").set_weights([np.full((1, 1, 1, 1), 0.5), np.zeros(1)])
    ones = np.ones((SIDE // 2) ** 2)
    model.get_layer("output").set_weights([np.stack([ones, -ones], axis=1), np.zeros(2)])
    return model


def spots(*places, low=0, high=200):
    images = np.full((len(places), SIDE, SIDE), low, np.uint8)
    for image, (row, column) in zip(images, places):
        image[row, column] = high
    return images


def noise(count, side=48, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, side, side)).astype(np.uint8)


@pytest.fixture(scope="module")
def small_cnn():
    keras.utils.set_random_seed(3)
    return build_cnn(blocks=2, width=0.1, augmentation=True)


def test_values_between_follow_the_formula():
    image = np.full((1, SIDE, SIDE), 10, np.uint8)
    image[0, 0, :3] = 255, 200, 150
    [heat] = gradcam.heatmaps(bright_or_dark(), image, "both", classes=0)["both"]
    # w = (1, -1) / SIDE^2: relu(x - (255 - x)), divided by its maximum.
    expected = np.zeros((SIDE, SIDE))
    expected[0, :3] = np.array([255, 2 * 200 - 255, 2 * 150 - 255]) / 255
    assert heat.dtype == np.float32
    np.testing.assert_allclose(heat, expected, atol=1e-6)


def test_the_predicted_class_is_the_default():
    images = np.uint8([250, 40])[:, None, None].repeat(SIDE, 1).repeat(SIDE, 2)
    images[:, 5, 5] = 255 - images[:, 5, 5]
    by_default = gradcam.heatmaps(bright_or_dark(), images)["both"]
    np.testing.assert_allclose(by_default, gradcam.heatmaps(bright_or_dark(), images, classes=[0, 1])["both"])
    assert (by_default[:, 5, 5] == 0).all() and (by_default[:, 0, 0] == 1).all()


def test_maps_are_zero_never_nan_where_nothing_speaks_for_the_class():
    images = np.concatenate([spots((3, 3)), np.zeros((1, SIDE, SIDE), np.uint8)])
    np.testing.assert_array_equal(gradcam.heatmaps(bright_or_dark(), images, classes=2)["both"], 0)
    maps = gradcam.heatmaps(two_stages(), images, classes=[0, 0])
    assert maps["edges"][0].max() == 1 and maps["deep"][0].max() == 1
    np.testing.assert_array_equal(maps["edges"][1], 0)  # the black image has no edge at all
    np.testing.assert_array_equal(maps["deep"][1], 0)
    np.testing.assert_array_equal(gradcam.heatmaps(two_stages(), images, classes=1)["edges"], 0)


def test_every_layer_has_its_own_resolution_and_peak():
    maps = gradcam.heatmaps(two_stages(), spots((4, 7)), classes=0)
    assert list(maps) == ["edges", "deep"]
    # The filter answers to a rise from left to right: strongest one pixel left of the spot, in its row.
    assert maps["edges"].shape == (1, SIDE, SIDE)
    assert np.unravel_index(maps["edges"][0].argmax(), (SIDE, SIDE)) == (4, 6)
    np.testing.assert_allclose(maps["edges"][0, 3:6, 6], [0.5, 1, 0.5])
    assert maps["edges"].sum() == pytest.approx(2)
    assert maps["deep"].shape == (1, SIDE // 2, SIDE // 2)
    np.testing.assert_allclose(maps["deep"][0, 1:3, 3], [0.5, 1])
    assert maps["deep"].sum() == pytest.approx(1.5)


def test_classes_may_differ_from_image_to_image():
    images = spots((2, 2), (9, 4))
    maps = gradcam.heatmaps(bright_or_dark(), images, classes=[1, 0])["both"]
    assert maps[0, 2, 2] == 0 and maps[0].sum() == pytest.approx(SIDE**2 - 1)
    assert maps[1, 9, 4] == 1 and maps[1].sum() == pytest.approx(1)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the reference is written for TensorFlow")
@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_all_layers_at_once_equal_one_model_per_layer_and_image(precision):
    import tensorflow as tf

    keras.config.set_dtype_policy(precision)
    try:
        model = build_cnn(blocks=3, width=0.1)
    finally:
        keras.config.set_dtype_policy("float32")
    images = noise(3)
    maps = gradcam.heatmaps(model, images)
    assert list(maps) == [f"conv{block}_{k + 1}" for block in (1, 2, 3) for k in range(block + 1)]
    for name, heat in maps.items():
        for image, one in zip(images, heat):
            part = keras.Model(model.input, [model.get_layer(name).output, model.output])
            with tf.GradientTape() as tape:
                activation, logits = part(image[None, ..., None], training=False)
                logit = logits[0, int(tf.argmax(logits[0]))]
            gradient = tf.cast(tape.gradient(logit, activation), "float32").numpy()[0]
            plain = np.maximum((tf.cast(activation, "float32").numpy()[0] * gradient.mean((0, 1))).sum(-1), 0)
            np.testing.assert_allclose(one, plain / plain.max() if plain.max() else plain, atol=1e-4)


def test_a_batch_equals_one_by_one_and_lies_in_0_to_1(small_cnn):
    images = noise(gradcam.BATCH + 3)
    together = gradcam.heatmaps(small_cnn, images)
    assert all(maps.min() >= 0 and set(maps.max(axis=(1, 2))) <= {0.0, 1.0} for maps in together.values())
    for index in (0, gradcam.BATCH - 1, gradcam.BATCH, len(images) - 1):
        alone = gradcam.heatmaps(small_cnn, images[index : index + 1])
        for name in together:
            np.testing.assert_allclose(together[name][index], alone[name][0], atol=1e-4)


def test_a_reloaded_model_gives_the_same_maps(small_cnn, tmp_path):
    small_cnn.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    small_cnn.save(tmp_path / "model.keras")
    images = noise(2)
    before = gradcam.heatmaps(small_cnn, images)
    after = gradcam.heatmaps(keras.models.load_model(tmp_path / "model.keras"), images)
    assert list(before) == list(after)
    for name in before:
        np.testing.assert_allclose(before[name], after[name], atol=1e-6)


def test_the_model_is_left_as_it_was(small_cnn):
    images = noise(2)
    names, weights = [layer.name for layer in small_cnn.layers], small_cnn.get_weights()
    logits = small_cnn.predict(images[..., None], verbose=0)
    gradcam.heatmaps(small_cnn, images)
    assert [layer.name for layer in small_cnn.layers] == names
    for before, after in zip(weights, small_cnn.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    np.testing.assert_array_equal(small_cnn.predict(images[..., None], verbose=0), logits)


def test_efficientnet_is_reached_by_layer_name():
    model = build_efficientnet()
    maps = gradcam.heatmaps(model, noise(2), ["top_conv", "top_activation"])
    assert {name: one.shape for name, one in maps.items()} == {"top_conv": (2, 2, 2), "top_activation": (2, 2, 2)}
    assert all(np.isfinite(one).all() for one in maps.values())
    assert "top_conv" in gradcam.conv_layers(model)
    assert "block1a_se_reduce" not in gradcam.conv_layers(model)


def test_a_trained_network_looks_at_the_expression_more_than_chance():
    """Mean share of the heat that lies on the expression mask: chance is the mask's share of the area (about 0.26)."""
    keras.utils.set_random_seed(0)
    inputs = x = keras.Input((48, 48, 1))
    for name, filters, kernel, stride in [("a", 16, 5, 2), ("b", 32, 3, 1), ("c", 64, 3, 2), ("d", 64, 3, 1)]:
        x = layers.Conv2D(filters, kernel, stride, padding="same")(x)
        x = layers.ReLU(name=name)(layers.BatchNormalization(momentum=0.9)(x))
    model = keras.Model(inputs, layers.Dense(7, name="output")(layers.GlobalAveragePooling2D()(x)))
    training, test = faces.draw(1500, seed=1), faces.draw(200, seed=2)

    def share_on_mask():
        heat = gradcam.resize(gradcam.heatmaps(model, test.images, "d")["d"])
        total = heat.sum(axis=(1, 2))
        return ((heat * test.masks).sum(axis=(1, 2))[total > 0] / total[total > 0]).mean()

    chance, untrained = test.masks.mean(), share_on_mask()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.005), loss, jit_compile=backend.jit_compile())
    model.fit(training.images[..., None], training.labels, batch_size=64, epochs=8, verbose=0)
    trained = share_on_mask()
    assert trained > 1.5 * chance, (trained, chance)
    assert trained > 1.25 * untrained, (trained, untrained)


def test_wrong_input_is_refused_in_one_line(small_cnn):
    inputs = [keras.Input((SIDE, SIDE, 1)) for _ in range(2)]
    two_inputs = keras.Model(inputs, layers.Dense(3)(layers.Flatten()(layers.Add()(inputs))))
    twice = layers.Conv2D(1, 3, padding="same", name="twice")
    used_twice = keras.Model(inputs[0], layers.Dense(3)(layers.Flatten()(twice(twice(inputs[0])))))
    a_map = keras.Model(inputs[0], layers.Conv2D(3, 3)(inputs[0]))
    never_built = keras.Sequential([layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(3)])
    images = noise(2)
    for arguments, message in [
        ((two_inputs, spots((1, 1))), "several inputs"),
        ((used_twice, spots((1, 1))), "'twice' is used twice"),
        ((a_map, spots((1, 1))), "one vector of logits"),
        ((None, spots((1, 1))), "one vector of logits"),
        ((small_cnn, None), r"images of shape \(\)"),
        ((never_built, spots((1, 1))), "never built"),
        ((small_cnn, images, "conv9_1"), r"no layer 'conv9_1' .* it has .*conv2_3"),
        ((small_cnn, images, ["flatten"]), "no layer 'flatten' with a 2-D output"),
        ((small_cnn, images[:, :40]), r"\(2, 40, 48\) do not fit .* \('N', 48, 48, 1\)"),
        ((small_cnn, images[:0]), "at least one image"),
        ((small_cnn, images, None, 7), r"0\.\.6"),
        ((small_cnn, images, None, [0, 1, 2]), "one integer or 2"),
        ((small_cnn, images, None, 0.5), "integer"),
    ]:
        with pytest.raises(InputError, match=message) as caught:
            gradcam.heatmaps(*arguments)
        assert "\n" not in str(caught.value)


def foreign(kind):
    """`two_stages` in another form, which gives the same maps."""
    model = two_stages()
    inputs = keras.Input((SIDE, SIDE, 1))
    if kind == "sequential":
        return keras.Sequential([keras.Input((SIDE, SIDE, 1)), *model.layers[1:]])
    if kind == "nested":
        return keras.Model(inputs, model(inputs))
    inside = keras.Model(model.inputs, model.get_layer("edges").output)
    if kind == "nested twice":
        first = keras.Sequential([keras.Input((SIDE, SIDE, 1)), inside])
        return keras.Model(inputs, keras.Sequential(model.layers[2:])(first(inputs)))
    colour = keras.Input((SIDE, SIDE, 3))
    grey = layers.Lambda(lambda image: keras.ops.mean(image, axis=-1, keepdims=True))(colour)
    return keras.Model(colour, model(grey))


@pytest.mark.parametrize("kind", ["sequential", "nested", "nested twice", "colour"])
def test_models_of_other_forms_have_the_same_maps(kind):
    images = noise(3, SIDE)
    expected = gradcam.heatmaps(two_stages(), images)
    maps = gradcam.heatmaps(foreign(kind), images)
    assert list(maps) == list(expected) == ["edges", "deep"]
    for name, heat in expected.items():
        np.testing.assert_allclose(maps[name], heat, atol=1e-5)


def test_separable_and_depthwise_convolutions_have_maps():
    inputs = keras.Input((20, 30, 3))
    x = layers.DepthwiseConv2D(1, name="depthwise")(inputs)
    x = layers.SeparableConv2D(4, 3, name="separable")(x)
    model = keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))
    model.get_layer("depthwise").set_weights([np.array([1.0, 0, 0]).reshape(1, 1, 3, 1), np.zeros(3)])
    images = np.zeros((1, 20, 30, 3), np.uint8)
    images[0, 5, 7] = 255
    maps = gradcam.heatmaps(model, images)
    assert {name: heat.shape for name, heat in maps.items()} == {"depthwise": (1, 20, 30), "separable": (1, 18, 28)}
    heat = maps["depthwise"][0]
    assert heat.max() == 0 or np.unravel_index(heat.argmax(), heat.shape) == (5, 7)


def test_resize_is_bilinear():
    maps = np.array([[[0, 1], [0, 1]], [[0.5, 0.5], [0.5, 0.5]]], np.float32)
    large = gradcam.resize(maps)
    ramp = np.clip((np.arange(48) + 0.5) / 24 - 0.5, 0, 1)  # between the centres of the two pixels
    np.testing.assert_allclose(large[0], np.tile(ramp, (48, 1)), atol=1e-6)
    np.testing.assert_allclose(large[1], 0.5)
    np.testing.assert_array_equal(gradcam.resize(np.ones((3, 1, 1), np.float32)), np.ones((3, 48, 48)))


def test_overlay_leaves_cold_pixels_grey_and_colours_hot_ones():
    images = noise(1)
    maps = np.zeros((1, 48, 48), np.float32)
    maps[0, 10, 20] = 1
    coloured = gradcam.overlay(images, maps)
    assert coloured.dtype == np.uint8 and coloured.shape == (1, 48, 48, 3)
    cold = maps == 0
    np.testing.assert_array_equal(coloured[cold], np.rint(gradcam.DIM * np.repeat(images[cold][:, None], 3, axis=1)))
    red, green, blue = coloured[0, 10, 20].astype(int)
    assert min(red, green) > blue + 100  # yellow
    with pytest.raises(InputError, match="resize the maps"):
        gradcam.overlay(images, maps[:, :24])
