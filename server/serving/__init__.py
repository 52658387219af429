"""What answers clients: one service object that knows no transport, and its edges."""
