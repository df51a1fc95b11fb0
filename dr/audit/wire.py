"""SSH's wire format (RFC 4251, section 5): strings that say how long they are, and numbers of four bytes. Pure."""

import struct


class Malformed(ValueError):
    """The bytes are not what they should be."""


def string(value: bytes) -> bytes:
    """`value` behind its length."""
    return uint32(len(value)) + value


def uint32(value: int) -> bytes:
    return struct.pack(">I", value)


def mpint(value: int) -> bytes:
    """A positive number as a string: as short as it can be, and with its highest bit unset."""
    return string(value.to_bytes(value.bit_length() // 8 + 1, "big"))


class Reader:
    """Takes values off the front of some bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        """The next `count` bytes.

        Raises:
            Malformed: there are fewer.
        """
        end = self._at + count
        if end > len(self._data):
            raise Malformed("it is cut off")
        taken = self._data[self._at : end]
        self._at = end
        return taken

    def uint32(self) -> int:
        return int.from_bytes(self.take(4), "big")

    def string(self) -> bytes:
        return self.take(self.uint32())

    def text(self) -> str:
        """A string that is a name.

        Raises:
            Malformed: it is not plain ASCII.
        """
        try:
            return self.string().decode("ascii")
        except UnicodeDecodeError:
            raise Malformed("a name in it is not plain ASCII") from None

    def number(self) -> int:
        """A positive `mpint`."""
        return int.from_bytes(self.string(), "big")

    def end(self) -> None:
        """Nothing may follow.

        Raises:
            Malformed: something does.
        """
        if self._at != len(self._data):
            raise Malformed("something follows its end")
