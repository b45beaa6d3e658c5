"""Money and counts: accounts, their windows and caps, how runs are booked, what must be true."""
