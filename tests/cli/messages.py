"""Messages that several commands print."""

NO_DATABASE = (
    "no audit database: name it with -d or ELSPETH_DATABASE, or its settings with ELSPETH_SETTINGS;"
    " there is no elspeth.yaml here"
)
