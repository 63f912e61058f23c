"""The models of this machine: those that are installed, recommended, chosen by default, and pulled."""
