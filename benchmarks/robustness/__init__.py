"""Damage, kills, full disks, hostile files and simultaneous use."""
