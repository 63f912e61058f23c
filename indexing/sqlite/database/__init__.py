"""One SQLite database: connections, schema, migrations, and the rules of its rows."""
