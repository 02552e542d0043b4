"""What a user would otherwise do with the networks: the tutorials' ways, written out plainly. Only for comparison."""

import keras
import tensorflow as tf

from ferhelpers.models import BLOCKS


def build(blocks):
    """The report's network as its listing has it (section 5.2), with Keras' own layers, in float32."""
    model = keras.Sequential([keras.Input((48, 48, 1))])
    for block, (filters, convolutions) in enumerate(BLOCKS[:blocks], start=1):
        for convolution in range(1, convolutions + 1):
            model.add(
                keras.layers.Conv2D(
                    filters, (3, 3), padding="same", activation="relu", name=f"conv{block}_{convolution}"
                )
            )
            model.add(keras.layers.BatchNormalization())
        model.add(keras.layers.MaxPooling2D((2, 2)))
        model.add(keras.layers.Dropout(0.3))
    model.add(keras.layers.Flatten())
    model.add(keras.layers.Dense(7, activation="softmax"))
    model.compile(keras.optimizers.Adam(1e-4), "categorical_crossentropy", metrics=["accuracy"])
    return model


def batches(images, labels, batch_size):
    """The report's augmentation (section 5.2), by Keras' old generator."""
    generator = tf.keras.preprocessing.image.ImageDataGenerator(
        rotation_range=10, width_shift_range=0.1, height_shift_range=0.1, horizontal_flip=True, fill_mode="nearest"
    )
    return generator.flow(images[..., None].astype("float32"), keras.utils.to_categorical(labels, 7), batch_size)


def gradcam(model, image, layer):
    """One layer of one image, as the Keras documentation has it: a model with two outputs, and its gradient."""
    network = keras.Model(model.inputs, [model.get_layer(layer).output, model.output])
    with tf.GradientTape() as tape:
        activations, logits = network([image[None, ..., None].astype("float32")])
        score = tf.reduce_max(logits, axis=-1)
    weights = tf.reduce_mean(tape.gradient(score, activations), axis=(1, 2))
    heat = tf.nn.relu(tf.reduce_sum(activations * weights[:, None, None], axis=-1))[0]
    return (heat / (tf.reduce_max(heat) + keras.backend.epsilon())).numpy()
