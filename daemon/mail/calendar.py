"""What an invitation says, as lines for people: what, when, where, who (iCalendar, RFC 5545 and 5546).

Times stay in the zone in which they were written, with its name. Linear, capped, never raises. Pure.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from daemon.mail.defects import Defect, Notes

MAX_EVENTS: Final = 20  # of one part: more is somebody's whole calendar
MAX_ATTENDEES: Final = 100  # of one event that are named
MAX_CHARACTERS: Final = 20_000  # of one property

_FOLD: Final = re.compile(r"\n[ \t]")
_LINE: Final = re.compile(r'([A-Za-z-]{1,40})((?:;[A-Za-z-]{1,40}=(?:"[^"\n]*+"|[^";:\n]*+))*+):(.*)')
_PARAMETER: Final = re.compile(r';([A-Za-z-]{1,40})=(?:"([^"\n]*)"|([^";:\n]*))')
_ESCAPED: Final = re.compile(r"\\(.)")
_MOMENT: Final = re.compile(r"(\d{4})(\d\d)(\d\d)(?:T(\d\d)(\d\d)(\d\d)?(Z?))?", re.ASCII)
_METHODS: Final = {"CANCEL": "Cancelled", "REPLY": "Reply", "COUNTER": "Counter-proposal", "REQUEST": "Invitation"}
_KINDS: Final = frozenset({"VEVENT", "VTODO", "VJOURNAL"})


@dataclass(slots=True)
class _Event:
    properties: dict[str, tuple[dict[str, str], str]] = field(default_factory=dict)
    attendees: list[str] = field(default_factory=list)


def readable(text: str, notes: Notes, *, described: bool) -> str:
    """Return the events of a calendar in lines, "" if it holds none.

    text: with line feeds as line ends.  described: with the description, which is often the text of the letter once more.
    """
    method = ""
    events: list[_Event] = []
    within: list[str] = []  # the components about a line: alarms and time zones have properties of the same names
    for name, parameters, value in _properties(text):
        if name == "BEGIN":
            within.append(value.strip().upper()[:20])
            if within[-1] in _KINDS:
                if len(events) == MAX_EVENTS:
                    notes.add(Defect.TEXT_TRUNCATED)
                    break
                events.append(_Event())
        elif name == "END":
            del within[-1:]
        elif name == "METHOD":
            method = value.strip().upper()
        elif within and within[-1] in _KINDS and events:
            _take(events[-1], name, parameters, value, notes)
    return "\n\n".join(filter(None, (_written(event, method, described=described) for event in events)))


def _properties(text: str) -> Iterator[tuple[str, dict[str, str], str]]:
    for line in _FOLD.sub("", text).split("\n"):
        found = _LINE.match(line[:MAX_CHARACTERS])
        if found is not None:
            parameters = {one[1].upper(): one[2] or one[3] or "" for one in _PARAMETER.finditer(found[2])}
            yield found[1].upper(), parameters, found[3]


def _take(event: _Event, name: str, parameters: dict[str, str], value: str, notes: Notes) -> None:
    if name != "ATTENDEE":
        event.properties.setdefault(name, (parameters, value))
    elif len(event.attendees) < MAX_ATTENDEES:
        event.attendees.append(_person(parameters, value))
    else:
        notes.add(Defect.ADDRESSES_TRUNCATED)


def _written(event: _Event, method: str, *, described: bool) -> str:
    summary = _plain(event, "SUMMARY")
    heading = _METHODS.get(method, "")
    organizer = event.properties.get("ORGANIZER")
    lines = (
        (heading or ("Event" if summary else ""), summary),
        ("When", _when(event)),
        ("Repeats", event.properties.get("RRULE", ({}, ""))[1].strip()),
        ("Where", _plain(event, "LOCATION")),
        ("Organizer", "" if organizer is None else _person(*organizer)),
        ("Attendees", ", ".join(filter(None, event.attendees))),
    )
    shown = "\n".join(f"{label}: {value}" for label, value in lines if value)
    return "\n\n".join(filter(None, (shown, _plain(event, "DESCRIPTION") if described else "")))


def _plain(event: _Event, name: str) -> str:
    value = event.properties.get(name, ({}, ""))[1]
    return _ESCAPED.sub(lambda found: "\n" if found[1] in "nN" else found[1], value).strip()


def _person(parameters: dict[str, str], value: str) -> str:
    address = value.strip()
    address = address[7:] if address[:7].lower() == "mailto:" else address
    name = parameters.get("CN", "").strip()
    return f"{name} <{address}>" if name and address and name != address else name or address


def _when(event: _Event) -> str:
    begin, end = (event.properties.get(name) for name in ("DTSTART", "DTEND"))
    if begin is None:
        return ""
    since, zone = _moment(*begin)
    until, until_zone = ("", "") if end is None else _moment(*end)
    if until[:10] == since[:10] and len(until) > 10:
        until = until[11:]
    zone = zone or until_zone
    return since + (f" \u2013 {until}" if until and until != since else "") + (f" ({zone})" if zone else "")


def _moment(parameters: dict[str, str], value: str) -> tuple[str, str]:
    """Give `2026-11-23 13:00`, or the day alone, and the zone."""
    found = _MOMENT.match(value.strip())
    if found is None:
        return value.strip(), ""
    day = f"{found[1]}-{found[2]}-{found[3]}"
    if found[4] is None:
        return day, ""
    return f"{day} {found[4]}:{found[5]}", "UTC" if found[7] else parameters.get("TZID", "")
