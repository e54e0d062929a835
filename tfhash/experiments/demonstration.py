"""The page of `tfhash demo`, from Python."""

import os
import threading

from tfhash.experiments.image_index import ImageIndex


class Demo:
    """A page that is served by a thread of this process.

    Use it in a `with` statement, or call `close`. `demo` returns it and has an example.

    Args:
        app: `tfhash.experiments.demo_page.app.App`.
        listening: A socket that listens.
        notes: See below.

    Attributes:
        url: Its address.
        notes: What the user must know, a line each.
    """

    def __init__(self, app, listening, notes=()):
        from tfhash.experiments.serving import running

        self.url, self.notes = running.url_of(listening), tuple(notes)
        self._app, self._listening = app, listening
        self._server = running.server_of(app)
        self._thread = threading.Thread(
            target=self._server.run, args=([listening],), name="tfhash-demo", daemon=True
        )
        self._thread.start()

    def close(self):
        """Stops serving. Closing twice does nothing."""
        if self._listening is None:
            return
        self._server.should_exit = True
        self._thread.join()
        self._app.close()
        self._listening.close()
        self._listening = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __repr__(self):
        return f"<Demo: {self.url if self._listening else 'closed'}>"


def demo(index, model=None, images=None, follow_links=False, host="127.0.0.1", port=0):
    """Serves a page on which a person searches an index by images and looks at duplicates.

    Needs `pip install '.[demo]'` in a checkout of tfhash. docs/demo.md describes the page.

    Args:
        index: Path of an index, which `tfhash index` or `index_images` wrote.
        model: Run or `.keras` file of its model; by default the one that the index remembers.
            Without one, only indexed images can be searched for.
        images: Folder of the images; by default the one that the index remembers.
        follow_links: Also show files that links in the folder lead to.
        host: Name or address of this machine to listen on; by default only this machine is
            answered. There is no password.
        port: Port to listen on, 0 to 65535; 0 for any that is free.

    Returns:
        `Demo`, which serves until it is closed.

    Raises:
        ImportError: If the extra is not installed.
        FileNotFoundError: If the index, the folder, or a model that was given does not exist.
        ValueError: If it is not known where the images are, or `follow_links` is given for an index
            without sizes.
        tfhash.index.OtherModelError: If it is not the model of the index.
        OSError: If the port is taken.

    Example:

        with tfhash.experiments.demo("photos.index") as demo:
            print(demo.url)
            input("Press Enter to stop")
    """
    from tfhash.experiments.serving import running

    # First: a port that is taken is known at once, TensorFlow and a model take seconds.
    listening = running.listen(host, port)
    try:
        app, notes = prepare(listening, index, model, images, follow_links)
        return Demo(app, listening, notes)
    except BaseException:
        listening.close()
        raise


def prepare(listening, index, model, images, follow_links):
    """All that has to be there before a page is served.

    Args:
        listening: The socket that the page will be served on.
        index, model, images, follow_links: See `demo`.

    Returns:
        `tfhash.experiments.demo_page.app.App`, and what the user must know, a list of lines.
    """
    # What is not installed is known before a model is loaded.
    from tfhash.experiments.demo_page.app import App
    from tfhash.experiments.serving.local import is_local

    gallery, answers, notes = _load(index, model, images, follow_links)
    return App(gallery, answers, is_local(listening.getsockname()[0])), notes


def _load(index, model, images, follow_links):
    from tfhash.experiments import searching
    from tfhash.experiments.demo_page.answers import Answers
    from tfhash.experiments.demo_page.gallery import Gallery
    from tfhash.experiments.demo_page.query import ByFile, ByModel

    loaded = ImageIndex.load(index)
    gallery = Gallery(loaded, loaded.find_folder(images), follow_links)
    if follow_links and not gallery.knows_sizes:
        raise ValueError(
            f"`follow_links` needs an index that holds the sizes and times of its files. {index} does not, "
            "for it was made from codes. Index the folder, or leave `follow_links` out"
        )
    if problem := _why_no_model(loaded, model):
        return gallery, Answers(gallery, ByFile(gallery, problem)), [problem]
    query = ByModel(searching.model_of(loaded, model))
    return gallery, Answers(gallery, query), searching.notes_on_model(loaded)


def _why_no_model(index, model):
    """Why other images than those of the index cannot be encoded; "" if they can."""
    if model is not None:
        return ""
    path = index.origin.model_path
    if not path:
        reason = "the index does not say where its model is"
    elif not os.path.exists(path):
        reason = f"there is no model {path} any more"
    else:
        return ""
    return f"{reason}. Start the demo with --model to search for images that are not indexed"
