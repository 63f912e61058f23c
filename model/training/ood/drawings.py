"""Moving pictures that are drawn, of nothing like the bundled checkpoint's world: text, screens, photograph-like noise.

Each drawing yields `count` frames, RGB uint8 of shape (height, width, 3), the same for the same `chance`.
"""

import random
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Picture = NDArray[np.uint8]
WORDS = (
    "the", "quick", "market", "report", "says", "that", "rain", "fell", "over", "seven", "hills", "while", "engineers", "read",
    "every", "line", "of", "code", "twice",
)  # fmt: skip


def _sentence(chance: random.Random) -> str:
    return " ".join(chance.choices(WORDS, k=chance.randint(4, 9))).capitalize() + "."


def _text(width: int, height: int, count: int, chance: random.Random) -> Iterator[Picture]:
    """A page of text that scrolls, on a dark or a light ground."""
    dark = chance.random() < 0.5
    ground = tuple(chance.randint(5, 60) if dark else chance.randint(200, 255) for _ in range(3))
    size = max(9, height // chance.choice([8, 12, 16]))
    lines = [_sentence(chance) for _ in range(60)]
    for index in range(count):
        image = Image.new("RGB", (width, height), ground)
        pen = ImageDraw.Draw(image)
        for row, line in enumerate(lines):
            place = (width // 20, row * size * 1.3 - index * size / 5)
            pen.text(place, line, fill=(235, 235, 230) if dark else (20, 20, 30), font=ImageFont.load_default(size))
        yield np.asarray(image)


def _title(width: int, height: int, count: int, chance: random.Random) -> Iterator[Picture]:
    """A word or a number on a plain ground, another every second."""
    ground = tuple(chance.randint(0, 90) if chance.random() < 0.7 else chance.randint(150, 255) for _ in range(3))
    size = max(12, int(height * chance.uniform(0.1, 0.45)))
    color = tuple(chance.randint(120, 255) if sum(ground) < 300 else chance.randint(0, 90) for _ in range(3))
    numbers = chance.random() < 0.5
    for index in range(count):
        image = Image.new("RGB", (width, height), ground)
        said = f"{index // 5 + 100}" if numbers else WORDS[index // 5 % len(WORDS)]
        place = (width // 12 + (index // 5) % 5 * width // 12, height // 4)
        ImageDraw.Draw(image).text(place, said, fill=color, font=ImageFont.load_default(size))
        yield np.asarray(image)


def _credits(width: int, height: int, count: int, chance: random.Random) -> Iterator[Picture]:
    """Lines of words over a dark, uneven ground that moves a little."""
    ground = _fractal(width + 16, height + 16, chance).astype(np.float32) * chance.uniform(0.1, 0.4)
    size = max(10, int(height * chance.uniform(0.07, 0.2)))
    lines = [_sentence(chance)[: chance.randint(4, 18)] for _ in range(chance.randint(1, 4))]
    for index in range(count):
        image = Image.fromarray(ground[index % 16 :][:height, index % 11 :][:, :width].astype(np.uint8))
        for row, line in enumerate(lines):
            place = (width // 10, height // 8 + row * size * 1.2)
            ImageDraw.Draw(image).text(place, line, fill=(225, 225, 220), font=ImageFont.load_default(size))
        yield np.asarray(image)


def _lit(width: int, height: int, count: int, chance: random.Random) -> Iterator[Picture]:
    """A dark room in which a lamp shows a part of something with a texture."""
    picture = _fractal(width, height, chance).astype(np.float32)
    tint = np.array([chance.uniform(0.4, 1.0) for _ in range(3)])
    x, y, reach = chance.uniform(0.3, 0.7), chance.uniform(0.3, 0.7), chance.uniform(0.15, 0.35)
    for index in range(count):
        xs = (np.arange(width) / width - x - 0.1 * np.sin(index / 9))[None, :] * width / height
        ys = (np.arange(height) / height - y)[:, None]
        light = np.exp(-((xs**2 + ys**2) / (2 * reach**2)))[..., None]
        yield np.clip(picture * light * tint * 1.3, 0, 255).astype(np.uint8)


def _slides(width: int, height: int, count: int, chance: random.Random) -> Iterator[Picture]:
    """A slide with a title, bullets and a chart, another every three seconds."""
    font = ImageFont.load_default
    image = Image.new("RGB", (width, height))
    for index in range(count):
        if index % 15 == 0:
            image = Image.new("RGB", (width, height), tuple(chance.randint(225, 255) for _ in range(3)))
            pen = ImageDraw.Draw(image)
            pen.rectangle((0, 0, width, height // 6), fill=tuple(chance.randint(20, 120) for _ in range(3)))
            pen.text((width // 30, height // 40), _sentence(chance), fill="white", font=font(height // 11))
            for row in range(4):
                place = (width // 15, height // 4 + row * height // 7)
                pen.text(place, "- " + _sentence(chance), fill=(40, 40, 40), font=font(height // 16))
            for bar in range(6):
                left, top = width * 3 // 5 + bar * width // 17, height - height // 8 - chance.randint(0, height // 2)
                color = tuple(chance.randint(40, 220) for _ in range(3))
                pen.rectangle((left, top, left + width // 24, height * 7 // 8), fill=color)
        yield np.asarray(image)


def _screen(width: int, height: int, count: int, chance: random.Random) -> Iterator[Picture]:
    """Someone's screen: windows with text, a bar, icons, and a pointer that wanders."""
    base = Image.new("RGB", (width, height), tuple(chance.randint(30, 150) for _ in range(3)))
    pen = ImageDraw.Draw(base)
    font = ImageFont.load_default(max(8, height // 22))
    for _ in range(3):
        left, top = chance.randint(0, width // 2), chance.randint(0, height // 2)
        right, bottom = left + width * 2 // 5, top + height // 2
        light = chance.random() < 0.6
        pen.rectangle((left, top, right, bottom), fill=(245, 245, 245) if light else (30, 32, 40), outline=(120, 120, 120))
        pen.rectangle((left, top, right, top + height // 16), fill=(70, 90, 140))
        for row in range(7):
            place = (left + 4, top + height // 14 + row * height // 17)
            pen.text(place, _sentence(chance)[: width // 18], fill=(20, 20, 20) if light else (180, 230, 180), font=font)
    pen.rectangle((0, height - height // 14, width, height), fill=(25, 25, 30))
    for icon in range(8):
        left = icon * width // 12 + 4
        color = tuple(chance.randint(80, 255) for _ in range(3))
        pen.ellipse((left, height - height // 15, left + height // 18, height - height // 90), fill=color)
    for index in range(count):
        image = base.copy()
        x, y = width * (0.5 + 0.4 * np.sin(index / 7)), height * (0.5 + 0.4 * np.cos(index / 5))
        arrow = [(x, y), (x, y + height / 14), (x + height / 20, y + height / 20)]
        ImageDraw.Draw(image).polygon(arrow, fill="white", outline="black")
        yield np.asarray(image)


def _fractal(width: int, height: int, chance: random.Random) -> Picture:
    """A picture with the spectrum of photographs: noise that falls off with frequency, in related colours."""
    rng = np.random.default_rng(chance.randrange(1 << 30))
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    frequency[0, 0] = 1.0
    layers = []
    for _ in range(3):
        spectrum = np.exp(2j * np.pi * rng.random(frequency.shape)) / frequency ** chance.uniform(1.0, 1.5)
        layer = np.fft.irfft2(spectrum, s=(height, width))
        layers.append((layer - layer.mean()) / layer.std())
    mixed = np.stack([layers[0] + 0.4 * layers[channel] for channel in range(3)], axis=-1)
    return np.clip(chance.uniform(70, 150) + chance.uniform(25, 50) * mixed, 0, 255).astype(np.uint8)


def _panned(width: int, height: int, count: int, chance: random.Random) -> Iterator[Picture]:
    """A still picture like a photograph over which the camera moves."""
    picture = _fractal(width * 2, height * 2, chance)
    for index in range(count):
        left, top = width * index // count, height * index // count
        yield picture[top : top + height, left : left + width]


def _landscape(width: int, height: int, count: int, chance: random.Random) -> Iterator[Picture]:
    """Sky, hills with a texture, a house, and clouds that drift."""
    texture = Image.fromarray(_fractal(width, height, chance))
    sky = np.linspace((90, 140, 220), (200, 220, 240), height)[:, None, :].repeat(width, 1).astype(np.uint8)
    ridge = height * (0.55 + 0.08 * np.sin(np.arange(width) / width * chance.uniform(5, 15)))
    ground = Image.fromarray(((np.arange(height)[:, None] > ridge[None, :]) * 255).astype(np.uint8))
    house = (width * 3 // 5, height // 2, width * 3 // 4, height * 3 // 4)
    for index in range(count):
        image = Image.fromarray(sky)
        pen = ImageDraw.Draw(image)
        for cloud in range(4):
            x = (cloud * width // 3 + index * width // 60) % (width * 5 // 4) - width // 8
            pen.ellipse((x, height // 10 * (1 + cloud % 2), x + width // 5, height // 4), fill=(240, 240, 245))
        image = image.filter(ImageFilter.GaussianBlur(2))
        image.paste(Image.blend(texture, Image.new("RGB", (width, height), (60, 120, 50)), 0.5), mask=ground)
        ImageDraw.Draw(image).rectangle(house, fill=(170, 90, 70), outline=(60, 40, 30))
        yield np.asarray(image)


def _photo(width: int, height: int, count: int, chance: random.Random) -> Iterator[Picture]:
    """Moving noise with the spectrum of photographs, two pictures blended one into the other."""
    first, second = _fractal(width, height, chance).astype(np.float32), _fractal(width, height, chance).astype(np.float32)
    for index in range(count):
        part = index / count
        yield (first * (1 - part) + second * part).astype(np.uint8)


DRAWINGS: dict[str, Callable[[int, int, int, random.Random], Iterator[Picture]]] = {
    "text": _text,
    "title": _title,
    "credits": _credits,
    "lit": _lit,
    "slides": _slides,
    "screen": _screen,
    "panned": _panned,
    "landscape": _landscape,
    "photo": _photo,
}
