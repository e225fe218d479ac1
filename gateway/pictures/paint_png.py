"""Paints a scene as pixels."""

from __future__ import annotations

from functools import lru_cache

from PIL import Image, ImageDraw, ImageFont

from gateway.pictures.scene import Box, Colour, Raster, Scene, Stroke, Words, font_file

__all__ = ["paint"]

_FINER = 4  # lines are drawn so much larger, and then made smaller: Pillow draws them with hard edges
_NEARLY_BLACK = (8, 8, 10)


def paint(scene: Scene) -> Image.Image:
    """Paint a scene, a pixel a unit, in RGB."""
    picture = Image.new("RGB", (round(scene.width), round(scene.height)), scene.ground)
    draw = ImageDraw.Draw(picture)
    for item in scene.items:
        match item:
            case Raster():
                left, top, right, bottom = (round(value) for value in item.box)
                grey = Image.fromarray(item.pixels)
                if grey.size != (right - left, bottom - top):
                    grey = grey.resize((right - left, bottom - top), Image.Resampling.BICUBIC)
                picture.paste(grey.convert("RGB"), (left, top))
            case Stroke():
                if item.edge:
                    _stroke(picture, item, _NEARLY_BLACK, item.width + 2 * item.edge)
                _stroke(picture, item, item.colour, item.width)
            case Box():
                left, top, right, bottom = (round(value) for value in item.box)
                draw.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), fill=item.colour)
            case Words():
                font = _font(item.size, item.bold)
                draw.text((item.left, item.y), item.text, fill=item.colour, font=font, anchor="ls")
    return picture


def _stroke(picture: Image.Image, stroke: Stroke, colour: Colour, width: float) -> None:
    """Draw a smooth line with round ends."""
    reach = width / 2 + 2
    left, top = (max(0, int(value - reach)) for value in stroke.points.min(axis=0))
    right, bottom = stroke.points.max(axis=0) + reach
    size = min(int(right) + 1, picture.width) - left, min(int(bottom) + 1, picture.height) - top
    if min(size) <= 0:
        return
    mask = Image.new("L", (size[0] * _FINER, size[1] * _FINER))
    draw = ImageDraw.Draw(mask)
    points = [tuple(point) for point in ((stroke.points - (left, top)) * _FINER).tolist()]
    draw.line(points, fill=255, width=max(1, round(width * _FINER)), joint="curve")
    radius = width * _FINER / 2
    for x, y in (points[0], points[-1]):
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    picture.paste(colour, (left, top), mask.reduce(_FINER))


@lru_cache(maxsize=64)  # fitted words have any size
def _font(size: float, bold: bool) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(font_file(bold=bold)), size, layout_engine=ImageFont.Layout.BASIC)
