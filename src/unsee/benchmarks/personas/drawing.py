"""Draws a shot of a fictitious person with Pillow: a face of 72 x 72 pixels, the same bytes for the same shot."""

import math
import random

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps

from unsee.benchmarks.personas.people import SEED, Shot

SIZE = 72  # pixels per side
SCALE = 3  # drawn this many times larger, then reduced

Color = tuple[int, int, int]
SKIN: tuple[Color, ...] = (
    (255, 224, 200), (246, 204, 168), (232, 184, 130), (214, 158, 100),
    (186, 126, 74), (150, 96, 54), (114, 70, 42), (82, 50, 34),
)  # fmt: skip
EYES: tuple[Color, ...] = (
    (52, 32, 16), (120, 74, 30), (58, 122, 190), (52, 134, 76), (122, 126, 132), (150, 110, 190),
)  # fmt: skip
LIPS: tuple[Color, ...] = ((164, 60, 62), (196, 96, 92), (134, 44, 68), (184, 76, 50))
TEETH: Color = (252, 250, 244)
HAIR: dict[str, Color] = {
    "black": (26, 24, 26), "blond": (236, 206, 104), "blue": (52, 92, 214),
    "brown": (112, 68, 36), "gray": (160, 162, 166), "red": (196, 70, 26),
}  # fmt: skip
BACKGROUND: dict[str, Color] = {
    "blue": (84, 120, 200), "green": (84, 166, 92), "purple": (146, 88, 176),
    "red": (202, 74, 70), "white": (238, 238, 234), "yellow": (230, 208, 86),
}  # fmt: skip
HEADGEAR: dict[str, Color] = {
    "band": (228, 92, 150), "beret": (150, 30, 44), "cap": (34, 92, 104), "crown": (250, 196, 28),
}  # fmt: skip


def _mix(color: Color, other: Color, share: float) -> Color:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(color, other, strict=True))
    return red, green, blue


class _Pen:
    """Draws shapes in the face's own coordinates: (0, 0) the centre, 1 half its width across, half its height down."""

    def __init__(self, image: Image.Image, center: tuple[float, float], half: tuple[float, float], ink: bool) -> None:
        self.draw = ImageDraw.Draw(image)
        self.center, self.half = center, half
        self.outline: Color | None = (20, 18, 24) if ink else None
        self.line = max(2, round(half[0] * 0.045))

    def at(self, x: float, y: float) -> tuple[float, float]:
        return self.center[0] + x * self.half[0], self.center[1] + y * self.half[1]

    def box(self, x: float, y: float, rx: float, ry: float) -> tuple[float, float, float, float]:
        left, top = self.at(x - rx, y - ry)
        right, bottom = self.at(x + rx, y + ry)
        return left, top, right, bottom

    def oval(self, x: float, y: float, rx: float, ry: float, fill: Color) -> None:
        self.draw.ellipse(self.box(x, y, rx, ry), fill=fill, outline=self.outline, width=self.line)

    def polygon(self, points: list[tuple[float, float]], fill: Color) -> None:
        self.draw.polygon([self.at(*point) for point in points], fill=fill, outline=self.outline, width=self.line)

    def slice(self, x: float, y: float, rx: float, ry: float, start: float, end: float, fill: Color) -> None:
        self.draw.pieslice(self.box(x, y, rx, ry), start, end, fill=fill, outline=self.outline, width=self.line)

    def stroke(self, points: list[tuple[float, float]], fill: Color, width: float) -> None:
        thick = max(2, round(width * self.half[0]))
        self.draw.line([self.at(*point) for point in points], fill=fill, width=thick, joint="curve")


def _hair_behind(pen: _Pen, cut: str, hair: Color) -> None:
    if cut == "long":
        pen.oval(0, 0.15, 1.36, 1.35, hair)
    elif cut == "bob":
        pen.oval(0, -0.1, 1.32, 0.98, hair)
    elif cut == "bun":
        pen.oval(0, -1.18, 0.5, 0.36, hair)
        pen.oval(0, -0.3, 1.12, 0.8, hair)
    elif cut == "curly":
        for step in range(11):
            angle = math.pi * (0.92 + 1.16 * step / 10)
            pen.oval(1.1 * math.cos(angle), -0.1 + 0.95 * math.sin(angle), 0.38, 0.32, hair)
    else:
        pen.oval(0, -0.32, 1.1, 0.78, hair)


def _hair_front(pen: _Pen, cut: str, hair: Color) -> None:
    if cut == "parted":
        pen.polygon([(-1.0, -0.2), (-0.95, -0.75), (-0.35, -1.06), (0.25, -0.98), (-0.35, -0.62)], hair)
        pen.polygon([(1.0, -0.2), (0.95, -0.75), (0.5, -1.06), (0.0, -1.0), (0.45, -0.6)], hair)
    elif cut in ("bob", "curly"):
        pen.slice(0, -0.42, 0.98, 0.64, 180, 360, hair)
    else:
        pen.slice(0, -0.5, 0.94, 0.54, 186, 354, hair)


def _headgear(pen: _Pen, kind: str) -> None:
    if kind == "nothing":
        return
    color = HEADGEAR[kind]
    if kind == "band":
        pen.polygon([(-1.04, -0.62), (1.04, -0.62), (0.98, -0.86), (-0.98, -0.86)], color)
    elif kind == "beret":
        pen.oval(0.22, -1.02, 1.06, 0.32, color)
        pen.oval(0.3, -1.34, 0.09, 0.09, color)
    elif kind == "cap":
        pen.slice(0, -0.74, 0.98, 0.58, 180, 360, color)
        pen.polygon([(-0.3, -0.76), (1.5, -0.76), (1.42, -0.62), (-0.3, -0.64)], color)
    else:
        points = [(-0.8, -0.78), (-0.86, -1.34), (-0.44, -1.04), (0, -1.42), (0.44, -1.04), (0.86, -1.34), (0.8, -0.78)]
        pen.polygon(points, color)


def _eyes(pen: _Pen, shot: Shot, turn: float, blink: float, hair: Color) -> None:
    traits = shot.person.traits
    size, distance = 0.16 * traits.eye_size, 0.42 * traits.eye_distance
    for side in (-1, 1):
        x, y = side * distance + turn, -0.1 - side * 0.12 * traits.eye_tilt
        pen.oval(x, y, size * 1.35, size * blink, (250, 250, 248))
        pen.oval(x + turn * 0.25, y, size * 0.95, size * 0.95 * blink, EYES[traits.eye_color])
        pen.oval(x + turn * 0.25, y, size * 0.36, size * 0.45 * blink, (12, 12, 14))
        inner, outer = y - 1.75 * size + 0.2 * traits.brow_angle, y - 1.75 * size - 0.2 * traits.brow_angle
        ends = [(x - side * size * 1.5, inner), (x + side * size * 1.5, outer)]
        pen.stroke(ends, _mix(hair, (20, 16, 16), 0.35), 0.075 * traits.brow_weight)


def _mouth(pen: _Pen, shot: Shot, turn: float) -> None:
    traits, painted = shot.person.traits, shot.look.facial == "lipstick"
    lip = (206, 20, 60) if painted else LIPS[traits.lip]
    width = 0.42 * traits.mouth_width
    if shot.expression == "happy":
        pen.slice(turn, 0.42, width * 1.1, 0.42, 0, 180, lip)
        pen.polygon(
            [(turn - width, 0.44), (turn + width, 0.44), (turn + 0.6 * width, 0.58), (turn - 0.6 * width, 0.58)], TEETH
        )
    elif shot.expression == "surprised":
        pen.oval(turn, 0.62, 0.26, 0.25, lip)
        pen.oval(turn, 0.62, 0.17, 0.17, (30, 8, 12))
    else:
        pen.stroke([(turn - width, 0.58), (turn + width, 0.58)], lip, 0.16 if painted else 0.12)


def _face(pen: _Pen, shot: Shot, skin: Color, hair: Color, turn: float, blink: float) -> None:
    traits, facial, shade = shot.person.traits, shot.look.facial, _mix(skin, (70, 30, 20), 0.3)
    for side in (-1, 1):
        pen.oval(side * 1.0, 0.02, 0.2 * traits.ear, 0.24 * traits.ear, _mix(skin, shade, 0.4))
    jaw = traits.jaw
    outline = []
    for step in range(40):
        angle = 2 * math.pi * step / 40
        x, y = math.cos(angle), math.sin(angle)
        outline.append((x * (1 - (1 - jaw) * max(0.0, y) ** 1.5), y))
    pen.polygon(outline, skin)
    if facial == "beard":
        beard = [(x * 0.97, y * 0.99) for x, y in outline if y > 0.3]
        pen.polygon([*beard, (-0.55, 0.36), (0.55, 0.36)], hair)
    if facial == "blush":
        for side in (-1, 1):
            pen.oval(side * 0.58 + turn, 0.28, 0.2, 0.13, _mix(skin, (240, 80, 90), 0.55))
    if traits.freckles:
        for x, y in ((-0.6, 0.16), (-0.45, 0.26), (-0.3, 0.18), (0.3, 0.18), (0.45, 0.26), (0.6, 0.16)):
            pen.oval(x + turn, y, 0.045, 0.04, shade)
    _eyes(pen, shot, turn, blink, hair)
    length, width = 0.36 * traits.nose_length, 0.15 * traits.nose_width
    pen.polygon([(turn * 1.4, -0.05), (turn * 1.4 - width, length), (turn * 1.4 + width, length)], shade)
    if facial == "moustache":
        pen.polygon([(turn - 0.42, 0.48), (turn, 0.34), (turn + 0.42, 0.48), (turn, 0.45)], hair)
    _mouth(pen, shot, turn)
    if traits.chin:
        pen.stroke([(turn, 0.8), (turn, 0.92)], shade, 0.08)
    if traits.mole:
        pen.oval(traits.mole[0] + turn, traits.mole[1], 0.1, 0.08, (58, 30, 22))
    if traits.scar is not None:
        x, y = traits.scar + turn, -0.42
        pen.stroke([(x - 0.14, y - 0.16), (x + 0.14, y + 0.16)], (238, 150, 150), 0.1)


def _glasses(pen: _Pen, shot: Shot, turn: float) -> None:
    traits = shot.person.traits
    radius, distance = 0.16 * traits.eye_size + 0.16, 0.42 * traits.eye_distance
    frame, rim = ((16, 16, 20), 2 * SCALE), ((244, 244, 240), 4 * SCALE)  # the rim shows on dark skin
    for color, width in (rim, frame):
        for side in (-1, 1):
            grown = radius + width / (2 * pen.half[0])
            pen.draw.ellipse(pen.box(side * distance + turn, -0.1, grown, grown * 0.85), outline=color, width=width)
        pen.stroke([(turn - distance + radius, -0.1), (turn + distance - radius, -0.1)], color, width / pen.half[0])


def _styled(image: Image.Image, style: str) -> Image.Image:
    if style == "pastel":
        soft = image.filter(ImageFilter.GaussianBlur(SCALE * 0.5))
        return Image.blend(soft, Image.new("RGB", image.size, (255, 250, 244)), 0.28)
    if style == "poster":
        return ImageOps.posterize(ImageEnhance.Contrast(image).enhance(1.35), 3)
    return image


def draw(shot: Shot) -> Image.Image:
    """The photo of a shot: RGB, SIZE x SIZE. Pose, light and clothes are drawn from the shot's own seed."""
    rng = random.Random(f"personas/{SEED}/pixels/{shot.key}")
    side, traits, look = SIZE * SCALE, shot.person.traits, shot.look
    light = rng.uniform(0.86, 1.12)

    def lit(color: Color) -> Color:
        red, green, blue = (min(255, round(value * light)) for value in color)
        return red, green, blue

    background = BACKGROUND[shot.background]
    image = Image.new("RGB", (side, side), background)
    center = side * (0.5 + rng.uniform(-0.05, 0.05)), side * (0.55 + rng.uniform(-0.04, 0.04))
    zoom = side * rng.uniform(0.92, 1.08)
    pen = _Pen(image, center, (0.3 * zoom * traits.face_width, 0.35 * zoom), ink=look.style == "ink")
    skin, hair = lit(SKIN[traits.skin]), lit(HAIR[look.hair])
    turn, blink = rng.uniform(-0.1, 0.1), rng.choice((1.0, 1.0, 0.7))
    _hair_behind(pen, look.cut, hair)
    clothes: Color = (rng.randrange(40, 220), rng.randrange(40, 220), rng.randrange(40, 220))
    pen.oval(0, 1.75, 1.7, 0.85, clothes)
    pen.polygon([(-0.36, 0.6), (0.36, 0.6), (0.42, 1.12), (-0.42, 1.12)], _mix(skin, (70, 30, 20), 0.18))
    _face(pen, shot, skin, hair, turn, blink)
    _hair_front(pen, look.cut, hair)
    _headgear(pen, look.headgear)
    if shot.glasses:
        _glasses(pen, shot, turn)
    image = _styled(image, look.style)
    tilt = rng.uniform(-8, 8)
    corner = image.getpixel((0, 0))
    image = image.rotate(tilt, resample=Image.Resampling.BICUBIC, fillcolor=corner)
    image = image.resize((SIZE, SIZE), Image.Resampling.LANCZOS)
    pixels = np.asarray(image, dtype=np.float64)
    noise = np.random.default_rng(rng.randrange(1 << 30)).normal(0, 3.0, pixels.shape)
    return Image.fromarray(np.clip(pixels + noise, 0, 255).round().astype(np.uint8))
