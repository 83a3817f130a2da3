"""Writes picture_files.txt: pictures in files, and what Pillow reads in them and makes of them.

    python3 picture_files.py > picture_files.txt

Each line: a name, rows, columns, the file, its pixels as red, green and blue, and as grey, all in
hexadecimal. Lines that begin with resize_ have no file and no grey: they are the picture of pixels()
in other sizes. The values come from Pillow 13 with libjpeg-turbo 3.2; later ones should agree but for
a rounding here and there.
"""

import io

import numpy as np
from PIL import Image, ImageOps


def pixels(rows, cols):
    y, x = np.mgrid[0:rows, 0:cols]
    return np.stack([x * 11 % 256, y * 17 % 256, (x * y * 3 + 40) % 256], -1).astype(np.uint8)


def show(name, data, rgb, grey):
    print(name, rgb.height, rgb.width, data.hex(), rgb.tobytes().hex(), grey.tobytes().hex())


def encoded(image, kind, **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def jpeg(name, image, **options):
    data = encoded(image, "JPEG", **options)
    read = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    luma = Image.open(io.BytesIO(data))
    luma.draft("L", luma.size)  # what libjpeg makes of it
    show(name, data, read.convert("RGB"), ImageOps.exif_transpose(luma).convert("L"))


def png(name, image, **options):
    data = encoded(image, "PNG", **options)
    read = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    show(name, data, read.convert("RGB"), read.convert("L"))


large = Image.fromarray(pixels(13, 17))
small = Image.fromarray(pixels(2, 3) * 7)

jpeg("baseline.jpg", large, quality=90, subsampling=0, optimize=True)
jpeg("sampled.jpg", large, quality=80, subsampling=2, optimize=True)
jpeg("progressive.jpg", large, quality=80, progressive=True)
jpeg("restarts.jpg", large, quality=60, restart_marker_blocks=1, optimize=True)
jpeg("grey.jpg", large.convert("L"), quality=80, optimize=True)
jpeg("cmyk.jpg", large.convert("CMYK"), quality=80, optimize=True)
for way in range(1, 9):
    exif = Image.Exif()
    exif[0x112] = way
    jpeg(f"turned{way}.jpg", small, quality=100, subsampling=0, exif=exif, optimize=True)
    png(f"turned{way}.png", small, exif=exif)

opacity = Image.fromarray((pixels(13, 17)[..., 0]))
png("colours.png", large)
png("colours_transparent.png", large, transparency=(0, 0, 40))
png("opacity.png", Image.merge("RGBA", (*large.split(), opacity)))
png("grey_opacity.png", Image.merge("LA", (large.convert("L"), opacity)))
for count in (2, 4, 16, 200):
    png(f"palette{count}.png", large.quantize(count))
png("palette_transparent.png", large.quantize(16), transparency=3)
png("bits.png", large.convert("1"))

for rows, cols in [(1, 1), (13, 5), (4, 17), (5, 7), (12, 16), (13, 40), (30, 17), (20, 31), (1, 60)]:
    resized = large.resize((cols, rows), Image.BILINEAR)
    print(f"resize_{rows}_{cols}", rows, cols, "-", resized.tobytes().hex(), "-")
