# ruff: noqa: S608 -- statements are put together from constants; no value of anybody's is in them
"""Times as programs write them into the outbox, brought into one form: `2026-11-23T10:00:00.000Z`, on both databases.

    date [T or space] hh:mm [:ss [.fraction]] [Z or +hh:mm or +hhmm or +hh]; a date alone is its midnight; no zone is UTC

The columns are text on PostgreSQL too: a timestamptz would read a time without a zone in the zone of whoever inserts (JDBC
sends the zone of its machine), would take `tomorrow`, and would refuse the rest without naming the column. What is not such
a time, has no such day, or lies outside 1970 to 9999, becomes NULL. Fractions are cut to milliseconds.
"""

from typing import Final

_DATE: Final = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]"
_MINUTE: Final = f"{_DATE}[ T][0-9][0-9]:[0-9][0-9]"
_SECOND: Final = f"{_MINUTE}:[0-9][0-9]"


def normal_sqlite(given: str) -> str:
    """Give the expression that brings a column into the form.

    strftime reads the zone `+01:00`. It also takes 31 February and 24:00, which a modifier turns into another day: then it is refused.
    """
    return f"""(SELECT moment FROM (
      SELECT strftime('%Y-%m-%dT%H:%M:%S', substr(clock, 1, 19) || zone) || '.' || substr(substr(clock, 21) || '000', 1, 3) || 'Z' AS moment
      FROM (
        SELECT rtrim(substr(written, 1, length(written) - length(tail))) AS clock, CASE
          WHEN tail GLOB '[+-][0-9][0-9]' THEN tail || ':00'
          WHEN tail GLOB '[+-][0-9][0-9][0-9][0-9]' THEN substr(tail, 1, 3) || ':' || substr(tail, 4)
          ELSE tail
        END AS zone
        FROM (SELECT written, ltrim(substr(written, 11), ' T0123456789:.') AS tail FROM (SELECT upper(trim({given})) AS written)))
      WHERE (clock GLOB '{_DATE}' AND zone = '' OR clock GLOB '{_MINUTE}' OR clock GLOB '{_SECOND}'
          OR clock GLOB '{_SECOND}.[0-9]*' AND substr(clock, 21) NOT GLOB '*[^0-9]*')
        AND (zone IN ('', 'Z') OR zone GLOB '[+-][0-9][0-9]:[0-9][0-9]')
        AND replace(substr(clock, 1, 16), 'T', ' ')
          = substr(strftime('%Y-%m-%d %H:%M', substr(clock, 1, 19), '+0 days'), 1, min(length(clock), 16)))
    WHERE moment >= '1970' AND moment < '9999-12-31')"""


# The same for PostgreSQL; the zone is always said, so that the session's does not matter.
NORMAL_POSTGRESQL: Final = r"""
CREATE FUNCTION postroom_instant(given text) RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
  part text[] := regexp_match(upper(trim(given)), '^([0-9]{4}-[0-9]{2}-[0-9]{2})'
    '(?:[ T]((?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9])?)(?:(?<=:[0-9]{2}:[0-9]{2})\.([0-9]+))?'
    ' *(Z|[+-](?:0[0-9]|1[0-4])(?::?[0-5][0-9])?)?)?$');
  moment text;
BEGIN
  moment := to_char((part[1] || ' ' || coalesce(part[2], '00:00') || coalesce(part[4], 'Z'))::timestamptz AT TIME ZONE 'UTC',
    'YYYY-MM-DD"T"HH24:MI:SS') || '.' || rpad(left(coalesce(part[3], ''), 3), 3, '0') || 'Z';
  RETURN CASE WHEN moment >= '1970' AND moment < '9999-12-31' THEN moment END;
EXCEPTION
  WHEN data_exception THEN RETURN NULL;
END $$""".strip()
