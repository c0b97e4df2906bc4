"""Zstandard frames (RFC 8878), alone and with a trained dictionary. The only importer of the library.

A frame holds one part of one message, so that each is read by itself, by any zstd. Raises Broken for octets that are no whole
frame, or not one of this dictionary. The library lets go of Python's lock while it works.
"""

import sys
import threading
from collections.abc import Sequence
from typing import Final

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LEVEL: Final = 1  # 700 MB/s and more; the higher ones take a few per cent off text, and nothing off base64
DICTIONARY_LEVEL: Final = 3  # of small letters: no slower than 1 there, for nearly all of a letter is in the dictionary
BLOCK_OCTETS: Final = (
    128 * 1024
)  # of content in a block at most (RFC 8878 section 3.1.1.2.4), and so of its compressed form


class Broken(ValueError):
    """These octets are not a whole frame, or the dictionary is another one."""


class Dictionary:
    """What many small letters have in common; compresses and decompresses with it, in any number of threads."""

    def __init__(self, content: bytes) -> None:
        """content: as `trained` gave it; Broken if it did not."""
        try:
            self._dictionary = zstd.ZstdDict(content)
        except (ValueError, zstd.ZstdError) as error:
            raise Broken("no zstd dictionary") from error
        self._of_thread = threading.local()

    def compressed(self, octets: bytes) -> bytes:
        """Compress into one frame."""
        compressor = getattr(self._of_thread, "compressor", None)
        if compressor is None:  # taking the dictionary in costs ten times what a letter does
            compressor = zstd.ZstdCompressor(DICTIONARY_LEVEL, zstd_dict=self._dictionary)
            self._of_thread.compressor = compressor
        frame: bytes = compressor.compress(octets, compressor.FLUSH_FRAME)
        return frame

    def decompressed(self, frame: bytes, octets: int) -> bytes:
        """Do as `decompressed` with this dictionary."""
        return _whole(zstd.ZstdDecompressor(self._dictionary), frame, octets)

    def head(self, frame: bytes, octets: int) -> bytes:
        """Do as `head` with this dictionary."""
        return _head(zstd.ZstdDecompressor(self._dictionary), frame, octets)


def compressed(octets: bytes) -> bytes:
    """Compress into one frame."""
    return zstd.compress(octets, LEVEL)


def decompressed(frame: bytes, octets: int) -> bytes:
    """Give the content of one frame. octets: that it has; Broken if it has another number."""
    return _whole(zstd.ZstdDecompressor(), frame, octets)


def head(frame: bytes, octets: int) -> bytes:
    """Give the first octets of a frame's content. frame: from its beginning, BLOCK_OCTETS more than are wanted, or all there is."""
    return _head(zstd.ZstdDecompressor(), frame, octets)


def trained(samples: Sequence[bytes], octets: int) -> bytes | None:
    """Make a dictionary of so many octets at most; None if these samples have too little in common, or are too few."""
    try:
        return zstd.train_dict(samples, octets).dict_content
    except (ValueError, zstd.ZstdError):
        return None


def _whole(decompressor: zstd.ZstdDecompressor, frame: bytes, octets: int) -> bytes:
    try:
        content = decompressor.decompress(frame, octets + 1)
    except zstd.ZstdError as error:
        raise Broken(str(error)) from error
    if not decompressor.eof or len(content) != octets or decompressor.unused_data:
        raise Broken(f"no frame of {octets:,} octets")
    return content


def _head(decompressor: zstd.ZstdDecompressor, frame: bytes, octets: int) -> bytes:
    try:
        return decompressor.decompress(frame, octets)
    except zstd.ZstdError as error:
        raise Broken(str(error)) from error
