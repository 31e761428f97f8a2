"""Draw the sample pictures: boats, and open water, as a camera above a canal would see them.

Every picture is computed from formulas and a fixed seed; no photograph goes into it.
Usage: ``python samples/draw.py [FOLDER]`` (by default the folder of this script).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFilter

Floats = NDArray[np.float64]
Colour = tuple[int, ...]  # red, green, blue
Pair = tuple[float, float]
Point = tuple[float, float, float]  # along a hull (0 to 1), across (-1 near, 1 far), above (pixels)

WIDTH, HEIGHT, WATERLINE = 800, 240, 148  # a hull floats on the waterline row
SCALE = 3  # boats are drawn this much larger and then reduced, which smooths their edges
ACROSS = 0.45  # how much of a boat's beam a camera at this height sees

WHITE, CREAM, TAN, WOOD = (232, 233, 228), (226, 214, 180), (196, 158, 108), (146, 84, 44)
BLACK, GLASS, GREY, SKIN = (26, 27, 30), (38, 48, 56), (140, 144, 144), (192, 148, 122)
RED, ORANGE, YELLOW, GREEN = (164, 42, 36), (222, 100, 44), (236, 198, 40), (48, 114, 66)
BLUE, NAVY = (46, 102, 172), (34, 46, 88)


class Hull(NamedTuple):
    """A hull: sizes in pixels; `bow` and `stern` are the shares of the length that taper."""

    length: float
    beam: float
    freeboard: float
    bands: tuple[tuple[float, Colour], ...]  # where a band starts (0 top, 1 keel), and its colour
    inside: Colour
    bow: float = 0.35
    stern: float = 0.06
    transom: float = 0.75
    rise_bow: float = 0.5
    rise_stern: float = 0.1

    def half_beam(self, s: Floats) -> Floats:
        """Half the width at `s` (0 stern, 1 bow), as the camera sees it."""
        aft, fore = np.clip(s / self.stern, 0, 1), np.clip((1 - s) / self.bow, 0, 1)
        width = self.transom + (1 - self.transom) * np.sqrt(aft * (2 - aft))
        return np.asarray(self.beam / 2 * ACROSS * width * (fore * (2 - fore)) ** 0.7)

    def sheer(self, s: Floats) -> Floats:
        """Height of the gunwale above the water at `s`."""
        fore, aft = np.clip(2 * s - 1, 0, 1) ** 2.4, np.clip(1 - 2 * s, 0, 1) ** 2.4
        return np.asarray(self.freeboard * (1 + self.rise_bow * fore + self.rise_stern * aft))


class Shape(NamedTuple):
    """Points along, across and above a hull: an area or, if `thick`, a line or a single dot."""

    points: Floats
    colour: Colour
    thick: float = 0


@dataclass(frozen=True)
class Scene:
    """One picture: the water's colour and glitter, and the boat on it, if any."""

    name: str
    water: Colour
    sun: float = 0.0  # how much of the water glitters
    wake: float = 0.0  # how much foam the boat makes
    hull: Hull | None = None
    aboard: tuple[list[Shape], ...] = ()
    outside: tuple[list[Shape], ...] = ()  # what hangs before the hull's near side


def shade(colour: Colour, factor: float) -> Colour:
    """A lighter or darker version of a colour."""
    return tuple(min(255, round(c * factor)) for c in colour)


def edge(s: Floats, t: float, z: ArrayLike) -> Floats:
    """Points along a hull."""
    return np.stack(np.broadcast_arrays(s, t, z), axis=-1)


def area(one: Floats, other: Floats, colour: Colour) -> Shape:
    """The area between two edges that run the same way."""
    return Shape(np.concatenate([one, other[::-1]]), colour)


def bar(points: tuple[Point, ...], thick: float, colour: Colour) -> list[Shape]:
    """A straight or bent piece, such as an oar or a crane arm; of one point, a round piece."""
    return [Shape(np.array(points), colour, thick)]


def person(at: Point, coat: Colour, tall: float = 46) -> list[Shape]:
    """The legs, coat, arm, head and hair of a figure whose feet are at `at`."""
    foot, hip, neck, head, hair = ((*at[:2], at[2] + k * tall) for k in (0, 0.42, 0.74, 0.9, 0.95))
    body = bar((foot, hip), 0.2 * tall, BLACK) + bar((hip, neck), 0.26 * tall, coat)
    arm = bar((neck, (at[0] + 0.02, at[1], hip[2])), 0.09 * tall, shade(coat, 0.75))
    face = bar((head,), 0.19 * tall, SKIN) + bar((hair,), 0.16 * tall, BLACK)
    return body + bar((neck,), 0.26 * tall, coat) + arm + face


def box(  # noqa: PLR0917
    span: Pair,
    height: Pair,
    width: float,
    face: Colour,
    top: Colour,
    windows: int = 0,
    slope: Pair = (0, 0),
) -> list[Shape]:
    """A cabin, a roof or a piece of load; `slope` is how far its two ends lean inwards."""
    foot, head = np.linspace(*span, 101), np.linspace(span[0] + slope[0], span[1] - slope[1], 101)
    base, eaves = edge(foot, -width, height[0]), edge(head, -width, height[1])
    back, ridge = edge(foot, width, height[0]), edge(head, width, height[1])
    ends = (np.array([base[i], back[i], ridge[i], eaves[i]]) for i in (0, -1))
    shapes = [Shape(end, shade(GLASS, 1.6) if windows else face) for end in ends]
    shapes += [area(ridge, eaves, top), area(eaves, base, shade(face, 0.88))]
    shapes += [area(ridge, 0.7 * ridge + 0.3 * eaves, shade(top, 0.94))]
    for i in range(windows):
        cut = slice(4 + 94 * i // windows, 94 * (i + 1) // windows + 2)
        for part, tone in ((0.82, 1.0), (0.5, 1.5)):
            high, low = (base[cut] + (eaves - base)[cut] * level for level in (part, 0.34))
            shapes.append(area(high, low, shade(GLASS, tone)))
    return [*shapes, Shape(eaves, shade(top, 1.08), 1.2)]


def shell(hull: Hull) -> tuple[list[Shape], list[Shape]]:
    """The inside of a hull with its end decks, and its near side, darker towards the keel."""
    s, rim = np.linspace(0, 1, 100), hull.bands[0][1]
    far, near = edge(s, 1, hull.sheer(s)), edge(s, -1, hull.sheer(s))
    inside = [area(far, near, hull.inside)]
    inside += [area(far, edge(s, 0.45, hull.sheer(s) - 2), shade(hull.inside, 0.7))]
    for end in (slice(round(100 - 60 * hull.bow), 100), slice(0, round(60 * hull.stern))):
        inside.append(area(far[end], near[end], shade(rim, 0.9)))
    keel = edge(0.02 + 0.94 * s, -0.85, np.clip(hull.sheer(s) - 1.5 * hull.freeboard, 0, None))
    levels = [(p, colour) for start, colour in hull.bands for p in np.linspace(start, 1, 12)[:-1]]
    side = [area(near + (keel - near) * p, keel, shade(c, 1.06 - 0.3 * p)) for p, c in levels]
    return [*inside, Shape(far, shade(rim, 0.8), 1.6)], [*side, Shape(near, shade(rim, 1.12), 1.8)]


def paint(pen: ImageDraw.ImageDraw, hull: Hull, shape: Shape) -> None:
    """Put a shape where the camera sees it."""
    s, t, z = shape.points.T
    x = SCALE * (WIDTH / 2 + (s - 0.5) * hull.length)
    y = SCALE * (WATERLINE - z - t * hull.half_beam(np.clip(s, 0, 0.97)))
    points, line = list(zip(x, y, strict=True)), round(shape.thick * SCALE)
    if len(points) == 1:
        pen.circle(points[0], line / 2, shape.colour)
    elif line:
        pen.line(points, shape.colour, line, joint="curve")
    else:
        pen.polygon(points, shape.colour)


def waves(rng: np.random.Generator, shortest: float, longest: float, heading: float) -> Floats:
    """A sum of sine waves in perspective, of mean 0 and deviation 1."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float64)
    depth = 0.6 + 0.4 * y / HEIGHT
    u, v = (x - WIDTH / 2) / depth, 2.2 * HEIGHT / 0.4 * np.log(depth)
    # Bending the plane a little keeps the sines from showing as straight rows.
    u, v = u + 12 * np.sin(v / 71 + 1), v + 14 * np.sin(u / 97) + 6 * np.sin(u / 31 + v / 60)
    total = np.zeros_like(x)
    for k in 2 * np.pi / np.geomspace(shortest, longest, 40):
        angle, phase = rng.normal(heading, 0.6), rng.uniform(0, 2 * np.pi)
        total += np.sin(k * (u * np.sin(angle) + v * np.cos(angle)) + phase) / np.sqrt(k)
    return np.asarray((total - total.mean()) / total.std())


def water(rng: np.random.Generator, scene: Scene) -> tuple[Floats, Floats]:
    """Open water as rows of RGB, and its ripples, which also break up reflections."""
    heading, sun_at = rng.uniform(-0.4, 0.4), rng.uniform(0, 1)
    swell, patches = waves(rng, 70, 300, heading), np.tanh(waves(rng, 300, 900, heading + 0.8))
    ripples = 0.8 * waves(rng, 18, 70, heading) + 0.5 * waves(rng, 6, 20, heading)
    ripples *= 0.85 + 0.3 * patches
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH] / np.array([HEIGHT, WIDTH]).reshape(2, 1, 1)
    tone = 1.06 - 0.16 * y + 0.04 * patches + 0.03 * swell + 0.06 * ripples
    tone -= 0.35 * np.clip(ripples - 1.0, 0, 0.8)  # the thin dark backs of the steeper ripples
    beam = np.exp(-(((x - sun_at - 0.12 * (0.5 - y)) / 0.2) ** 2)) * (1.25 - 0.7 * y)
    sky = 24 * np.clip(-ripples - 0.7, 0, 2) + 26 * scene.sun * beam
    facets = 0.8 * waves(rng, 6, 24, heading) + 0.5 * swell - 0.6 * ripples
    glitter = np.clip(facets + 2.6 * beam * scene.sun - 2.5, 0, 1) * (scene.sun > 0)
    picture = tone[..., None] * np.array(scene.water) + sky[..., None]
    return picture + glitter[..., None] * (np.array([250, 248, 238]) - picture), ripples


def beneath(scene: Scene, hull: Hull, boat: Floats, ripples: Floats, noise: Floats) -> Floats:
    """The layer under a boat: its broken reflection, and the foam at its bow and stern."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float64)
    s, row = (x - WIDTH / 2) / hull.length + 0.5, y - WATERLINE
    below = row - 0.85 * hull.half_beam(np.clip(s / 0.96, 0, 1))
    rows = np.clip(y - 2 * below + 2 * ripples, 0, HEIGHT - 1).astype(int)
    columns = np.clip(x + (2 + 0.1 * below) * ripples, 0, WIDTH - 1).astype(int)
    mirror = boat[rows, columns]
    mirror[..., :3] = 0.4 * mirror[..., :3] + 0.28 * np.array(scene.water)
    mirror[..., 3] *= np.clip(0.8 - below / 60 - 0.15 * ripples, 0, 0.75) * (below > -6)
    behind = np.clip(-s * hull.length, 0, None)
    arms = (np.abs(row) - 0.12 * behind - 0.15 * hull.beam) / (3 + 0.04 * behind)
    foam = 1.2 * np.exp(-((row / (0.1 * hull.beam + 0.04 * behind)) ** 2) - behind / 200)
    foam = (foam + np.exp(-(arms**2) - behind / 250)) * (s < 0.01)
    foam += np.exp(-(((below - 1) / 3.5) ** 2)) * np.clip(1.6 * s - 0.5, 0, 1) * (s < 1)
    foam = np.clip(scene.wake * foam * (1.2 + 0.6 * noise) - 0.25, 0, 0.85)[..., None]
    return np.asarray(mirror * (1 - foam) + np.array([236, 239, 237, 255]) * foam)


def render(scene: Scene, seed: int) -> Image.Image:
    """Draw a scene: the water, what is beneath the boat, the boat, then a camera's noise."""
    rng = np.random.default_rng(seed)
    picture, ripples = water(rng, scene)
    if scene.hull:
        layer = Image.new("RGBA", (WIDTH * SCALE, HEIGHT * SCALE))
        inside, side = shell(scene.hull)
        for shape in chain(inside, *scene.aboard, side, *scene.outside):
            paint(ImageDraw.Draw(layer), scene.hull, shape)
        boat = np.asarray(layer.reduce(SCALE), dtype=np.float64)
        grain = 1 + 0.015 * waves(rng, 20, 90, 0.8) + 0.025 * rng.normal(size=ripples.shape)
        boat[..., :3] = (0.87 * boat[..., :3] + 15) * grain[..., None]  # a little haze
        under = beneath(scene, scene.hull, boat, ripples, waves(rng, 6, 30, 0.2))
        layers = (Image.fromarray(a.clip(0, 255).astype(np.uint8)) for a in (under, boat))
        layer = Image.alpha_composite(*layers).rotate(rng.uniform(-3, 1), Image.Resampling.BICUBIC)
        pixels = np.asarray(layer, dtype=np.float64)[:, :: rng.choice((-1, 1))]
        picture += (pixels[..., :3] - picture) * pixels[..., 3:] / 255
    picture += rng.normal(0, 3.2, (HEIGHT, WIDTH, 1)) + rng.normal(0, 1.2, picture.shape)
    rgb = picture.clip(0, 255).astype(np.uint8)
    return Image.fromarray(rgb).filter(ImageFilter.GaussianBlur(0.5))


# fmt: off
SCENES = (
    Scene("open-water", (110, 122, 117)),
    Scene("water-bus", (104, 116, 108), 0.4, 0.9, Hull(
        590, 130, 24, ((0, CREAM), (0.7, BLACK)), GREY, 0.36, 0.2, 0.5, 0.4), (
        box((0.04, 0.86), (22, 56), 0.9, GLASS, GREY, 1, (0, 0.02)),
        *(person((0.43 + i / 25, -0.9, 24), c, 27) for i, c in enumerate((TAN, RED, BLUE, GREY))),
        *(box((a, b), (24, 55), 0.9, CREAM, GREY, n) for a, b, n in ((0.1, 0.4, 8), (0.6, 0.8, 4))),
        box((0.03, 0.89), (55, 60), 1, WHITE, WHITE), box((0.2, 0.3), (60, 64), 0.3, GREY, WHITE))),
    Scene("work-barge", (108, 118, 112), 0.4, 0.9, Hull(
        560, 130, 22, ((0, ORANGE), (0.4, RED), (0.75, BLACK)), (112, 92, 72), 0.25, 0.08, 0.8), (
        bar(((0.76, 0.2, 14), (0.73, 0.2, 60), (0.56, 0, 44)), 4, GREY), person((0.22, 0, 8), NAVY),
        *(box((s, s + 0.09), (10, high), 0.5, c, shade(c, 1.2)) for s, high, c in (
          (0.28, 28, TAN), (0.38, 40, TAN), (0.48, 30, BLUE), (0.58, 38, GREY), (0.69, 22, GREEN))),
        box((0.05, 0.17), (20, 62), 0.6, WHITE, WHITE, 2, (0, 0.015)))),
    Scene("gondola", (106, 118, 116), 0, 0.25, Hull(
        600, 74, 14, ((0, BLACK),), (84, 44, 40), 0.55, 0.4, 0.1, 3.2, 3), (
        box((0.36, 0.41), (10, 32), 0.7, RED, RED), person((0.44, 0.3, 0), GREY, 40),
        person((0.45, -0.3, -6), CREAM, 42), person((0.17, 0, 26), NAVY, 58)), (
        bar(((0.13, 0, 80), (0.2, -0.5, 48), (0.33, -3, -4)), 2.5, TAN),
        bar(((0.985, 0, 50), (1, 0, 66), (0.997, 0, 84), (1.01, 0, 92)), 4, GREY),
        *(bar(((1, 0, z), (1.016, 0, z)), 2, GREY) for z in range(62, 86, 5)))),
    Scene("water-taxi", (102, 116, 112), 0.3, 1.2, Hull(
        520, 120, 24, ((0, WOOD), (0.6, WHITE), (0.72, BLACK)), TAN, 0.55, 0.08, 0.8, 0.35), (
        person((0.1, 0.1, 4), RED), person((0.16, -0.3, -2), GREY, 44), person((0.6, 0, 10), NAVY),
        box((0.22, 0.56), (20, 52), 0.75, WHITE, WOOD, 5, (0.01, 0.01)),
        box((0.63, 0.71), (20, 42), 0.75, WOOD, GLASS, 1, (0, 0.04)))),
    Scene("small-open-boat", (100, 114, 118), 0.3, 1.1, Hull(
        400, 130, 26, ((0, WHITE), (0.22, BLUE), (0.8, NAVY)), TAN, 0.5, 0.06, 0.8, 0.45), (
        *(box((s, s + 0.07), (14, 18), 0.85, WOOD, WOOD) for s in (0.22, 0.4, 0.6)),
        person((0.15, 0, 6), GREEN, 54), person((0.62, 0, -2), ORANGE, 52)), (
        box((-0.07, 0.0), (20, 44), 0.3, BLACK, GREY, 0, (0.01, 0.02)),
        bar(((-0.03, 0, 24), (-0.03, 0, -8)), 9, BLACK), bar(((0.3, -1, 14),), 12, WHITE))),
    Scene("police-boat", (106, 116, 114), 0.2, 1.2, Hull(
        500, 130, 28, ((0, WHITE), (0.35, BLUE), (0.62, WHITE), (0.75, NAVY)), GREY, 0.5, 0.08), (
        person((0.14, 0, 6), NAVY, 50), bar(((0.04, -0.4, 34),), 13, ORANGE),
        box((0.25, 0.62), (24, 58), 0.75, WHITE, WHITE, 4, (0.02, 0.05)),
        box((0.3, 0.36), (58, 61), 0.7, BLUE, BLUE), box((0.43, 0.46), (60, 68), 0.3, RED, BLUE))),
    Scene("ambulance-boat", (110, 120, 114), 0.4, 1.2, Hull(
        500, 130, 26, ((0, WHITE), (0.3, ORANGE), (0.6, YELLOW), (0.78, BLACK)), GREY, 0.5, 0.08), (
        box((0.12, 0.5), (22, 62), 0.8, YELLOW, YELLOW), person((0.55, 0.2, 10), ORANGE, 50),
        *(box((s, s + 0.07), (38, 56), 0.82, BLACK, YELLOW) for s in (0.15, 0.39)),
        *(bar(((0.305 - a, -0.8, 42 - b), (0.305 + a, -0.8, 42 + b)), 5, BLUE)
          for a, b in ((0.028, 0), (0.014, 12), (-0.014, 12))),
        box((0.58, 0.68), (24, 50), 0.75, WHITE, WHITE, 2, (0, 0.04)))),
    Scene("rowing-boat", (112, 122, 112), 0, 0.3, Hull(
        500, 80, 16, ((0, GREEN), (0.5, WHITE), (0.8, RED)), TAN, 0.5, 0.3, 0.2, 1.4, 1), (
        *(box((s, s + 0.04), (8, 12), 0.8, WOOD, WOOD) for s in (0.3, 0.42, 0.54)),
        *(person((s, 0, 10), WHITE, 60) for s in (0.2, 0.66))), tuple(bar(
        ((s, 0, 60), (s + 0.1, -1, 26), (s + 0.25, -3, -12)), 2.5, CREAM) for s in (0.16, 0.62))),
    Scene("refuse-barge", (98, 112, 106), 0.2, 0.8, Hull(
        560, 140, 28, ((0, GREEN), (0.8, BLACK)), GREY, 0.22, 0.1, 0.8, 0.4), (
        box((0.3, 0.78), (18, 44), 0.75, GREY, WHITE), person((0.85, 0, 24), YELLOW),
        *(bar(((s, -0.75, 20), (s, -0.75, 43)), 2, BLACK) for s in (0.38, 0.46, 0.54, 0.62, 0.7)),
        bar(((0.25, 0, 24), (0.25, 0, 74), (0.42, 0, 84), (0.5, 0, 56)), 5, ORANGE),
        box((0.06, 0.2), (24, 74), 0.6, GREEN, WHITE, 3))),
    Scene("open-water-in-sun", (116, 124, 116), 1.0),
    Scene("open-water-at-dusk", (84, 92, 104), 0.3),
)
# fmt: on


def main() -> None:
    """Draw every scene into the folder named on the command line."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    folder.mkdir(parents=True, exist_ok=True)
    for number, scene in enumerate(SCENES, 1):
        render(scene, number).save(folder / f"{number:02}-{scene.name}.jpg", quality=85)


if __name__ == "__main__":
    main()
