"""Integers of any size as bytes: LEB128, which protocol buffers and ClickHouse's RowBinary share."""


def varint(value):
    """An integer >= 0 in groups of 7 bits, lowest first; bit 8 of a byte says that more follow.

    Example:

    >>> varint(300)
    b'\\xac\\x02'
    """
    groups = bytearray()
    while value >= 0x80:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])
