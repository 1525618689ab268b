"""Bytes to rows that can be trusted, and what is wrong with them.

    read      any file, folder or hub set -> Table       (formats: each kind of file, one function)
    infer     Table -> Columns: which column is what, the task, and why
    split     Table + Columns -> train, valid, test rows that share no text
    text      normalised forms, scripts, languages, near-duplicates
    check     rows -> what a person should know before spending an hour on them

Import the file you need. Nothing here knows a model; only `read` touches a disk.
"""

__all__: list[str] = []
