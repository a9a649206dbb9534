"""Our side of each race: a contestant that is driven through the public rooms of trivium, as a peer is through its own."""
