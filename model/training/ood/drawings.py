"""Drawn out-of-distribution footage for the demo checkpoint: text, screens, and noise with the spectrum of photographs.

Each drawing yields `count` frames, RGB uint8 of shape (height, width, 3). The same `rng` gives the same frames.
"""

import random
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Frame = NDArray[np.uint8]
WORDS = (
    "the", "quick", "market", "report", "says", "that", "rain", "fell", "over", "seven", "hills", "while", "engineers", "read",
    "every", "line", "of", "code", "twice",
)  # fmt: skip


def _sentence(rng: random.Random) -> str:
    return " ".join(rng.choices(WORDS, k=rng.randint(4, 9))).capitalize() + "."


def _text(width: int, height: int, count: int, rng: random.Random) -> Iterator[Frame]:
    """Draw a scrolling page of text on a dark or a light background."""
    is_dark = rng.random() < 0.5
    background = tuple(rng.randint(5, 60) if is_dark else rng.randint(200, 255) for _ in range(3))
    size = max(9, height // rng.choice([8, 12, 16]))
    lines = [_sentence(rng) for _ in range(60)]
    for index in range(count):
        image = Image.new("RGB", (width, height), background)
        canvas = ImageDraw.Draw(image)
        for row, line in enumerate(lines):
            position = (width // 20, row * size * 1.3 - index * size / 5)
            canvas.text(position, line, fill=(235, 235, 230) if is_dark else (20, 20, 30), font=ImageFont.load_default(size))
        yield np.asarray(image)


def _title(width: int, height: int, count: int, rng: random.Random) -> Iterator[Frame]:
    """Draw a word or a number on a plain background; it changes every second."""
    background = tuple(rng.randint(0, 90) if rng.random() < 0.7 else rng.randint(150, 255) for _ in range(3))
    size = max(12, int(height * rng.uniform(0.1, 0.45)))
    color = tuple(rng.randint(120, 255) if sum(background) < 300 else rng.randint(0, 90) for _ in range(3))
    is_number = rng.random() < 0.5
    for index in range(count):
        image = Image.new("RGB", (width, height), background)
        title = f"{index // 5 + 100}" if is_number else WORDS[index // 5 % len(WORDS)]
        position = (width // 12 + (index // 5) % 5 * width // 12, height // 4)
        ImageDraw.Draw(image).text(position, title, fill=color, font=ImageFont.load_default(size))
        yield np.asarray(image)


def _credits(width: int, height: int, count: int, rng: random.Random) -> Iterator[Frame]:
    """Draw lines of text over a dark, textured background that moves slightly."""
    background = _fractal(width + 16, height + 16, rng).astype(np.float32) * rng.uniform(0.1, 0.4)
    size = max(10, int(height * rng.uniform(0.07, 0.2)))
    lines = [_sentence(rng)[: rng.randint(4, 18)] for _ in range(rng.randint(1, 4))]
    for index in range(count):
        image = Image.fromarray(background[index % 16 :][:height, index % 11 :][:, :width].astype(np.uint8))
        for row, line in enumerate(lines):
            position = (width // 10, height // 8 + row * size * 1.2)
            ImageDraw.Draw(image).text(position, line, fill=(225, 225, 220), font=ImageFont.load_default(size))
        yield np.asarray(image)


def _spotlight(width: int, height: int, count: int, rng: random.Random) -> Iterator[Frame]:
    """Draw a dark frame in which a moving light shows a part of a textured surface."""
    texture = _fractal(width, height, rng).astype(np.float32)
    tint = np.array([rng.uniform(0.4, 1.0) for _ in range(3)])
    x, y, radius = rng.uniform(0.3, 0.7), rng.uniform(0.3, 0.7), rng.uniform(0.15, 0.35)
    for index in range(count):
        xs = (np.arange(width) / width - x - 0.1 * np.sin(index / 9))[None, :] * width / height
        ys = (np.arange(height) / height - y)[:, None]
        light = np.exp(-((xs**2 + ys**2) / (2 * radius**2)))[..., None]
        yield np.clip(texture * light * tint * 1.3, 0, 255).astype(np.uint8)


def _slides(width: int, height: int, count: int, rng: random.Random) -> Iterator[Frame]:
    """Draw slides with a title, bullets and a chart; they change every three seconds."""
    font = ImageFont.load_default
    image = Image.new("RGB", (width, height))
    for index in range(count):
        if index % 15 == 0:
            image = Image.new("RGB", (width, height), tuple(rng.randint(225, 255) for _ in range(3)))
            canvas = ImageDraw.Draw(image)
            canvas.rectangle((0, 0, width, height // 6), fill=tuple(rng.randint(20, 120) for _ in range(3)))
            canvas.text((width // 30, height // 40), _sentence(rng), fill="white", font=font(height // 11))
            for row in range(4):
                position = (width // 15, height // 4 + row * height // 7)
                canvas.text(position, "- " + _sentence(rng), fill=(40, 40, 40), font=font(height // 16))
            for bar in range(6):
                left, top = width * 3 // 5 + bar * width // 17, height - height // 8 - rng.randint(0, height // 2)
                color = tuple(rng.randint(40, 220) for _ in range(3))
                canvas.rectangle((left, top, left + width // 24, height * 7 // 8), fill=color)
        yield np.asarray(image)


def _screen(width: int, height: int, count: int, rng: random.Random) -> Iterator[Frame]:
    """Draw a desktop: windows with text, a task bar, icons, and a moving pointer."""
    base = Image.new("RGB", (width, height), tuple(rng.randint(30, 150) for _ in range(3)))
    canvas = ImageDraw.Draw(base)
    font = ImageFont.load_default(max(8, height // 22))
    for _ in range(3):
        left, top = rng.randint(0, width // 2), rng.randint(0, height // 2)
        right, bottom = left + width * 2 // 5, top + height // 2
        is_light = rng.random() < 0.6
        canvas.rectangle((left, top, right, bottom), fill=(245, 245, 245) if is_light else (30, 32, 40), outline=(120, 120, 120))
        canvas.rectangle((left, top, right, top + height // 16), fill=(70, 90, 140))
        for row in range(7):
            position = (left + 4, top + height // 14 + row * height // 17)
            canvas.text(position, _sentence(rng)[: width // 18], fill=(20, 20, 20) if is_light else (180, 230, 180), font=font)
    canvas.rectangle((0, height - height // 14, width, height), fill=(25, 25, 30))
    for icon in range(8):
        left = icon * width // 12 + 4
        color = tuple(rng.randint(80, 255) for _ in range(3))
        canvas.ellipse((left, height - height // 15, left + height // 18, height - height // 90), fill=color)
    for index in range(count):
        image = base.copy()
        x, y = width * (0.5 + 0.4 * np.sin(index / 7)), height * (0.5 + 0.4 * np.cos(index / 5))
        arrow = [(x, y), (x, y + height / 14), (x + height / 20, y + height / 20)]
        ImageDraw.Draw(image).polygon(arrow, fill="white", outline="black")
        yield np.asarray(image)


def _fractal(width: int, height: int, rng: random.Random) -> Frame:
    """Return an image with the spectrum of photographs: noise that falls off with frequency, in correlated colours."""
    noise = np.random.default_rng(rng.randrange(1 << 30))
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    frequency[0, 0] = 1.0
    layers = []
    for _ in range(3):
        spectrum = np.exp(2j * np.pi * noise.random(frequency.shape)) / frequency ** rng.uniform(1.0, 1.5)
        layer = np.fft.irfft2(spectrum, s=(height, width))
        layers.append((layer - layer.mean()) / layer.std())
    mixed = np.stack([layers[0] + 0.4 * layers[channel] for channel in range(3)], axis=-1)
    return np.clip(rng.uniform(70, 150) + rng.uniform(25, 50) * mixed, 0, 255).astype(np.uint8)


def _panned(width: int, height: int, count: int, rng: random.Random) -> Iterator[Frame]:
    """Pan over a still image with the spectrum of photographs."""
    image = _fractal(width * 2, height * 2, rng)
    for index in range(count):
        left, top = width * index // count, height * index // count
        yield image[top : top + height, left : left + width]


def _landscape(width: int, height: int, count: int, rng: random.Random) -> Iterator[Frame]:
    """Draw a sky with moving clouds, textured hills and a house."""
    texture = Image.fromarray(_fractal(width, height, rng))
    sky = np.linspace((90, 140, 220), (200, 220, 240), height)[:, None, :].repeat(width, 1).astype(np.uint8)
    ridge = height * (0.55 + 0.08 * np.sin(np.arange(width) / width * rng.uniform(5, 15)))
    hills = Image.fromarray(((np.arange(height)[:, None] > ridge[None, :]) * 255).astype(np.uint8))
    house = (width * 3 // 5, height // 2, width * 3 // 4, height * 3 // 4)
    for index in range(count):
        image = Image.fromarray(sky)
        canvas = ImageDraw.Draw(image)
        for cloud in range(4):
            x = (cloud * width // 3 + index * width // 60) % (width * 5 // 4) - width // 8
            canvas.ellipse((x, height // 10 * (1 + cloud % 2), x + width // 5, height // 4), fill=(240, 240, 245))
        image = image.filter(ImageFilter.GaussianBlur(2))
        image.paste(Image.blend(texture, Image.new("RGB", (width, height), (60, 120, 50)), 0.5), mask=hills)
        ImageDraw.Draw(image).rectangle(house, fill=(170, 90, 70), outline=(60, 40, 30))
        yield np.asarray(image)


def _crossfade(width: int, height: int, count: int, rng: random.Random) -> Iterator[Frame]:
    """Blend one image with the spectrum of photographs into another."""
    first, second = _fractal(width, height, rng).astype(np.float32), _fractal(width, height, rng).astype(np.float32)
    for index in range(count):
        fraction = index / count
        yield (first * (1 - fraction) + second * fraction).astype(np.uint8)


DRAWINGS: dict[str, Callable[[int, int, int, random.Random], Iterator[Frame]]] = {
    "text": _text,
    "title": _title,
    "credits": _credits,
    "lit": _spotlight,
    "slides": _slides,
    "screen": _screen,
    "panned": _panned,
    "landscape": _landscape,
    "photo": _crossfade,
}
"""Drawings by kind. The kinds are part of file names and of seeds."""
