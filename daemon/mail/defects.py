"""The names of what can be wrong with a message, as they stand in `messages.defects`, and the list of those found in one.

A defect was repaired or worked around; the archived octets are what they are. Pure.
"""

from enum import StrEnum


class Defect(StrEnum):
    """One kind of repair. The values are public: they stand in the database."""

    EMPTY = "empty"  # no octets at all
    NO_HEADER = "no_header"  # the first line is no header field: everything was read as the body
    HEADER_MALFORMED = "header_malformed"  # a header line without a field name
    HEADERS_TRUNCATED = "headers_truncated"  # more header than is read
    HEADER_DUPLICATE = "header_duplicate"  # a field twice that may stand once: the first counts
    HEADER_CHARSET_GUESSED = "header_charset_guessed"  # raw 8-bit octets that are not UTF-8
    ENCODED_WORD_BROKEN = "encoded_word_broken"  # RFC 2047 text that can't be decoded as it claims
    ENCODED_WORD_REPAIRED = (
        "encoded_word_repaired"  # not as RFC 2047 has it (blanks, no padding, a character cut in two), and read
    )
    PARAMETER_REPAIRED = (
        "parameter_repaired"  # pieces of a file name or the like (RFC 2231) that are out of order or missing
    )
    FROM_MISSING = "from_missing"
    DATE_MISSING = "date_missing"
    DATE_UNREADABLE = "date_unreadable"
    DATE_REPAIRED = "date_repaired"  # not as RFC 5322 has it, and read all the same
    DATE_ZONE_GUESSED = "date_zone_guessed"  # no time zone, or one that nobody knows: taken as UTC
    MESSAGE_ID_UNREADABLE = "message_id_unreadable"
    REFERENCES_TRUNCATED = "references_truncated"  # more than are read: the nearest relatives count
    ADDRESS_UNREADABLE = "address_unreadable"
    ADDRESS_REPAIRED = "address_repaired"  # a bracket, a quote or a comment that does not end, or no brackets about it
    ADDRESSES_TRUNCATED = "addresses_truncated"
    CONTENT_TYPE_UNREADABLE = "content_type_unreadable"
    BOUNDARY_MISSING = "boundary_missing"  # a multipart that does not say, or never uses, its boundary
    MULTIPART_UNTERMINATED = "multipart_unterminated"  # cut off, or its last delimiter forgotten
    NESTED_TOO_DEEP = "nested_too_deep"
    TOO_MANY_PARTS = "too_many_parts"
    TRANSFER_ENCODING_UNKNOWN = "transfer_encoding_unknown"
    BASE64_DAMAGED = "base64_damaged"
    QUOTED_PRINTABLE_DAMAGED = "quoted_printable_damaged"  # an = with neither two digits nor a line end behind it
    FILE_IN_TEXT = "file_in_text"  # uuencode or yEnc: it became an attachment
    FILE_IN_TEXT_DAMAGED = "file_in_text_damaged"  # cut off, or not what its checksum says
    TNEF_DAMAGED = "tnef_damaged"  # winmail.dat: files behind the damage are in the attachment as it is
    TNEF_TOO_LARGE = "tnef_too_large"  # not opened
    CHARSET_UNKNOWN = "charset_unknown"
    CHARSET_WRONG = "charset_wrong"  # the text is not in the charset that it claims
    CHARACTERS_REPLACED = "characters_replaced"  # NUL, controls, half characters: U+FFFD stands for them
    TEXT_TRUNCATED = "text_truncated"
    RANGES_TRUNCATED = "ranges_truncated"  # more quotes or signatures than are listed
    HTML_TANGLED = "html_tangled"  # too deep to be read as HTML: its tags were cut out
    PARSER_FAULT = "parser_fault"  # a bug of ours: only the raw message is to be had


class Notes:
    """The defects of one message, each once, in the order found."""

    def __init__(self) -> None:
        self._found: dict[Defect, None] = {}

    def add(self, defect: Defect) -> None:
        """Note a defect."""
        self._found[defect] = None

    def names(self) -> tuple[str, ...]:
        """Return their names."""
        return tuple(defect.value for defect in self._found)
