"""Screen text: frames -> lines of text that are shown, with their spans and boxes."""
