"""Changes of the code that some check has to notice: all small ones that a tool makes, and faults that came once."""
