"""Makes the WordNet tables of gru-rcn-metrics from those in a METEOR 1.5 jar.

    python tests/peers/wordnet_tables.py JAR

METEOR looks up single words, so entries with an underscore are dropped, unless they are the base of a single word. Synsets
are numbered anew, in the order in which they first occur: it only matters whether two are the same. Exceptions are listed by
the irregular form, as they are looked up.
"""

import gzip
import sys
import zipfile
from pathlib import Path

OUT = Path(__file__).resolve().parents[2] / "crates/gru-rcn-metrics/data/wordnet"


def pairs(jar: zipfile.ZipFile, name: str) -> list[tuple[str, list[str]]]:
    lines = jar.read(f"synonym/english.{name}").decode().split("\n")
    return [(head, rest.split()) for head, rest in zip(lines[0::2], lines[1::2])]


def write(name: str, table: dict[str, list[str]]) -> None:
    text = "".join(f"{' '.join([word, *values])}\n" for word, values in sorted(table.items()))
    path = OUT / f"{name}.gz"
    path.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    print(f"{path.name}: {len(table)} words, {path.stat().st_size} bytes")


def main() -> None:
    jar = zipfile.ZipFile(sys.argv[1])
    numbers, synsets, bases = {}, {}, {}
    for base, forms in pairs(jar, "exceptions"):
        for form in forms:
            if "_" not in form:
                bases.setdefault(form, []).append(base)
    looked_up = {base for of in bases.values() for base in of}
    for word, offsets in pairs(jar, "synsets"):
        if "_" not in word or word in looked_up:
            synsets[word] = [str(numbers.setdefault(offset, len(numbers))) for offset in offsets]
    OUT.mkdir(parents=True, exist_ok=True)
    write("synsets", synsets)
    write("exceptions", bases)
    (OUT / "LICENSE").write_bytes(jar.read("synonym/COPYING.WORDNET"))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main()
