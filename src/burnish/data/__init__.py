"""Bytes to rows that can be trusted, and what is wrong with them.

    read      any file, folder or hub set -> Table       (formats, conll, folders: each kind of source)
    infer     Table -> Columns: which column is what, the task, and why   (infer_spans: labels on words, answers)
    rows      Table + Columns -> rows, every value checked       (tags, spans, answers: what stands in a text)
    split     rows -> train, valid, test that share no text
    text      normalised forms, scripts, languages, near-duplicates
    check     rows -> what a person should know before spending an hour on them

Import the file you need. Nothing here knows a model; only `read` touches a disk.
"""

__all__: list[str] = []
