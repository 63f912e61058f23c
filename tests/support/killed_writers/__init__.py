"""The writers of the application that use `longview.core.atomic`, each with what it replaces, and how users read it."""
