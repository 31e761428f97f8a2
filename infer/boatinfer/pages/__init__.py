"""HTML pages: self-contained, so that they can be mailed, kept and printed."""
