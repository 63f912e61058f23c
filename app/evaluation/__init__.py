"""How right the application is: on rendered videos with known events, and on videos that users have labelled."""
