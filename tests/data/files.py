"""Short ways to write down JSONL files."""

import json


def jsonl(path, *rows):
    """Write rows, each a dictionary or a raw line; return the path."""
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path
