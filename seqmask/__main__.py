"""`python -m seqmask`."""

from seqmask.cli import main

if __name__ == "__main__":
    main()
