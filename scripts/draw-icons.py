#!/usr/bin/env python3
"""Draws the icons of kinds of artifacts: registry/src/icons/*.png, 50x50, one colour each. Needs nothing but Python.

    scripts/draw-icons.py            # writes them
    scripts/draw-icons.py --sheet F  # writes all of them, larger, into one picture to look at
"""

import math
import struct
import sys
import zlib
from pathlib import Path

SIZE = 50
# Each pixel is asked at SUB x SUB points; that many shades are enough, and few shades make small files.
SUB = 4


# Shapes: functions of a point, true inside. Coordinates are those of the picture, 0 to 50.
def box(x0, y0, x1, y1, r=0.0):
    def inside(x, y):
        if not (x0 <= x <= x1 and y0 <= y <= y1):
            return False
        dx = max(x0 + r - x, x - (x1 - r), 0)
        dy = max(y0 + r - y, y - (y1 - r), 0)
        return dx * dx + dy * dy <= r * r or (dx == 0 or dy == 0)
    return inside


def disc(cx, cy, r):
    return lambda x, y: (x - cx) ** 2 + (y - cy) ** 2 <= r * r


def polygon(*points):
    def inside(x, y):
        odd = False
        for (ax, ay), (bx, by) in zip(points, points[1:] + points[:1]):
            if (ay > y) != (by > y) and x < (bx - ax) * (y - ay) / (by - ay) + ax:
                odd = not odd
        return odd
    return inside


def line(ax, ay, bx, by, width):
    length = math.hypot(bx - ax, by - ay)

    def inside(x, y):
        t = max(0, min(1, ((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / length ** 2))
        return math.hypot(x - ax - t * (bx - ax), y - ay - t * (by - ay)) <= width / 2
    return inside


def path(points, width):
    return any_of(*(line(*a, *b, width) for a, b in zip(points, points[1:])))


def any_of(*shapes):
    return lambda x, y: any(shape(x, y) for shape in shapes)


def without(shape, *holes):
    return lambda x, y: shape(x, y) and not any(hole(x, y) for hole in holes)


def hexagon(cx, cy, r):
    return polygon(*((cx + r * math.sin(math.pi / 3 * k), cy - r * math.cos(math.pi / 3 * k)) for k in range(6)))


def sheet(cx, cy, w, h):
    """A layer seen from above at an angle."""
    return polygon((cx, cy - h), (cx + w, cy), (cx, cy + h), (cx - w, cy))


def edge(cx, cy, w, h, t):
    """What one sees of a layer below another."""
    return polygon((cx - w, cy), (cx, cy + h), (cx + w, cy), (cx + w, cy + t), (cx, cy + h + t), (cx - w, cy + t))


PAGE = without(
    box(11, 5, 39, 45, 3),
    polygon((30, 4), (40, 4), (40, 14)),
)
FOLD = polygon((29.5, 5.5), (29.5, 14.5), (38.5, 14.5))

ICONS = {
    # Layers on each other.
    "image": ("#2f6db5", any_of(sheet(25, 16, 19, 10), edge(25, 22, 19, 10, 4), edge(25, 31, 19, 10, 4))),
    # A ship's wheel.
    "chart": ("#1f7a8c", any_of(
        without(disc(25, 25, 14), disc(25, 25, 10)),
        disc(25, 25, 4),
        *(line(25 + 4 * math.cos(a), 25 + 4 * math.sin(a), 25 + 20 * math.cos(a), 25 + 20 * math.sin(a), 3.4)
          for a in (math.pi / 4 * k for k in range(8))),
    )),
    # A box with a strip.
    "cnab": ("#8a5a2b", any_of(
        without(polygon((25, 5), (44, 14), (25, 23), (6, 14)), line(15, 9, 35, 19, 3)),
        polygon((5, 17), (23.5, 26), (23.5, 46), (5, 37)),
        polygon((45, 17), (26.5, 26), (26.5, 46), (45, 37)),
    )),
    # A tile with a notch, and a W.
    "wasm": ("#5b45c9", without(
        box(6, 6, 44, 44, 3),
        disc(25, 6, 5.5),
        path([(13, 23), (18, 38), (25, 25), (32, 38), (37, 23)], 3.6),
    )),
    # A page with a list.
    "sbom": ("#3b7d4f", without(
        any_of(PAGE, FOLD),
        *(disc(17.5, y, 2) for y in (21, 29, 37)),
        *(line(23, y, 33, y, 3) for y in (21, 29, 37)),
        line(29.5, 5, 29.5, 14.5, 1.6), line(29.5, 14.5, 39, 14.5, 1.6),
    )),
    # A net of neurons.
    "cnai": ("#b0416b", any_of(
        *(line(11, a, 25, b, 1.8) for a in (15, 35) for b in (9, 25, 41)),
        *(line(39, a, 25, b, 1.8) for a in (15, 35) for b in (9, 25, 41)),
        *(disc(11, y, 5) for y in (15, 35)), *(disc(25, y, 5) for y in (9, 25, 41)), *(disc(39, y, 5) for y in (15, 35)),
    )),
    # A seal with a tick.
    "signature": ("#2e7d6b", any_of(
        without(
            any_of(*(disc(25 + 13 * math.cos(a), 20 + 13 * math.sin(a), 4.5) for a in (math.pi / 6 * k for k in range(12))), disc(25, 20, 14)),
            path([(18, 20.5), (23, 25.5), (32.5, 15.5)], 3.6),
        ),
        polygon((15, 35), (22, 38.5), (22, 47), (18, 44), (14, 46)),
        polygon((35, 35), (28, 38.5), (28, 47), (32, 44), (36, 46)),
    )),
    # A bolt.
    "accelerator": ("#c77700", polygon((29, 3), (10, 29), (22.5, 29), (19, 47), (40, 20), (27, 20))),
    # A cube of which nobody knows what is in it.
    "default": ("#6b7280", without(
        hexagon(25, 25, 21),
        hexagon(25, 25, 16.5),
    )),
}
ICONS["default"] = (ICONS["default"][0], any_of(
    ICONS["default"][1], line(25, 25, 25, 44, 4), line(25, 25, 8.5, 15.5, 4), line(25, 25, 41.5, 15.5, 4)))


def coverage(shape, scale=1):
    """Rows of numbers from 0 (outside) to SUB * SUB (inside)."""
    points = [(k + 0.5) / SUB for k in range(SUB)]
    return [[sum(shape((x + i) / scale, (y + j) / scale) for i in points for j in points)
             for x in range(SIZE * scale)] for y in range(SIZE * scale)]


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(rows, colour):
    """A palette of one colour in sixteen opacities, four bits a pixel."""
    rgb = bytes.fromhex(colour[1:])
    packed = bytearray()
    for row in rows:
        shades = [round(n * 15 / (SUB * SUB)) for n in row]
        packed.append(0)
        packed += bytes(a << 4 | b for a, b in zip(shades[::2], shades[1::2]))
    header = struct.pack(">IIBBBBB", len(rows[0]), len(rows), 4, 3, 0, 0, 0)
    opacities = bytes(k * 17 for k in range(16))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"PLTE", rgb * 16) + chunk(b"tRNS", opacities)
            + chunk(b"IDAT", zlib.compress(bytes(packed), 9)) + chunk(b"IEND", b""))


def contact_sheet(scale=3, across=5):
    """All icons on white, as RGB."""
    side = SIZE * scale
    down = -(-len(ICONS) // across)
    picture = [bytearray(b"\xff" * side * across * 3) for _ in range(side * down)]
    for n, (colour, shape) in enumerate(ICONS.values()):
        rgb = bytes.fromhex(colour[1:])
        for y, row in enumerate(coverage(shape, scale)):
            for x, covered in enumerate(row):
                at = ((n % across) * side + x) * 3
                mixed = (round(255 + (c - 255) * covered / (SUB * SUB)) for c in rgb)
                picture[(n // across) * side + y][at:at + 3] = bytes(mixed)
    data = b"".join(b"\0" + bytes(row) for row in picture)
    header = struct.pack(">IIBBBBB", side * across, side * down, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data, 9)) + chunk(b"IEND", b"")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--sheet"]:
        Path(sys.argv[2]).write_bytes(contact_sheet())
    else:
        folder = Path(__file__).parent.parent / "registry/src/icons"
        for name, (colour, shape) in ICONS.items():
            (folder / f"{name}.png").write_bytes(png(coverage(shape), colour))
