"""Apache Beam, which is an extra."""

from tfhash.errors import how_to_install

try:
    import apache_beam
    from apache_beam.utils import shared
except ImportError as error:
    raise ImportError(f"tfhash.beam needs apache-beam. {how_to_install('beam')}") from error

__all__ = ["apache_beam", "shared"]
