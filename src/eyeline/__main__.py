"""``eyeline`` and ``python -m eyeline``."""

from __future__ import annotations

from eyeline.cli import main

if __name__ == "__main__":
    main()
