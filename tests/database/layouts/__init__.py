"""Databases as earlier versions made and filled them, as SQL, and the command that adds those of the present version.

`python -m tests.database.layouts 04-notes "Tasks have notes."` writes `04-notes.sqlite.sql` and
`04-notes.postgresql.sql`. It is run once for each layout, by whoever makes a new database differ from those before. A
file is never changed later: it is what that version left on people's disks. A third argument is the folder of another
version, which is run instead of this one.
"""
