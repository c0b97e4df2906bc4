"""The secrets that tests use; a test greps every captured log and trace of the suite for them."""

from typing import Final

PASSWORD: Final = "Sesame-7f3a9c-Öffne"
TOKEN: Final = "ya29.test-token-5d1e88b2"
