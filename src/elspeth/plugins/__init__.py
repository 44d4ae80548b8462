"""Sources and sinks, and how others add theirs."""
