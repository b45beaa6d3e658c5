"""Teams and keys made at run time: their records, and what operators do to them."""
