"""A contact sheet of look-alikes: one HTML file that holds its pictures and opens offline."""

import base64
import html
import io
import os

from tfhash import files, text
from tfhash.errors import translated

# Longer side of a thumbnail, in pixels.
SIDE = 180

# Pictures shown of one group, and on a whole sheet; a picture takes some 8 kB. The rest is counted.
MOST_OF_GROUP, MOST_OF_SHEET = 60, 5_000

# Characters of a name; the whole name shows when the mouse rests on it.
LONGEST_NAME = 60

_HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Look-alikes</title>
<style>
body {{ font: 14px/1.4 system-ui, sans-serif; margin: 2em; color: #222; background: #fff; }}
section {{ border-top: 1px solid #ccc; padding: 0.5em 0 1em; }}
h2 {{ font-size: 1em; }}
.images {{ display: flex; flex-wrap: wrap; gap: 1em; align-items: flex-end; }}
figure {{ margin: 0; max-width: {side}px; }}
figcaption {{ overflow-wrap: anywhere; font-size: 0.85em; }}
img {{ display: block; max-width: 100%; border: 1px solid #eee; }}
small {{ color: #666; }}
</style>
</head>
<body>
<h1>Look-alikes</h1>
"""

_DISTANCES = (
    "Distances below pictures are to the first image of the group. The range above a group is of all "
    "pairs in it that are within the radius."
)


def write(found, path):
    """Writes a contact sheet, whole or not at all.

    Args:
        found: `tfhash.experiments.dedupe.LookAlikes`.
        path: File to write.
    """
    with files.atomic_write(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write(_HEAD.format(side=SIDE))
        file.write(f"<p>{_shown(found.headline(), 1000)}</p>\n")
        if note := found.note():
            file.write(f"<p>{_shown(note, 1000)}.</p>\n")
        file.write(f"<p>Folder: {_shown(found.folder, 1000)}</p>\n")
        file.write(f"<p>{_DISTANCES}</p>\n")
        if found.summary.broken:
            file.write(f"<p>{len(found.summary.broken):,} files could not be read:</p>\n<ul>\n")
            file.writelines(f"<li>{_shown(line, 300)}</li>\n" for line in found.summary.broken)
            file.write("</ul>\n")
        pictures = MOST_OF_SHEET
        for number, group in enumerate(found.groups, 1):
            shown = group[: min(MOST_OF_GROUP, pictures)]
            pictures -= len(shown)
            file.write(_section(found, number, group, shown))
        file.write("</body>\n</html>\n")


def decode(found, member):
    """The image of a member as a viewer shows it, NumPy `uint8 [height, width, 3]`.

    Raises:
        OSError: If the file does not exist any more.
        ValueError: If it has changed since it was encoded.
    """
    import tensorflow as tf

    with translated(), tf.device("CPU"):
        return found.images.source.image(tf.constant(member.index)).numpy()


def look_at(found, member):
    """Reads a member again.

    Returns:
        Its image, as `decode`, and the bytes of its file; `None` if the file is gone or has changed,
        which `found.unread` then says.
    """
    try:
        return decode(found, member), os.path.getsize(os.path.join(found.folder, member.name))
    except FileNotFoundError:
        found.unread[member.name] = "missing"
    except (OSError, ValueError) as error:
        found.unread[member.name] = str(error)
    return None


def _section(found, number, group, shown):
    distances = found.range_in_words(number - 1)
    lines = [f"<section>\n<h2>Group {number}: {len(group):,} images, {distances} apart</h2>"]
    lines.append('<div class="images">')
    lines += [_figure(found, member, group) for member in shown]
    lines.append("</div>")
    if len(shown) < len(group):
        lines.append(f"<p>and {len(group) - len(shown):,} more</p>")
    lines.append("</section>\n")
    return "\n".join(lines)


def _figure(found, member, group):
    first = found.same_file(member, group)
    distance = "first image" if member is group[0] else f"distance {member.distance}"
    same = "" if first is member else f", same file as {_shown(first.name, LONGEST_NAME)}"
    looked = look_at(found, member)
    whole = _shown(member.name, 10_000)
    if looked is None:
        picture, about = "", _shown(found.unread[member.name], 300)
    else:
        image, size = looked
        data = base64.b64encode(_thumbnail(image)).decode()
        picture = f'<img alt="{whole}" src="data:image/jpeg;base64,{data}">\n'
        about = f"{image.shape[1]} x {image.shape[0]}, {size / 1000:,.1f} kB"
    return (
        f'<figure>{picture}<figcaption title="{whole}">{_shown(member.name, LONGEST_NAME)}<br>\n'
        f"<small>{about}, {distance}{same}</small></figcaption></figure>"
    )


def _thumbnail(image):
    """JPEG of an image with no side longer than `SIDE`."""
    from PIL import Image

    picture = Image.fromarray(image)
    picture.thumbnail((SIDE, SIDE))
    jpeg = io.BytesIO()
    picture.save(jpeg, "JPEG", quality=80)
    return jpeg.getvalue()


def _shown(name, longest):
    return html.escape(text.printable(name, longest))
