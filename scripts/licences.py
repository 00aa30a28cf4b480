#!/usr/bin/env python3
"""Fails if a dependency's licence is not known to go with Apache-2.0. Reads `cargo metadata`, asks nobody."""

import json
import re
import subprocess
import sys

ALLOWED = {
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "NCSA",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
}


def permitted(expression: str) -> bool:
    """Whether an SPDX expression can be met with allowed licences only. AND binds tighter than OR."""
    expression = expression.replace("/", " OR ")
    while match := re.search(r"\(([^()]*)\)", expression):
        inner = "MIT" if permitted(match.group(1)) else "REFUSED"
        expression = expression[: match.start()] + inner + expression[match.end() :]
    return any(
        all(part.strip() in ALLOWED for part in choice.split(" AND ")) for choice in expression.split(" OR ")
    )


def packages_of(manifest: str) -> list[dict]:
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--manifest-path", manifest]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)["packages"]


def main() -> int:
    assert permitted("MIT OR GPL-3.0") and permitted("(MIT OR GPL-3.0) AND Unicode-3.0")
    assert not permitted("GPL-3.0") and not permitted("MIT AND GPL-3.0") and not permitted("")
    packages = [package for manifest in sys.argv[1:] for package in packages_of(manifest)]
    refused = [p for p in packages if not permitted(p["license"] or "")]
    for package in refused:
        print(f"{package['name']} {package['version']}: {package['license'] or 'no licence named'}", file=sys.stderr)
    print(f"{len(packages)} packages, {len(refused)} with a licence that is not allowed")
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
