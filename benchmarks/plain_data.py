"""What a user would otherwise do with the data: the tutorials' ways, written out plainly. Only for comparison."""

import random

import cv2
import numpy as np
import pandas as pd


def read_csv(path):
    """Row by row: every image of fer2013.csv and its label, for the three splits."""
    table = pd.read_csv(path)
    splits = {"Training": ([], []), "PublicTest": ([], []), "PrivateTest": ([], [])}
    for _, row in table.iterrows():
        images, labels = splits[row["Usage"]]
        images.append(np.array(row["pixels"].split(" "), "float32").reshape(48, 48))
        labels.append(row["emotion"])
    return {usage: (np.array(images, "float32"), np.array(labels)) for usage, (images, labels) in splits.items()}


def distort(images):
    """The report's five distortions, image by image, as its section 5.1 and the snippets that it names have them."""
    return [[distortion(image) for image in images] for distortion in (blur, noise, salt_and_pepper, speckle, occlude)]


def blur(image):
    return cv2.GaussianBlur(image, (7, 7), 0)


def noise(image):
    gaussian = (0.25 * np.random.normal(0, 2, image.shape)).astype("int8").view("uint8")  # as a cast to uint8 wraps
    return cv2.addWeighted(image, 0.75, gaussian, 0.25, 0)


def salt_and_pepper(image):
    image = image.copy()
    height, width = image.shape
    for colour in (255, 0):
        for _ in range(random.randint(30, 500)):
            row = random.randint(0, height - 1)
            column = random.randint(0, width - 1)
            image[row][column] = colour
    return image


def speckle(image):
    gaussian = np.random.normal(0, 1, image.size).reshape(image.shape).astype("int8").view("uint8")
    return image + image * gaussian


def occlude(image):
    image = image.copy()
    x, y = random.choice([(0, 0), (24, 0), (0, 24), (24, 24)])
    return cv2.rectangle(image, (x, y), (x + 23, y + 23), 0, -1)
