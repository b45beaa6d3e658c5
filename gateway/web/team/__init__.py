"""What a team may know of itself, by its own key."""
