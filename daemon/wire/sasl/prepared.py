"""SASLprep (RFC 4013): one spelling for names and passwords that look the same. Pure."""

import stringprep
from typing import Final
from unicodedata import ucd_3_2_0 as unicode  # stringprep (RFC 3454) is defined on Unicode 3.2

from daemon.errors import InputInvalid

_PROHIBITED: Final = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


def prepared(kind: str, text: str) -> str:
    """Return `text` as SASLprep has it; InputInvalid for a control character and the like.

    kind: `username` or `password`, for the message.  Characters newer than Unicode 3.2 stay as they are, as a query's may.
    """
    spaced = "".join(" " if stringprep.in_table_c12(one) else one for one in text if not stringprep.in_table_b1(one))
    normal = unicode.normalize("NFKC", spaced)
    if any(is_in(one) for one in normal for is_in in _PROHIBITED):
        raise InputInvalid(f"a {kind} with a control character, or another that SASLprep prohibits, can't be used here")
    right_to_left = [stringprep.in_table_d1(one) for one in normal]
    if any(right_to_left) and not (
        right_to_left[0] and right_to_left[-1] and not any(map(stringprep.in_table_d2, normal))
    ):
        raise InputInvalid(f"a {kind} that mixes directions of writing can't be used here (RFC 3454 section 6)")
    return normal
