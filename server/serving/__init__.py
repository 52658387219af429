"""What answers clients: one service object that knows no transport, and what it stands on."""
