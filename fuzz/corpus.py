#!/usr/bin/env python3
"""Makes the corpus that fuzzing begins with: every conformance case, and every profile that ships."""

import base64
import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CORPUS = ROOT / "fuzz/corpus"
CPM, TOKEN = b"hQVDUFYwMW", re.compile(rb"62[0-9]*")


def write(target: str, name: str, content: bytes) -> None:
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")).write_bytes(content)


def target(file: str, payload: bytes) -> str:
    if file != "online":
        return file
    if payload.startswith(CPM):
        return "emv_cpm"
    return "unionpay_token" if TOKEN.fullmatch(payload) else "opaque"


def main() -> None:
    for file in ["mot", "alipay", "online"]:
        for case in json.loads((ROOT / f"tests/vectors/{file}.json").read_text())["cases"]:
            payload = bytes.fromhex(case["payload"])
            write(target(file, payload), case["name"], payload)
            if payload.startswith(CPM) and b"*" not in payload:
                # What comes after 85 05 "CPV01" 61.
                write("emv_objects", case["name"], base64.b64decode(payload)[8:])
    for profile in (ROOT / "adapters/partners").glob("*.toml"):
        write("profile", profile.stem, profile.read_bytes())


if __name__ == "__main__":
    main()
