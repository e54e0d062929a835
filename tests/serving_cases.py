"""What the tests of serving share: a running server, and images in many formats."""

import base64
import contextlib
import io
import json
import socket
import threading

import requests
from PIL import Image

from tfhash.experiments.serving import running


@contextlib.contextmanager
def served(app):
    """Runs a web application in a thread; yields its address."""
    import uvicorn

    with contextlib.closing(running.listen("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(app.asgi, log_level="warning", lifespan="off", ws="none")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            yield running.url_of(listening)
        finally:
            server.should_exit = True
            thread.join()
            app.close()


def post(address, value, **headers):
    """Status and answer of a request; `value` is bytes, or is made JSON."""
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    headers = {name.replace("_", "-"): text for name, text in headers.items()}
    session = requests.Session()
    session.trust_env = False
    with session:
        answer = session.post(address, data=body, headers=headers, timeout=60)
    return answer.status_code, answer.json()


def exchange(url, head, *parts):
    """Sends a request in parts, the head of HTTP first; a function that reads the answer."""
    host, port = url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=60)
    connection.sendall(head.encode())
    for part in parts:
        connection.sendall(part)

    def finish(*rest):
        with connection:
            for part in rest:
                connection.sendall(part)
            return connection.makefile("rb").read().decode()

    return finish


def b64(contents):
    return {"b64": base64.b64encode(contents).decode()}


def photo(rng, size=(11, 14), channels=3):
    """Smooth noise, as Pillow's image."""
    pixels = rng.integers(0, 256, (4, 4, channels)).astype("uint8")
    return Image.fromarray(pixels.squeeze()).resize(size, Image.Resampling.BICUBIC)


def file_of(image, format, **options):
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def files_of_all_formats(rng):
    """Contents of files by a name for each."""
    turned = Image.Exif()
    turned[0x0112] = 6
    return {
        "jpeg": file_of(photo(rng), "JPEG"),
        "large jpeg": file_of(photo(rng, (301, 200)), "JPEG"),
        "gray jpeg": file_of(photo(rng, channels=1), "JPEG"),
        "turned jpeg": file_of(photo(rng), "JPEG", exif=turned),
        "png": file_of(photo(rng, (8, 8)), "PNG"),
        "gray png": file_of(photo(rng, (5, 31), 1), "PNG"),
        "transparent png": file_of(photo(rng, channels=4), "PNG"),
        "palette png": file_of(photo(rng).quantize(16), "PNG"),
        "gif": file_of(photo(rng).quantize(16), "GIF"),
        "bmp": file_of(photo(rng, (1, 40)), "BMP"),
        "webp": file_of(photo(rng), "WEBP", lossless=True),
    }
