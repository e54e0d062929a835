"""A client of TensorFlow Serving and of `tfhash serve`: images in, codes and neighbors out.

    from tfhash.serving import Client

    client = Client("http://127.0.0.1:8501", "photos")
    codes = client.encode(["a.jpg", "b.jpg"])
    distances, ids, names = client.search(["a.jpg"], k=10)

Needs neither TensorFlow nor Keras for `http://`. `grpc://` needs the extra `serving`.
"""

from tfhash._lazy import exports

_MODULE_OF = {"Client": "client", "FoundItems": "results", "ServingError": "errors"}

__getattr__, __dir__, __all__ = exports(__name__, _MODULE_OF)
