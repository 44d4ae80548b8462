"""The data dictionary of a database as found."""

from __future__ import annotations

__all__ = ["DATA_DICTIONARY"]

DATA_DICTIONARY = """\
# Records of a database as found

Each line of `records.jsonl` is a record in canonical JSON (RFC 8785). The first is the database; then come its tables
in the order of schema and name (by code point), each followed by its rows.

| record | field | meaning |
|---|---|---|
| `database` | `name`, `engine`, `version` | the file or database, the product, and the version of it that read |
| | `encoding` | the encoding in which the database stores text |
| | `read_at` | the time of the snapshot, in UTC |
| `table` | `schema`, `table` | its name |
| | `kind` | `table` and `materialized view` have their rows in the export; all others are only listed |
| | `definition` | the SQL that made it, null if the database does not keep it |
| | `columns` | name, declared type and form of each column, in the order of the table |
| | `key` | the columns of the primary key |
| | `order` | what the rows are in the order of: `primary key`, `rowid` or `all columns`; null if they are not here |
| | `row_schema` | the JSON Schema of the values of a row |
| `row` | `schema`, `table`, `number` | the table, and the position in it from 1 |
| | `values` | the values by column |

Rows that tie in all columns are equal, and so are their lines but for the number.

## Values

| value | as JSON |
|---|---|
| null, text, true, false | as it is |
| an integer of up to 2^53-1 | a number, in a column that is not of the form `real` or `any_real` |
| any other integer | `{"integer":"9007199254740993"}` |
| a floating-point number, up to 2^53-1 if it is whole | a number, in a column of the form `real` or `any_real` |
| negative zero, and any other floating-point number | `{"real":"-0"}`, `{"real":"1.5"}`, `{"real":"Infinity"}` |
| bytes | `{"blob":"AAEC"}`, in base64 |
| text that is not UTF-8 | `{"text_bytes":"/w=="}`, its bytes in base64 |

Columns of SQLite take values of every type: their form is `any_real` if they are declared REAL, FLOAT or DOUBLE, and
otherwise `any`. Columns of PostgreSQL have the form of their type. Values of types without a form of their own, such as
numeric, timestamps, arrays, jsonb or ranges, are the text that the server writes for them, and reads back as the same
value, with these settings: TimeZone UTC, DateStyle ISO, IntervalStyle postgres, lc_monetary C, an empty search_path.
"""
