"""Check log records against the table of events, and make the JSON Schema that says the same.

The schema is stored as `deployment/logs.schema.json`.
"""

import json
import re

from prixfixe.telemetry.events import EVENTS, FIELDS

TIME = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"
TYPES = {"string": str, "address": str, "integer": int, "number": (int, float), "boolean": bool}
HEAD = ("time", "level", "event")


def faults(record):
    """Return what of a record is not as the table has it."""
    event = EVENTS.get(record.get("event"))
    if event is None:
        return [f"no event {record.get('event')!r}: {record}"]
    found = [] if re.match(TIME, str(record.get("time"))) else [f"time {record.get('time')!r}"]
    if record.get("level") != event.level:
        found.append(f"level {record.get('level')!r}, not {event.level}")
    found += [f"no field {name}" for name in event.fields if name not in record]
    for name in record.keys() - {*HEAD}:
        if name not in (*event.fields, *event.optional):
            found.append(f"field {name} is not of this event")
        elif not (record[name] is None and name in event.nullable):
            found += _faults_of(name, record[name])
    return [f"{fault}: {record}" for fault in found]


def _faults_of(name, value):
    field = FIELDS[name]
    if not isinstance(value, TYPES[field.type]) or (
        isinstance(value, bool) and field.type != "boolean"
    ):
        return [f"{name} is no {field.type}"]
    if field.values and value not in field.values:
        return [f"{name} is none of {', '.join(field.values)}"]
    return []


def faults_of_lines(lines):
    """Return the faults of lines of JSON; a record as text begins with its time, and is passed."""
    return [fault for line in lines if line[:1] != "2" for fault in faults(json.loads(line))]


def faults_of_output(text):
    """Return the faults of a process's output, which holds other lines and may end in one."""
    whole = text[: text.rfind("\n") + 1].splitlines()
    return faults_of_lines(line for line in whole if line.startswith('{"time"'))


def schema():
    """Return the JSON Schema of a record."""
    made = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A log record of PrixFixe",
        "type": "object",
        "required": ["event"],
        "properties": {"event": {"enum": list(EVENTS)}},
        "allOf": [
            {
                "if": {"properties": {"event": {"const": name}}},
                "then": {"$ref": f"#/$defs/{name.replace(' ', '-')}"},
            }
            for name in EVENTS
        ],
        "$defs": {name.replace(" ", "-"): _schema_of(name) for name in EVENTS},
    }
    return json.dumps(made, indent=2) + "\n"


def _schema_of(name):
    event = EVENTS[name]
    fields = (*event.fields, *event.optional)
    return {
        "description": event.help,
        "properties": {
            "time": {"type": "string", "pattern": TIME},
            "level": {"const": event.level},
            "event": {"const": name},
            **{field: _schema_of_field(field, field in event.nullable) for field in fields},
        },
        "required": [*HEAD, *event.fields],
        "additionalProperties": False,
    }


def _schema_of_field(name, is_nullable):
    field = FIELDS[name]
    type_ = "string" if field.type == "address" else field.type
    made = {"description": field.help, "type": [type_, "null"] if is_nullable else type_}
    if field.values:
        made["enum"] = list(field.values)
    return made
