"""Tables for people and spreadsheets, made from the parts."""
