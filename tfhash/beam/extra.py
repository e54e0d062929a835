"""Apache Beam, which is an extra."""

try:
    import apache_beam
    from apache_beam.utils import shared
except ImportError as error:
    raise ImportError(
        "tfhash.beam needs apache-beam. Install it with: pip install 'tfhash[beam]'"
    ) from error

__all__ = ["apache_beam", "shared"]
