"""``python -m cadx``."""

from cadx.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
